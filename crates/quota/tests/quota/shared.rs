//! What is counted together, and what happens when limits change.

use std::time::Duration;

use tidegate_types::{Limit, Meter, Scope};

use super::{House, ceiling, drain, rate};

const HOUR: Duration = Duration::from_secs(3_600);

fn requests(amount: u64) -> [Limit; 1] {
    [rate(Meter::Requests, amount, HOUR, amount, Scope::Subject)]
}

#[test]
fn a_subjects_limit_is_its_own_and_a_tenants_is_shared_by_its_subjects() {
    let house = House::new();
    for (scope, for_bob, elsewhere) in [(Scope::Subject, 10, 10), (Scope::Tenant, 0, 10)] {
        let limits = [rate(Meter::Requests, 10, HOUR, 10, scope)];
        let drained =
            |tenant, subject| drain(&house.account(tenant, subject, &limits), Meter::Requests);
        assert_eq!(drained("acme", "ann"), 10);
        assert_eq!(drained("acme", "ann"), 0);
        assert_eq!(drained("acme", "bob"), for_bob, "{scope:?}");
        assert_eq!(drained("beta", "ann"), elsewhere, "{scope:?}");
    }
}

#[test]
fn a_changed_limit_keeps_what_was_used() {
    let house = House::new();
    let left = |limits: &[Limit]| {
        let account = house.account("acme", "ann", limits);
        account.rates(Meter::Requests).map(|it| it.remaining).collect::<Vec<_>>()
    };
    let account = house.account("acme", "ann", &requests(100));
    account.take(Meter::Requests, 40).expect("there are");
    assert_eq!(left(&requests(100)), [60]);
    // More, fewer, and back: forty are used.
    assert_eq!(left(&requests(1_000)), [960]);
    assert_eq!(left(&requests(30)), [0]);
    assert_eq!(left(&requests(100)), [60]);
    // Another period, or one more limit: likewise.
    let day = 24 * HOUR;
    let another = rate(Meter::Requests, 50, day, 50, Scope::Subject);
    assert_eq!(left(&[another]), [10]);
    assert_eq!(left(&[requests(100)[0], another]), [60, 10]);
}

#[test]
fn what_is_used_under_other_limits_counts_too() {
    let house = House::new();
    // A connection that was opened before a reload, or under another claim.
    let before = house.account("acme", "ann", &requests(100));
    let after = house.account("acme", "ann", &requests(50));
    before.take(Meter::Requests, 20).expect("there are");
    assert_eq!(after.rates(Meter::Requests).next().map(|it| it.remaining), Some(30));
    assert_eq!(drain(&after, Meter::Requests), 30);
    assert_eq!(drain(&before, Meter::Requests), 50);
}

#[test]
fn a_limit_that_is_given_twice_is_counted_once() {
    let house = House::new();
    let twice = [requests(10)[0], requests(10)[0]];
    assert_eq!(drain(&house.account("acme", "ann", &twice), Meter::Requests), 10);
}

#[test]
fn a_limit_of_nothing_allows_nothing() {
    let house = House::new();
    let none = [
        rate(Meter::Requests, 0, HOUR, 1, Scope::Subject),
        ceiling(Meter::WebsocketConnections, 0, Scope::Subject),
        ceiling(Meter::IngressBytes, 0, Scope::Tenant),
    ];
    let account = house.account("acme", "ann", &none);
    assert!(account.take(Meter::Requests, 1).is_err());
    assert!(account.enter(Meter::WebsocketConnections).is_err());
    assert!(account.spend(Meter::IngressBytes, 1).is_err());
    assert!(Meter::ALL.iter().filter(|meter| account.limits_any(**meter)).count() == 3);
}

#[test]
fn bytes_are_cut_after_one_chunk_too_many_at_most_however_many_streams_there_are() {
    let house = House::new();
    let limits = [
        rate(Meter::EgressBytes, 1_000, HOUR, 1_000, Scope::Subject),
        ceiling(Meter::EgressBytes, 5_000, Scope::Tenant),
    ];
    let passed = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let account = house.account("acme", "ann", &limits);
            let passed = &passed;
            scope.spawn(move || {
                while account.spend(Meter::EgressBytes, 300).is_ok() {
                    passed.fetch_add(300, std::sync::atomic::Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 1_200);
}

#[test]
fn the_listing_says_who_has_which_limit_and_how_much_is_used() {
    let house = House::new();
    let limits = [
        rate(Meter::Requests, 60, Duration::from_secs(60), 20, Scope::Subject),
        ceiling(Meter::WebsocketConnections, 5, Scope::Tenant),
    ];
    let ann = house.account("acme", "ann", &limits);
    let _bob = house.account("beta", "bob", &limits);
    ann.take(Meter::Requests, 3).expect("there are");
    let _open = ann.enter(Meter::WebsocketConnections).expect("a place");
    let acme = ann.tenant().clone();
    let lines: Vec<String> = house
        .quotas
        .usage(Some(&acme))
        .iter()
        .map(|it| {
            let who = it.subject.as_ref().map_or("*", |subject| subject.as_str());
            format!(
                "{} {who} {} {}/{} {:?}",
                it.tenant, it.meter, it.used, it.remaining, it.full_in
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "acme * websocket-connections 1/4 None",
            "acme ann requests 3/17 Some(3s)",
            "acme ann websocket-connections 1/0 None",
        ]
    );
    assert!(house.quotas.usage(None).iter().any(|it| it.tenant.as_str() == "beta"));
}
