//! Who invents subjects fills no memory.

use std::time::Duration;

use tidegate_types::{Meter, Scope};

use super::{House, ceiling, drain, rate};

#[test]
fn what_is_full_again_is_forgotten_and_forgetting_changes_nothing() {
    let house = House::new();
    let limits = [
        rate(Meter::Requests, 10, Duration::from_secs(10), 10, Scope::Subject),
        rate(Meter::IngressBytes, 1_000, Duration::from_secs(1), 1_000, Scope::Subject),
        ceiling(Meter::Sandboxes, 1, Scope::Subject),
    ];
    for n in 0..5_000 {
        let account = house.account("acme", &format!("invented-{n}"), &limits);
        account.take(Meter::Requests, 1).expect("one is there");
        drop(account.enter(Meter::Sandboxes).expect("a place"));
    }
    let used = house.account("acme", "ann", &limits);
    assert_eq!(drain(&used, Meter::Requests), 10);
    drop(used);
    house.clock.go_on(Duration::from_secs(5));
    // Theirs are full; hers isn't, and stays.
    house.let_the_saver_look(|| house.quotas.sizes() == (0, 1));
    let account = house.account("acme", "ann", &limits);
    assert_eq!(drain(&account, Meter::Requests), 5);
    drop(account);
    house.clock.go_on(Duration::from_secs(10));
    house.let_the_saver_look(|| house.quotas.sizes() == (0, 0));
}

#[test]
fn what_somebody_still_holds_is_not_forgotten() {
    let house = House::new();
    let limits = [
        rate(Meter::Requests, 10, Duration::from_secs(10), 10, Scope::Subject),
        ceiling(Meter::WebsocketConnections, 1, Scope::Subject),
    ];
    let held = house.account("acme", "ann", &limits);
    let open = held.enter(Meter::WebsocketConnections).expect("a place");
    let _nobody = house.account("acme", "bob", &limits);
    drop(_nobody);
    // The account, and its two shelves and the tenant's of open WebSockets.
    house.let_the_saver_look(|| house.quotas.sizes() == (1, 3));
    let again = house.account("acme", "ann", &limits);
    assert_eq!(drain(&held, Meter::Requests) + drain(&again, Meter::Requests), 10);
    assert!(again.enter(Meter::WebsocketConnections).is_err());
    drop((held, again));
    // An open WebSocket alone keeps its own place counted.
    house.clock.go_on(Duration::from_secs(10));
    house.let_the_saver_look(|| house.quotas.sizes() == (0, 2));
    assert!(house.account("acme", "ann", &limits).enter(Meter::WebsocketConnections).is_err());
    drop(open);
    assert!(house.account("acme", "ann", &limits).enter(Meter::WebsocketConnections).is_ok());
}

#[test]
fn accounts_that_come_and_go_while_others_take_never_double_a_bucket() {
    let house = House::new();
    let limits = [rate(Meter::Requests, 1, Duration::from_secs(86_400), 400, Scope::Subject)];
    let had = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Longer than the saver's second, so that it looks in between.
                let begun = std::time::Instant::now();
                while begun.elapsed() < Duration::from_millis(2_500) {
                    let account = house.account("acme", "ann", &limits);
                    if account.take(Meter::Requests, 1).is_ok() {
                        had.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(had.into_inner(), 400);
}
