//! From a request to its permit.

use std::sync::Arc;
use std::time::Duration;

use tidegate_sandbox::driver::Exit;
use tidegate_sandbox::{Phase, StartFailure, WakeError};
use tidegate_types::{Lifetime, SecretName, Source};
use tokio::time::{Instant, advance, sleep};

use crate::house::{House, key, placement, template, until};

#[tokio::test(start_paused = true)]
async fn two_hundred_first_requests_are_one_start_and_all_get_in() {
    let house = House::new().await;
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let sandbox = house.sandbox("a");
            tokio::spawn(async move { sandbox.admit().await })
        })
        .collect();
    let mut permits = Vec::new();
    for wait in waiting {
        permits.push(wait.await.expect("no panic").expect("let in"));
    }
    assert_eq!(house.sandbox("a").view().why_awake.in_flight, 200);
    assert!(permits.iter().all(|p| p.start_number() == permits[0].start_number()));
    drop(permits);
    assert_eq!(house.fake.calls(), ["create a 1", "start a 1"]);
    assert_eq!(house.registry.meters().starts.get(), 1);
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn a_running_sandbox_lets_in_without_a_call() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    house.fake.calls();
    let permit = sandbox.try_admit().expect("runs");
    assert!(permit.dial(80, [127, 0, 0, 1].into()).await.is_ok());
    assert!(house.fake.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_start_goes_on_when_nobody_waits_for_it_any_more() {
    let house = House::new().await;
    let sandbox = house.sandbox("a");
    assert!(tokio::time::timeout(Duration::from_millis(1), sandbox.admit()).await.is_err());
    until("running", || sandbox.phase() == Phase::Running).await;
    assert_eq!(sandbox.view().why_awake.in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn everyone_who_waited_hears_of_the_same_failure() {
    let house = House::new().await;
    house.fake.script(|script| script.dies_at_once = true);
    let sandbox = house.sandbox("a");
    let both = tokio::join!(sandbox.admit(), sandbox.admit());
    for outcome in [both.0, both.1] {
        let Err(error) = outcome else { panic!("it ended at once") };
        assert_eq!(error.blame(), Source::Sandbox);
        let WakeError::Failed { attempts, retry_after, log, reason, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!((attempts, retry_after), (1, Duration::from_secs(1)));
        assert_eq!(log, Some("/logs/a".into()));
        assert!(matches!(*reason, StartFailure::Exited(Exit::Code(1))), "{reason}");
    }
    assert_eq!(house.fake.calls(), ["create a 1", "start a 1", "clear a 1"]);
    assert!(!house.fake.exists(&key("a")) && house.fake.has_files(&key("a")));
}

#[tokio::test(start_paused = true)]
async fn attempts_back_off_and_a_request_meanwhile_is_told_when_to_come_back() {
    let house = House::new().await;
    house.fake.script(|script| script.create_fails = true);
    let sandbox = house.sandbox("a");
    for (attempt, wait) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60)] {
        let Err(WakeError::Failed { attempts, retry_after, .. }) = sandbox.admit().await else {
            panic!("creating fails")
        };
        assert_eq!((attempts, retry_after.as_secs()), (attempt, wait));
        let Err(WakeError::BackOff { attempts, retry_after, .. }) = sandbox.admit().await else {
            panic!("it is too soon")
        };
        assert!(attempts == attempt && retry_after.as_secs() <= wait, "{retry_after:?}");
        let view = sandbox.view();
        assert_eq!((view.phase, view.attempts), (Phase::Failed, attempt));
        advance(retry_after).await;
    }
    house.fake.script(|script| script.create_fails = false);
    assert!(sandbox.admit().await.is_ok());
    assert_eq!((sandbox.view().attempts, sandbox.view().failure.is_none()), (0, true));
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn an_application_that_is_never_ready_fails_after_its_time_out() {
    let house = House::new().await;
    house.fake.script(|script| script.ready_after = None);
    let began = Instant::now();
    let Err(WakeError::Failed { reason, .. }) = house.sandbox("a").admit().await else {
        panic!("never ready")
    };
    let text = reason.to_string();
    assert_eq!(
        text,
        "its application was not ready after 180 s: nothing listens on port 80 in sandbox `acme/a`"
    );
    assert!(began.elapsed() >= Duration::from_secs(180));
    assert!(!house.fake.exists(&key("a")));
}

#[tokio::test(start_paused = true)]
async fn secrets_are_filled_in_and_an_unknown_one_is_named() {
    let house = House::new().await;
    let mut placement = placement("a");
    placement.env = vec![("TOKEN".into(), "Bearer secret:KNOWN".into())];
    let sandbox = house.registry.find_or_create(&key("a"), &placement, &house.template);
    drop(sandbox.admit().await.expect("starts"));
    let env = house.fake.env(&key("a"));
    assert!(env.contains(&("TOKEN".into(), "Bearer s3cret".into())), "{env:?}");
    assert!(env.contains(&("TIDEGATE_SANDBOX".into(), "a".into())), "{env:?}");

    placement.env = vec![("TOKEN".into(), "secret:UNKNOWN".into())];
    let sandbox = house.registry.find_or_create(&key("b"), &placement, &house.template);
    let Err(WakeError::Failed { reason, .. }) = sandbox.admit().await else { panic!("unknown") };
    assert!(matches!(&*reason, StartFailure::Secret(name) if *name == SecretName::new("UNKNOWN")));
    assert_eq!(house.fake.count("create b"), 0, "what cannot work leaves no traces");
}

#[tokio::test(start_paused = true)]
async fn no_more_sandboxes_start_at_once_than_there_are_slots() {
    let house = House::new().await;
    house.fake.script(|script| script.ready_after = Some(Duration::from_secs(2)));
    let names: Vec<String> = (0..9).map(|i| format!("s{i}")).collect();
    let starts: Vec<_> = names
        .iter()
        .map(|name| {
            let sandbox = house.sandbox(name);
            tokio::spawn(async move { sandbox.admit().await.map(drop) })
        })
        .collect();
    for start in starts {
        start.await.expect("no panic").expect("starts");
    }
    assert!(house.fake.most_starting() <= 2);
}

#[tokio::test(start_paused = true)]
async fn starts_that_hang_delay_others_but_do_not_stop_them() {
    let mut house = House::new().await;
    let mut patient = template(Lifetime::KeepAlive);
    patient.ready.timeout = Duration::from_hours(24);
    house.template = Arc::new(patient);
    house.fake.script(|script| script.ready_after = None);
    let hanging: Vec<_> = ["h1", "h2"]
        .map(|name| house.sandbox(name))
        .into_iter()
        .map(|sandbox| tokio::spawn(async move { sandbox.admit().await.map(drop) }))
        .collect();
    let hangs = |name| house.fake.is_running(&key(name));
    until("both hang", || hangs("h1") && hangs("h2")).await;
    house.fake.script(|script| script.ready_after = Some(Duration::ZERO));
    house.running("a").await;
    assert!(hanging.iter().all(|hangs| !hangs.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn a_template_that_changed_counts_at_the_next_start() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let mut next = template(Lifetime::SleepAfter(Duration::from_secs(5)));
    next.env = vec![("NEW".into(), "1".into())];
    let next = Arc::new(next);
    let same = house.registry.find_or_create(&key("a"), &placement("a"), &next);
    assert!(Arc::ptr_eq(&sandbox, &same));
    assert!(!house.fake.env(&key("a")).iter().any(|(name, _)| name == "NEW"));
    // The lifetime counts at once: ten minutes had been left.
    sleep(Duration::from_secs(7)).await;
    until("asleep", || sandbox.phase() == Phase::Stopped).await;
    drop(sandbox.admit().await.expect("starts"));
    assert!(house.fake.env(&key("a")).contains(&("NEW".into(), "1".into())));
}
