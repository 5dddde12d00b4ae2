//! What operators ask for.

use std::time::Duration;

use tidegate_sandbox::{ControlError, Phase};
use tidegate_types::{Incarnation, Lifetime};
use tokio::time::sleep;

use crate::house::{House, IDLE, key, until, until_phase};

#[tokio::test(start_paused = true)]
async fn looking_wakes_nothing() {
    let house = House::new().await;
    let sandbox = house.sandbox("a");
    assert!(house.registry.get(&key("b")).is_none());
    let views = house.registry.list();
    assert_eq!((views.len(), views[0].phase), (1, Phase::Absent));
    assert!(matches!(house.registry.stats(&key("a")).await, Ok(None)));
    let counts = house.registry.phases();
    assert!(counts.contains(&(Phase::Absent, 1)) && counts.contains(&(Phase::Running, 0)));
    assert_eq!(sandbox.phase(), Phase::Absent);
    assert!(house.fake.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn wake_sleep_and_stop_answer_when_they_are_done() {
    let house = House::new().await;
    house.sandbox("a");
    let registry = &house.registry;
    assert_eq!(registry.wake(&key("a"), None).await.expect("wakes").phase, Phase::Running);
    assert!(registry.stats(&key("a")).await.expect("runs").is_some());
    assert_eq!(registry.sleep(&key("a"), None).await.expect("sleeps").phase, Phase::Stopped);
    assert_eq!(registry.sleep(&key("a"), None).await.expect("does").phase, Phase::Stopped);
    assert_eq!(registry.stop(&key("a"), None).await.expect("is").phase, Phase::Stopped);
    registry.wake(&key("a"), None).await.expect("wakes");
    assert_eq!(registry.stop(&key("a"), None).await.expect("stops").phase, Phase::Stopped);
    assert!(!house.fake.exists(&key("a")));
    assert!(matches!(registry.wake(&key("b"), None).await, Err(ControlError::NotFound(_))));
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn sleep_is_refused_while_requests_are_in_flight_and_stop_is_not() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let permit = sandbox.try_admit().expect("runs");
    let refused = house.registry.sleep(&key("a"), None).await;
    assert!(matches!(refused, Err(ControlError::Busy { in_flight: 1, .. })), "{refused:?}");
    assert_eq!(sandbox.phase(), Phase::Running);
    house.registry.stop(&key("a"), None).await.expect("stops");
    assert!(sandbox.try_admit().is_none());
    // A permit of the last start is still counted, and takes nothing with it.
    let again = sandbox.admit().await.expect("starts");
    drop(permit);
    assert_eq!(sandbox.view().why_awake.in_flight, 1);
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn a_destroyed_sandbox_leaves_nothing_and_comes_back_with_a_higher_incarnation() {
    let house = House::new().await;
    let old = house.running("a").await;
    let (registry, first) = (&house.registry, old.id().incarnation);
    registry.destroy(&key("a"), Some(first)).await.expect("destroyed");
    assert!(registry.get(&key("a")).is_none() && registry.list().is_empty());
    assert!(!house.fake.exists(&key("a")) && !house.fake.has_files(&key("a")));
    assert!(matches!(registry.destroy(&key("a"), None).await, Err(ControlError::NotFound(_))));

    // Someone still holds the old handle: it leads to the next life.
    let permit = old.admit().await.expect("a new one");
    let second = permit.sandbox().id().incarnation;
    assert!(second > first);
    for stale in [
        registry.stop(&key("a"), Some(first)).await,
        registry.sleep(&key("a"), Some(first)).await,
        registry.destroy(&key("a"), Some(first)).await,
        registry.wake(&key("a"), Some(first)).await,
    ] {
        let Err(ControlError::Stale { meant, current, .. }) = stale else { panic!("{stale:?}") };
        assert_eq!((meant, current), (first, second));
    }
    assert!(house.fake.is_running(&key("a")));

    // Durably so: also when it is destroyed and the gateway starts again.
    drop(permit);
    registry.destroy(&key("a"), None).await.expect("destroyed");
    let house = house.again().await;
    assert!(house.registry.list().is_empty());
    assert!(house.running("a").await.id().incarnation > second);
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_while_it_is_destroyed_are_served_by_the_next_life() {
    let house = House::new().await;
    house.fake.script(|script| script.ready_after = None);
    let sandbox = house.sandbox("a");
    let waiting = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.admit().await }
    });
    until("it hangs", || house.fake.is_running(&key("a"))).await;
    house.fake.script(|script| script.ready_after = Some(Duration::ZERO));
    house.registry.destroy(&key("a"), None).await.expect("destroyed");
    let permit = waiting.await.expect("no panic").expect("served");
    assert_eq!(permit.sandbox().id().incarnation, Incarnation(2));
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_while_its_start_is_stopped_start_it_again() {
    let house = House::new().await;
    house.fake.script(|script| script.ready_after = None);
    let sandbox = house.sandbox("a");
    let waiting = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.admit().await }
    });
    until("it hangs", || house.fake.is_running(&key("a"))).await;
    house.fake.script(|script| script.ready_after = Some(Duration::ZERO));
    house.registry.stop(&key("a"), None).await.expect("stopped");
    waiting.await.expect("no panic").expect("served");
    assert_eq!(house.fake.count("start a"), 2);
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn stop_clears_a_back_off() {
    let house = House::new().await;
    house.fake.script(|script| script.create_fails = true);
    let sandbox = house.sandbox("a");
    assert!(sandbox.admit().await.is_err());
    house.fake.script(|script| script.create_fails = false);
    assert!(sandbox.admit().await.is_err(), "it is too soon");
    house.registry.stop(&key("a"), None).await.expect("stopped");
    assert_eq!(sandbox.phase(), Phase::Stopped);
    assert!(sandbox.admit().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_cleaned_up_is_said_and_tried_again() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    house.fake.script(|script| script.destroy_fails = true);
    let failed = house.registry.destroy(&key("a"), None).await;
    assert!(matches!(failed, Err(ControlError::Clean { .. })), "{failed:?}");
    assert_eq!(sandbox.phase(), Phase::Failed);
    house.fake.script(|script| script.destroy_fails = false);
    house.registry.destroy(&key("a"), None).await.expect("now it works");
    assert!(house.registry.list().is_empty() && !house.fake.has_files(&key("a")));
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn a_kept_alive_sandbox_that_was_stopped_rests_until_a_request() {
    let house = House::with(Lifetime::KeepAlive).await;
    let sandbox = house.running("a").await;
    for _ in 0..2 {
        house.registry.stop(&key("a"), None).await.expect("stops");
        sleep(IDLE).await;
        assert_eq!(sandbox.phase(), Phase::Stopped);
    }
    let house = house.again().await;
    let sandbox = house.registry.get(&key("a")).expect("recorded");
    sleep(IDLE).await;
    assert_eq!(sandbox.phase(), Phase::Stopped);
    drop(sandbox.admit().await.expect("starts"));
    sleep(IDLE).await;
    until_phase(&sandbox, Phase::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_never_began_can_be_forgotten_and_whoever_wakes_it_gets_the_next() {
    let house = House::new().await;
    let (refused, waking) = (house.sandbox("a"), house.sandbox("a"));
    refused.forget_unless_begun();
    assert!(house.registry.get(&key("a")).is_none());
    // Found before it was forgotten, woken after.
    let permit = waking.admit().await.expect("starts");
    let known = house.registry.get(&key("a")).expect("it is known again");
    assert_eq!(permit.sandbox().id(), known.id());
    assert!(known.id().incarnation > refused.id().incarnation);
    // What has begun stays, whether it runs or rests; so does its successor when
    // the one before is forgotten again.
    refused.forget_unless_begun();
    known.forget_unless_begun();
    drop(permit);
    house.registry.stop(&key("a"), None).await.expect("stops");
    known.forget_unless_begun();
    let found = house.registry.get(&key("a")).expect("it has files");
    assert_eq!((found.id(), found.phase()), (known.id(), Phase::Stopped));
    house.fake.assert_used_well();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_wake_and_forget_at_once_all_are_let_into_one_life() {
    let house = House::new().await;
    for round in 0..50 {
        let name = format!("s{round}");
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let sandbox = house.sandbox(&name);
                tokio::spawn(async move {
                    if n % 2 == 0 {
                        sandbox.forget_unless_begun();
                        return None;
                    }
                    Some(sandbox.admit().await.expect("starts"))
                })
            })
            .collect();
        let mut permits = Vec::new();
        for task in tasks {
            permits.extend(task.await.expect("it ends"));
        }
        let known = house.registry.get(&key(&name)).expect("it runs");
        assert_eq!(permits.len(), 4);
        assert!(permits.iter().all(|permit| permit.sandbox().id() == known.id()));
    }
    house.fake.assert_used_well();
}
