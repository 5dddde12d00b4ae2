//! Any number of takers together get what the limit says: never more, never less.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use proptest::prelude::*;
use tidegate_types::{Meter, Scope};

use super::{House, drain, rate};

const TAKERS: usize = 8;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Takers that never rest get, up to every instant, the burst and what flowed
    /// in until then, to the last token.
    #[test]
    fn many_threads_together_get_exactly_the_burst_and_the_rate(
        amount in 1_u64..400,
        per_ms in 1_u64..5_000,
        burst in 2_u64..300,
        steps in prop::collection::vec(0_u64..400_000, 1..12),
        at_once in 1_u64..4,
    ) {
        let house = House::new();
        let per = Duration::from_millis(per_ms);
        let limits = [rate(Meter::Requests, amount, per, burst, Scope::Subject)];
        // Between two steps no more flows in than fits beside what is left, which is
        // less than one: so nothing overflows.
        let fits = u128::from(burst - 1) * per.as_micros() / u128::from(amount);
        let steps: Vec<u64> = steps
            .iter()
            .map(|step| (*step).min(u64::try_from(fits).expect("small")))
            .collect();
        let total = AtomicU64::new(0);
        let (begin, end) = (Barrier::new(TAKERS + 1), Barrier::new(TAKERS + 1));
        let outcome = std::thread::scope(|scope| {
            for _ in 0..TAKERS {
                scope.spawn(|| {
                    for _ in 0..=steps.len() {
                        begin.wait();
                        // In larger pieces first, and then what is left of them.
                        let account = house.account("acme", "ann", &limits);
                        for n in [at_once, 1] {
                            while account.take(Meter::Requests, n).is_ok() {
                                total.fetch_add(n, SeqCst);
                            }
                        }
                        end.wait();
                    }
                });
            }
            let (mut elapsed, mut wrong) = (0_u64, Vec::new());
            for step in std::iter::once(&0).chain(&steps) {
                house.clock.go_on(Duration::from_micros(*step));
                elapsed += step;
                begin.wait();
                end.wait();
                let flowed = u128::from(elapsed) * u128::from(amount) / per.as_micros();
                let expected = u128::from(burst) + flowed;
                let got = u128::from(total.load(SeqCst));
                if got != expected {
                    wrong.push((elapsed, expected, got));
                }
            }
            wrong
        });
        prop_assert!(outcome.is_empty(), "after, expected, got: {outcome:?}");
    }

    /// With time going on and back while they take: never more than the limit.
    #[test]
    fn whatever_the_clock_does_nobody_gets_more(
        amount in 1_u64..1_000,
        per_ms in 1_u64..1_000,
        burst in 1_u64..100,
        jumps in prop::collection::vec(-50_000_i64..100_000, 1..50),
    ) {
        let house = House::new();
        let per = Duration::from_millis(per_ms);
        let limits = [rate(Meter::Requests, amount, per, burst, Scope::Tenant)];
        let total = AtomicU64::new(0);
        let mut latest = 0;
        std::thread::scope(|scope| {
            let takers: Vec<_> = (0..TAKERS).map(|taker| {
                let (house, limits, total) = (&house, &limits, &total);
                scope.spawn(move || {
                    let account = house.account("acme", &format!("user-{taker}"), limits);
                    for _ in 0..500 {
                        if account.take(Meter::Requests, 1).is_ok() {
                            total.fetch_add(1, SeqCst);
                        }
                    }
                })
            }).collect();
            for jump in &jumps {
                let now = house.clock.monotonic.load(SeqCst);
                let next = now.saturating_add_signed(*jump);
                latest = latest.max(next);
                house.clock.monotonic.store(next, SeqCst);
            }
            takers.into_iter().for_each(|taker| taker.join().expect("it ends"));
        });
        let most = u128::from(burst) + u128::from(latest) * u128::from(amount) / per.as_micros();
        prop_assert!(u128::from(total.load(SeqCst)) <= most);
    }

    /// A subject's limit and its tenant's, taken from at once by many: neither is
    /// exceeded, and afterwards each has exactly what was not had.
    #[test]
    fn two_limits_on_one_meter_both_hold(own in 1_u64..60, shared in 1_u64..200) {
        let house = House::new();
        let per = Duration::from_secs(3_600);
        let limits = [
            rate(Meter::Requests, own, per, own, Scope::Subject),
            rate(Meter::Requests, shared, per, shared, Scope::Tenant),
        ];
        let had: Vec<AtomicU64> = (0..TAKERS).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            // Two threads for each subject.
            for taker in 0..TAKERS * 2 {
                let (house, limits, had) = (&house, &limits, &had);
                scope.spawn(move || {
                    let subject = taker % TAKERS;
                    let account = house.account("acme", &format!("user-{subject}"), limits);
                    for _ in 0..own {
                        if account.take(Meter::Requests, 1).is_ok() {
                            had[subject].fetch_add(1, SeqCst);
                        }
                    }
                });
            }
        });
        let had: Vec<u64> = had.iter().map(|had| had.load(SeqCst)).collect();
        prop_assert!(had.iter().all(|had| *had <= own), "{had:?}");
        prop_assert!(had.iter().sum::<u64>() <= shared, "{had:?}");
        // What was refused took nothing: the rest is all there.
        let mut left = shared - had.iter().sum::<u64>();
        for (subject, had) in had.iter().enumerate() {
            let account = house.account("acme", &format!("user-{subject}"), &limits);
            let expected = left.min(own - had);
            prop_assert_eq!(drain(&account, Meter::Requests), expected);
            left -= expected;
        }
    }
}

#[test]
fn who_is_refused_is_told_which_limit_and_when_to_come_back() {
    let house = House::new();
    let account = house.account(
        "acme",
        "ann",
        &[
            rate(Meter::Requests, 60, Duration::from_secs(60), 5, Scope::Subject),
            rate(Meter::Requests, 10, Duration::from_secs(100), 3, Scope::Tenant),
        ],
    );
    assert_eq!(drain(&account, Meter::Requests), 3);
    let refused = account.take(Meter::Requests, 1).expect_err("the tenant's is empty");
    assert_eq!((refused.meter, refused.scope), (Meter::Requests, Scope::Tenant));
    assert_eq!(refused.retry_after, Some(Duration::from_secs(10)));
    let left: Vec<_> = account.rates(Meter::Requests).map(|it| (it.scope, it.remaining)).collect();
    assert_eq!(left, [(Scope::Subject, 2), (Scope::Tenant, 0)]);
    let refused = account.take(Meter::Requests, 6).expect_err("more than ever at once");
    assert_eq!((refused.scope, refused.retry_after), (Scope::Subject, None));
    // What has no limit is not counted.
    assert_eq!(account.take(Meter::EgressBytes, u64::MAX), Ok(()));
}
