//! From running to rest.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tidegate_sandbox::driver::Exit;
use tidegate_sandbox::{Cause, Phase};
use tidegate_types::Lifetime;
use tokio::time::{Instant, sleep};

use crate::house::{House, IDLE, alice, key, until, until_phase};

const A_LITTLE: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn an_idle_sandbox_goes_to_sleep_and_the_next_request_wakes_it() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let first = sandbox.try_admit().expect("runs").start_number();
    sleep(IDLE - A_LITTLE).await;
    assert_eq!(sandbox.phase(), Phase::Running);
    sleep(A_LITTLE * 2).await;
    until_phase(&sandbox, Phase::Stopped).await;
    assert!(sandbox.try_admit().is_none());
    assert!(!house.fake.exists(&key("a")) && house.fake.has_files(&key("a")));
    let permit = sandbox.admit().await.expect("starts again");
    assert_ne!(permit.start_number(), first, "pooled connections are of the last start");
    let calls = house.fake.calls();
    let expected = ["create a 1", "start a 1", "stop a 1", "clear a 1", "create a 1", "start a 1"];
    assert_eq!(calls, expected);
    assert_eq!(house.registry.meters().sleeps.get(), 1);
    assert_eq!(house.fake.over(), 1, "held connections are let go");
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn a_request_in_flight_keeps_it_awake_and_the_clock_starts_at_its_end() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let permit = sandbox.try_admit().expect("runs");
    sleep(IDLE * 3).await;
    assert_eq!((sandbox.phase(), sandbox.view().rests_at), (Phase::Running, None));
    drop(permit);
    sleep(IDLE - A_LITTLE).await;
    assert_eq!(sandbox.phase(), Phase::Running);
    assert!(sandbox.view().rests_at.is_some());
    sleep(A_LITTLE * 2).await;
    until_phase(&sandbox, Phase::Stopped).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_websocket_keeps_nothing_awake_but_its_clients_bytes_do() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let permit = Arc::new(sandbox.try_admit().expect("runs"));
    permit.upgraded();
    permit.upgraded();
    let why = sandbox.view().why_awake;
    assert_eq!((why.in_flight, why.attached), (0, 1));
    for _ in 0..5 {
        sleep(IDLE - A_LITTLE).await;
        permit.touch(&alice());
    }
    assert_eq!(sandbox.phase(), Phase::Running);
    let told = tokio::spawn({
        let permit = Arc::clone(&permit);
        async move { permit.closing().await }
    });
    drop(permit);
    sleep(IDLE + A_LITTLE).await;
    told.await.expect("told to close");
    until_phase(&sandbox, Phase::Stopped).await;
    assert_eq!(sandbox.view().why_awake.attached, 0);
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_does_not_close_delays_sleep_only_for_a_moment() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let permit = sandbox.try_admit().expect("runs");
    permit.upgraded();
    sleep(IDLE + A_LITTLE).await;
    until_phase(&sandbox, Phase::Stopped).await;
    assert!(permit.closing().now_or_never().is_some(), "whoever asks later hears it too");
    drop(permit);
    assert_eq!(sandbox.view().why_awake.attached, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_before_the_commit_calls_the_sleep_off() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let websocket = sandbox.try_admit().expect("runs");
    websocket.upgraded();
    // Told to close, it takes its time: the sleep has begun and isn't committed.
    websocket.closing().await;
    let request = sandbox.try_admit().expect("calls it off");
    sleep(A_LITTLE).await;
    assert_eq!(sandbox.phase(), Phase::Running);
    assert_eq!(house.registry.meters().sleeps_called_off.get(), 1);
    let new_websocket = sandbox.try_admit().expect("runs");
    new_websocket.upgraded();
    assert!(new_websocket.closing().now_or_never().is_none(), "it came after");
    drop((request, websocket, new_websocket));
    assert_eq!(house.fake.count("stop"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_clients_byte_before_the_commit_calls_the_sleep_off() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let websocket = sandbox.try_admit().expect("runs");
    websocket.upgraded();
    websocket.closing().await;
    websocket.touch(&alice());
    sleep(A_LITTLE).await;
    assert_eq!(sandbox.phase(), Phase::Running);
    assert_eq!(house.registry.meters().sleeps_called_off.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_arrives_while_it_is_ending_waits_and_starts_it_again() {
    let house = House::new().await;
    house.fake.script(|script| script.stop_takes = Duration::from_secs(4));
    let sandbox = house.running("a").await;
    sleep(IDLE + A_LITTLE).await;
    until_phase(&sandbox, Phase::Stopping).await;
    assert!(sandbox.try_admit().is_none());
    let permit = sandbox.admit().await.expect("joins, and is served");
    assert_eq!(sandbox.phase(), Phase::Running);
    assert_eq!(house.fake.count("start"), 2);
    drop(permit);
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn an_application_that_ends_is_recorded_and_started_by_the_next_request() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let websocket = sandbox.try_admit().expect("runs");
    websocket.upgraded();
    house.fake.kill(&key("a"), Exit::OutOfMemory);
    websocket.closing().await;
    drop(websocket);
    until_phase(&sandbox, Phase::Stopped).await;
    assert_eq!(sandbox.view().last_exit, Some(Exit::OutOfMemory));
    assert_eq!(house.registry.meters().deaths.get(), 1);
    sleep(IDLE).await;
    assert_eq!(sandbox.phase(), Phase::Stopped, "nobody asked for it");
    house.running("a").await;
    assert_eq!(house.fake.count("start"), 2);
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn keep_alive_never_sleeps_and_is_started_again_with_back_off() {
    let house = House::with(Lifetime::KeepAlive).await;
    let sandbox = house.running("a").await;
    sleep(IDLE * 10).await;
    assert_eq!((sandbox.phase(), house.fake.count("start")), (Phase::Running, 1));
    assert!(sandbox.view().why_awake.keep_alive);
    // It had settled: the first end is followed by the shortest wait. Each early
    // one after that doubles it.
    for (ends, wait) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
        let ended = Instant::now();
        house.fake.kill(&key("a"), Exit::Code(3));
        until_phase(&sandbox, Phase::Stopped).await;
        until_phase(&sandbox, Phase::Running).await;
        assert_eq!(house.fake.count("start"), 1 + ends);
        assert!(ended.elapsed() >= Duration::from_secs(wait), "{:?}", ended.elapsed());
    }
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn keep_alive_is_tried_again_after_a_failed_start_without_a_request() {
    let house = House::with(Lifetime::KeepAlive).await;
    house.fake.script(|script| script.create_fails = true);
    let sandbox = house.sandbox("a");
    assert!(sandbox.admit().await.is_err());
    until("three attempts", || sandbox.view().attempts >= 3).await;
    house.fake.script(|script| script.create_fails = false);
    until_phase(&sandbox, Phase::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_of_nothing_ends_with_the_last_request_and_does_not_spin() {
    let house = House::with(Lifetime::SleepAfter(Duration::ZERO)).await;
    let sandbox = house.sandbox("a");
    let permit = sandbox.admit().await.expect("starts");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(sandbox.phase(), Phase::Running);
    drop(permit);
    until_phase(&sandbox, Phase::Stopped).await;
    assert!(sandbox.admit().await.is_ok());
}

/// Scenario: a health check comes every second, day and night.
#[tokio::test(start_paused = true)]
async fn a_steady_stream_of_visitors_keeps_nothing_awake() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let rests_at = sandbox.view().rests_at;
    let mut served = 0;
    while let Some(visitor) = sandbox.try_visit() {
        served += 1;
        visitor.touch(&alice());
        assert_eq!((visitor.is_visitor(), sandbox.view().rests_at), (true, rests_at));
        drop(visitor);
        sleep(Duration::from_secs(1)).await;
    }
    assert!(served >= IDLE.as_secs() - 1 && served <= IDLE.as_secs() + 2, "{served}");
    until_phase(&sandbox, Phase::Stopped).await;
    assert!(sandbox.try_visit().is_none(), "nor does one wake it");
    assert_eq!((sandbox.phase(), house.fake.count("start")), (Phase::Stopped, 1));
}

#[tokio::test(start_paused = true)]
async fn a_visitor_that_stays_is_told_to_close_and_holds_sleep_up_for_a_moment_only() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let websocket = sandbox.try_visit().expect("runs");
    websocket.upgraded();
    let request = sandbox.try_visit().expect("runs");
    let why = sandbox.view().why_awake;
    assert_eq!((why.in_flight, why.attached, why.visitors), (0, 1, 1));
    sleep(IDLE - A_LITTLE).await;
    websocket.touch(&alice());
    sleep(A_LITTLE * 2).await;
    until_phase(&sandbox, Phase::Stopped).await;
    for visitor in [&websocket, &request] {
        assert!(visitor.closing().now_or_never().is_some(), "told to close");
    }
    drop((websocket, request));
    let why = sandbox.view().why_awake;
    assert_eq!((why.in_flight, why.attached, why.visitors), (0, 0, 0));
}

/// Scenario: a sandbox is about to sleep, and waits a moment for a WebSocket to
/// close. A visitor calls that off no more than it would wake it.
#[tokio::test(start_paused = true)]
async fn a_visitor_does_not_call_a_sleep_off() {
    let house = House::new().await;
    let sandbox = house.running("a").await;
    let websocket = sandbox.try_admit().expect("runs");
    websocket.upgraded();
    websocket.closing().await;
    assert!(sandbox.try_visit().is_none());
    until_phase(&sandbox, Phase::Stopped).await;
    assert_eq!(house.registry.meters().sleeps_called_off.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_waits_for_no_start() {
    let house = House::new().await;
    let sandbox = house.sandbox("a");
    assert!(sandbox.try_visit().is_none());
    assert_eq!(sandbox.phase(), Phase::Absent);
    let starting = tokio::spawn({
        let sandbox = Arc::clone(&sandbox);
        async move { sandbox.admit().await.map(drop) }
    });
    until_phase(&sandbox, Phase::Starting).await;
    assert!(sandbox.try_visit().is_none());
    starting.await.expect("no panic").expect("starts");
    assert!(sandbox.try_visit().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_tells_who_used_it_last_and_what_it_starts_for() {
    let house = House::new().await;
    let sandbox = house.sandbox("a");
    let cause = || sandbox.view().why_awake.cause.map(|cause| Cause::clone(&cause));
    let page = Cause::request("GET", "/page", &alice());
    sandbox.note_cause(|| page.clone());
    assert_eq!(cause(), None, "it does not even start");
    let starting = tokio::spawn({
        let sandbox = Arc::clone(&sandbox);
        async move { sandbox.admit().await }
    });
    until_phase(&sandbox, Phase::Starting).await;
    assert_eq!(cause(), Some(page.clone()));
    let permit = starting.await.expect("no panic").expect("starts");
    sleep(A_LITTLE).await;
    permit.touch(&alice());
    assert_eq!(cause(), Some(page), "a body is part of its request");
    permit.upgraded();
    permit.touch(&alice());
    assert_eq!(cause(), Some(Cause::bytes(&alice())));
}
