//! What outlives the process.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tidegate_quota::{QuotaConfig, QuotaError, Quotas};
use tidegate_types::{LimitKind, Meter, Scope};

use super::{Hands, House, ceiling, drain, rate};

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn what_was_used_is_used_after_a_restart_and_time_away_refills() {
    let house = House::new();
    let limits = [
        rate(Meter::Requests, 60, Duration::from_secs(60), 30, Scope::Subject),
        rate(Meter::RunningMs, 1, HOUR, 100, Scope::Tenant),
        ceiling(Meter::WebsocketMessages, 3, Scope::Subject),
    ];
    house.clock.go_on(HOUR);
    let account = house.account("acme", "ann", &limits);
    assert_eq!(drain(&account, Meter::Requests), 30);
    account.charge(Meter::RunningMs, 100);
    assert_eq!(drain(&account, Meter::WebsocketMessages), 3);
    drop(account);

    let house = house.restart(Duration::from_secs(12));
    let account = house.account("acme", "ann", &limits);
    assert_eq!(drain(&account, Meter::Requests), 12);
    assert!(account.check(Meter::RunningMs).is_err());
    assert_eq!(drain(&account, Meter::WebsocketMessages), 0, "it is used up for good");
    // Known before anybody of the tenant asks.
    drop(account);
    let house = house.restart(Duration::ZERO);
    let acme = house.account("acme", "bob", &[]).tenant().clone();
    house.quotas.charge_tenant(&acme, Meter::RunningMs, 1);
    let house = house.restart(100 * HOUR);
    let account = house.account("acme", "ann", &limits);
    assert_eq!(drain(&account, Meter::Requests), 30);
    assert_eq!(account.check(Meter::RunningMs), Ok(()));
}

#[test]
fn a_wall_clock_that_was_set_back_counts_as_no_time() {
    let house = House::new();
    house.clock.go_on(24 * HOUR);
    let limits = [rate(Meter::Requests, 1, HOUR, 5, Scope::Subject)];
    assert_eq!(drain(&house.account("acme", "ann", &limits), Meter::Requests), 5);
    house.quotas.close();
    house.clock.wall.fetch_sub(23 * 3_600_000_000, SeqCst);
    let house = house.restart(Duration::ZERO);
    assert_eq!(drain(&house.account("acme", "ann", &limits), Meter::Requests), 0);
    house.clock.go_on(HOUR);
    assert_eq!(drain(&house.account("acme", "ann", &limits), Meter::Requests), 1);
}

#[test]
fn what_was_saved_within_a_second_survives_a_crash() {
    let house = House::new();
    let limits = [rate(Meter::Requests, 1, HOUR, 5, Scope::Subject)];
    assert_eq!(drain(&house.account("acme", "ann", &limits), Meter::Requests), 5);
    house.let_the_saver_look(|| house.quotas.saves() > 0);
    // A crash leaves the file as it is at this moment.
    let copy = tempfile::tempdir().expect("a directory");
    let file = "quota.redb";
    std::fs::copy(house.directory.path().join(file), copy.path().join(file)).expect("copied");
    let clock = Arc::new(Hands::default());
    let after = super::open(copy.path(), &clock);
    let account = after.account(&super::identity("acme", "ann"), &limits);
    assert_eq!(drain(&account, Meter::Requests), 0);
}

#[test]
fn what_is_full_again_is_removed_from_the_ledger() {
    let house = House::new();
    let limits = [rate(Meter::Requests, 100, HOUR, 100, Scope::Subject)];
    for n in 0..300 {
        let account = house.account("acme", &format!("user-{n}"), &limits);
        assert_eq!(drain(&account, Meter::Requests), 100);
    }
    let house = house.restart(Duration::ZERO);
    assert_eq!(house.quotas.usage(None).len(), 300);
    let house = house.restart(2 * HOUR);
    house.let_the_saver_look(|| house.quotas.saves() > 0);
    // Even for a clock that stood still there is nothing left to remember.
    house.quotas.close();
    house.clock.wall.store(0, SeqCst);
    let house = house.restart(Duration::ZERO);
    assert!(house.quotas.usage(None).is_empty());
}

#[test]
fn a_ledger_that_cannot_be_read_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("quota.redb");
    std::fs::write(&path, b"not a database at all").expect("written");
    let open = || Quotas::open(QuotaConfig::new(directory.path().to_owned()));
    let error = open().expect_err("it is none");
    assert!(matches!(error, QuotaError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("move it away"), "{error}");
    assert_eq!(std::fs::read(&path).expect("it is there"), b"not a database at all");
    std::fs::remove_file(&path).expect("removed");
    let first = open().expect("a new one");
    assert!(matches!(open(), Err(QuotaError::Access { .. })), "another gateway has it");
    drop(first);
    assert!(open().is_ok());
}

#[test]
fn the_numbers_of_a_limit_come_back_as_they_were() {
    let house = House::new();
    let kinds = [
        LimitKind::Rate { amount: u64::MAX, per: Duration::from_millis(1), burst: u64::MAX },
        LimitKind::Rate { amount: 1, per: Duration::from_secs(315_360_000), burst: u64::MAX },
        LimitKind::Ceiling(u64::MAX),
    ];
    let limits = kinds.map(|kind| tidegate_types::Limit {
        meter: Meter::CpuMs,
        kind,
        scope: Scope::Subject,
    });
    house.account("ä/b c", "x y", &limits).take(Meter::CpuMs, 1 << 63).expect("there are");
    let house = house.restart(Duration::ZERO);
    let lines = house.quotas.usage(None);
    let found: Vec<_> = lines.iter().filter_map(|line| line.limit).collect();
    assert!(kinds[1..].iter().all(|kind| found.contains(kind)), "{lines:?}");
    assert!(lines.iter().all(|line| line.used == 1 << 63), "{lines:?}");
}
