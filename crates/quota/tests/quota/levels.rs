//! What is open or awake now.

use std::sync::Mutex;
use std::time::Duration;

use tidegate_quota::Reading;
use tidegate_types::{Meter, Scope, SubjectId, TenantId};

use super::{House, ceiling, identity, rate};

#[test]
fn no_more_are_open_at_once_than_the_ceiling_says_and_each_leaves_its_place() {
    let house = House::new();
    let limits = [
        ceiling(Meter::WebsocketConnections, 3, Scope::Subject),
        ceiling(Meter::WebsocketConnections, 5, Scope::Tenant),
    ];
    let ann = house.account("acme", "ann", &limits);
    let bob = house.account("acme", "bob", &limits);
    let enter = |of: &tidegate_quota::Account| of.enter(Meter::WebsocketConnections);
    let open: Vec<_> = (0..3).map(|_| enter(&ann).expect("a place")).collect();
    let refused = enter(&ann).expect_err("ann has three");
    assert_eq!((refused.scope, refused.retry_after), (Scope::Subject, None));
    let _two = (enter(&bob).expect("the fourth"), enter(&bob).expect("the fifth"));
    assert_eq!(enter(&bob).expect_err("five are open").scope, Scope::Tenant);
    drop(open);
    assert!(enter(&bob).is_ok() && enter(&ann).is_ok());
}

#[test]
fn of_two_who_want_the_last_place_at_once_one_gets_it() {
    let house = House::new();
    let limits = [ceiling(Meter::Sandboxes, 7, Scope::Tenant)];
    for _ in 0..50 {
        let entered = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for taker in 0..16 {
                let (house, limits, entered) = (&house, &limits, &entered);
                scope.spawn(move || {
                    let account = house.account("acme", &format!("user-{taker}"), limits);
                    if let Ok(level) = account.enter(Meter::Sandboxes) {
                        entered.lock().expect("not poisoned").push(level);
                    }
                });
            }
        });
        assert_eq!(entered.into_inner().expect("not poisoned").len(), 7);
    }
}

#[test]
fn a_rate_of_a_level_limits_how_many_are_begun() {
    let house = House::new();
    let limits = [
        rate(Meter::WebsocketConnections, 1, Duration::from_secs(1), 2, Scope::Subject),
        ceiling(Meter::WebsocketConnections, 1, Scope::Subject),
    ];
    let account = house.account("acme", "ann", &limits);
    let first = account.enter(Meter::WebsocketConnections).expect("a place");
    // The ceiling refuses before the rate is asked: nothing is lost.
    let _ = account.enter(Meter::WebsocketConnections).expect_err("one is open");
    drop(first);
    drop(account.enter(Meter::WebsocketConnections).expect("the second"));
    let refused = account.enter(Meter::WebsocketConnections).expect_err("two in a second");
    assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
    house.clock.go_on(Duration::from_secs(1));
    assert!(account.enter(Meter::WebsocketConnections).is_ok());
}

#[test]
fn what_is_open_already_counts_whatever_the_limits_say() {
    let house = House::new();
    let limits = [ceiling(Meter::Sandboxes, 1, Scope::Tenant)];
    let acme = TenantId::new("acme").expect("valid");
    let adopted = house.quotas.occupy_tenant(&acme, Meter::Sandboxes);
    let another = house.quotas.occupy_tenant(&acme, Meter::Sandboxes);
    let account = house.account("acme", "ann", &limits);
    assert!(account.enter(Meter::Sandboxes).is_err() && account.check(Meter::Sandboxes).is_err());
    drop(adopted);
    assert!(account.enter(Meter::Sandboxes).is_err());
    drop(another);
    assert!(account.check(Meter::Sandboxes).is_ok() && account.enter(Meter::Sandboxes).is_ok());
}

#[test]
fn what_is_measured_is_compared_and_what_is_not_measured_any_more_is_gone() {
    let house = House::new();
    let limits = [
        ceiling(Meter::MemoryBytes, 1_000, Scope::Tenant),
        ceiling(Meter::MemoryBytes, 700, Scope::Subject),
    ];
    let (ann, bob) = (house.account("acme", "ann", &limits), house.account("acme", "bob", &limits));
    let reading = |subject: Option<&str>, value| Reading {
        tenant: TenantId::new("acme").expect("valid"),
        subject: subject.map(|it| SubjectId::new(it).expect("valid")),
        value,
    };
    let check = |readings: &[Reading]| {
        house.quotas.report(Meter::MemoryBytes, readings);
        [&ann, &bob].map(|it| it.check(Meter::MemoryBytes).map_err(|e| e.scope))
    };
    let (own, shared) = (Err(Scope::Subject), Err(Scope::Tenant));
    assert_eq!(check(&[reading(Some("ann"), 400), reading(Some("ann"), 300)]), [own, Ok(())]);
    assert_eq!(check(&[reading(Some("ann"), 600), reading(None, 400)]), [shared, shared]);
    assert_eq!(check(&[reading(Some("bob"), 999)]), [Ok(()), own]);
    assert_eq!(check(&[]), [Ok(()), Ok(())]);
    assert!(house.quotas.limited(Meter::MemoryBytes).contains(&identity("acme", "x").tenant));
    assert!(house.quotas.limited(Meter::Processes).is_empty());
}

#[test]
fn what_happens_anyway_empties_the_bucket_and_the_next_wake_is_refused() {
    let house = House::new();
    let hour = Duration::from_secs(3_600);
    let limits = [rate(Meter::RunningMs, 3_600_000 / 2, hour, 10_000, Scope::Subject)];
    let account = house.account("acme", "ann", &limits);
    account.charge(Meter::RunningMs, 9_999);
    assert_eq!(account.check(Meter::RunningMs), Ok(()));
    account.charge(Meter::RunningMs, 50_000);
    let refused = account.check(Meter::RunningMs).expect_err("used up");
    // Half a millisecond a millisecond, and no debt.
    assert_eq!(refused.retry_after, Some(Duration::from_millis(2)));
}
