//! A token bucket in one atomic word, exact for every amount, period and burst.
//!
//! The generic cell rate algorithm in integers: with `amount / per` in its lowest
//! terms `a / p` (per microsecond), time and tokens have a common unit: a
//! microsecond brings `a` of them and a token costs `p`. The word holds the time,
//! in that unit, at which the bucket is full again. Nothing is ever rounded, so
//! any number of takers together get what the limit says and not one more.
//!
//! The largest numbers there are (2⁶⁴ tokens, a millennium of microseconds) make
//! units of less than 2¹²¹: hence the 128 bits, and nothing can overflow.
//!
//! Time is what the clock shows, in whole microseconds: "exact" means with
//! respect to its readings.

use std::time::Duration;

use portable_atomic::{AtomicU128, Ordering::Relaxed};
use tidegate_types::LimitKind;

/// Longer periods count as "never": a millennium, in microseconds, is less than 2⁵⁵.
const FOREVER: u128 = 1 << 55;

/// No bucket lacks more units: what it holds, and once as much in debt.
const MOST: u128 = 1 << 120;

/// The numbers of one limit, in the bucket's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    per_token: u128,
    per_micro: u128,
    capacity: u128,
}

impl Rule {
    fn of(kind: LimitKind) -> Self {
        let allowance =
            |tokens: u64| Self { per_token: 1, per_micro: 0, capacity: u128::from(tokens) };
        match kind {
            LimitKind::Ceiling(tokens) => allowance(tokens),
            LimitKind::Rate { amount: 0, .. } => allowance(0),
            LimitKind::Rate { amount, per, burst } => {
                let per = per.as_micros().max(1);
                if per >= FOREVER {
                    return allowance(burst);
                }
                let shared = gcd(u128::from(amount), per);
                let per_token = per / shared;
                Self {
                    per_token,
                    per_micro: u128::from(amount) / shared,
                    capacity: u128::from(burst) * per_token,
                }
            }
        }
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Bucket {
    rule: Rule,
    full_at: AtomicU128,
}

/// What one take did, so that it can be undone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    cost: u128,
    left_at: u128,
}

/// How far into the bucket one may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All of it must be there.
    Whole,
    /// One token must be there; the rest becomes debt. For what has happened
    /// already: bytes that were read.
    Debt,
}

impl Bucket {
    /// One that lacks `lacks` tokens, though never more than it holds: 0 is full.
    pub(crate) fn lacking(kind: LimitKind, lacks: u64, now: u64) -> Self {
        let rule = Rule::of(kind);
        let lack = (u128::from(lacks) * rule.per_token).min(rule.capacity);
        Self::with_lack(rule, lack, now)
    }

    /// One that lacked `units` when it was saved, `away` microseconds ago.
    pub(crate) fn restored(kind: LimitKind, units: u128, away: u64, now: u64) -> Self {
        let rule = Rule::of(kind);
        let refilled = u128::from(away) * rule.per_micro;
        let lack = units.saturating_sub(refilled).min(MOST);
        Self::with_lack(rule, lack, now)
    }

    fn with_lack(rule: Rule, lack: u128, now: u64) -> Self {
        let bucket = Self { rule, full_at: AtomicU128::new(0) };
        bucket.full_at.store(bucket.at(now) + lack, Relaxed);
        bucket
    }

    /// Takes `n` tokens, or none. One compare-and-swap, tried again only when
    /// another taker was faster.
    pub(crate) fn take(&self, n: u64, now: u64, reach: Reach) -> Result<Took, Short> {
        let Rule { per_token, capacity, .. } = self.rule;
        let now = self.at(now);
        let cost = u128::from(n) * per_token;
        let needed = match reach {
            Reach::Whole => cost,
            Reach::Debt => cost.min(per_token),
        };
        let mut seen = self.full_at.load(Relaxed);
        loop {
            let base = seen.max(now);
            let lack = base - now;
            if lack + needed > capacity {
                return Err(self.short(lack, needed));
            }
            let left_at = base + cost;
            match self.full_at.compare_exchange_weak(seen, left_at, Relaxed, Relaxed) {
                Ok(_) => return Ok(Took { cost, left_at }),
                Err(other) => seen = other,
            }
        }
    }

    /// Takes `n` tokens, or as many of them as there are: for what happens whether
    /// it is allowed or not.
    pub(crate) fn charge(&self, n: u64, now: u64) {
        let now = self.at(now);
        let cost = u128::from(n) * self.rule.per_token;
        let empty = now + self.rule.capacity;
        // The closure always answers: there is no failure to speak of.
        let _ = self.full_at.fetch_update(Relaxed, Relaxed, |seen| {
            let after = (seen.max(now) + cost).min(empty);
            (after > seen).then_some(after)
        });
    }

    /// Undoes a take that nothing came of.
    ///
    /// Gives back no more than would be there without it: what flowed in
    /// meanwhile, while the bucket would have been full, is not given twice.
    pub(crate) fn give_back(&self, took: Took, now: u64) {
        let now = self.at(now);
        let refund = took.cost.min(took.left_at.saturating_sub(now));
        let _ =
            self.full_at.fetch_update(Relaxed, Relaxed, |seen| Some(seen.saturating_sub(refund)));
    }

    /// Units that are missing until it is full; 0 when it is.
    pub(crate) fn lack(&self, now: u64) -> u128 {
        let now = self.at(now);
        self.full_at.load(Relaxed).saturating_sub(now)
    }

    /// Changes exactly when something is taken or given back.
    pub(crate) fn mark(&self) -> u128 {
        self.full_at.load(Relaxed)
    }

    /// Tokens that are missing, begun ones included.
    pub(crate) fn lacks(&self, now: u64) -> u64 {
        u64::try_from(self.lack(now).div_ceil(self.rule.per_token)).unwrap_or(u64::MAX)
    }

    /// Whole tokens that are there.
    pub(crate) fn remaining(&self, now: u64) -> u64 {
        let there = self.rule.capacity.saturating_sub(self.lack(now));
        u64::try_from(there / self.rule.per_token).unwrap_or(u64::MAX)
    }

    /// How long until it is full if nothing is taken; `None`: never.
    pub(crate) fn full_in(&self, now: u64) -> Option<Duration> {
        self.time_for(self.lack(now))
    }

    /// How long until one more could be taken, counted from `now`.
    pub(crate) fn check(&self, now: u64) -> Result<(), Short> {
        let lack = self.lack(now);
        let one = self.rule.per_token;
        if lack + one > self.rule.capacity { Err(self.short(lack, one)) } else { Ok(()) }
    }

    fn short(&self, lack: u128, needed: u128) -> Short {
        let capacity = self.rule.capacity;
        // More than it ever holds: no time helps.
        let possible = needed <= capacity;
        let missing = (lack + needed).saturating_sub(capacity);
        Short { retry_after: possible.then(|| self.time_for(missing)).flatten() }
    }

    /// Now, in the bucket's unit.
    fn at(&self, now: u64) -> u128 {
        u128::from(now).min(FOREVER) * self.rule.per_micro
    }

    fn time_for(&self, units: u128) -> Option<Duration> {
        if units == 0 {
            return Some(Duration::ZERO);
        }
        if self.rule.per_micro == 0 {
            return None;
        }
        let micros = units.div_ceil(self.rule.per_micro);
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }
}

/// Too little is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short {
    /// When enough will be; `None`: never.
    pub(crate) retry_after: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(amount: u64, per: Duration, burst: u64) -> LimitKind {
        LimitKind::Rate { amount, per, burst }
    }

    fn takes(bucket: &Bucket, n: u64, now: u64) -> bool {
        bucket.take(n, now, Reach::Whole).is_ok()
    }

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let bucket = Bucket::lacking(rate(3, Duration::from_secs(1), 5), 0, 0);
        assert!((0..5).all(|_| takes(&bucket, 1, 0)));
        let short = bucket.take(1, 0, Reach::Whole).expect_err("it is empty");
        // A third of a second, in whole microseconds, rounded up.
        assert_eq!(short.retry_after, Some(Duration::from_micros(333_334)));
        assert!(!takes(&bucket, 1, 333_333));
        assert!(takes(&bucket, 1, 333_334));
        assert!(!takes(&bucket, 1, 666_666) && takes(&bucket, 1, 666_667));
        // Nothing was lost to rounding: the third is there after a second exactly.
        assert!(takes(&bucket, 1, SECOND) && !takes(&bucket, 1, SECOND));
        // And it never holds more than its burst.
        assert_eq!(bucket.remaining(1_000 * SECOND), 5);
    }

    #[test]
    fn every_number_there_is_can_be_counted_with() {
        let decade = Duration::from_secs(10 * 365 * 86_400);
        let cases = [
            (0, Duration::from_secs(1), 1),
            (1, Duration::from_millis(1), 1),
            (u64::MAX, Duration::from_millis(1), u64::MAX),
            (u64::MAX, decade, u64::MAX),
            (1, decade, u64::MAX),
            (u64::MAX - 1, Duration::from_millis(u64::MAX), 1),
            (1, Duration::MAX, u64::MAX),
            (7, Duration::ZERO, 3),
        ];
        for (amount, per, burst) in cases {
            for now in [0, 1, SECOND, 1 << 52, u64::MAX] {
                let kind = rate(amount, per, burst);
                let bucket = Bucket::lacking(kind, 0, now);
                assert_eq!(takes(&bucket, burst, now), amount > 0, "{kind:?} at {now}");
                assert!(!takes(&bucket, 1, now), "{kind:?} at {now}");
                assert_eq!(bucket.remaining(now), 0);
                assert_eq!(bucket.lacks(now), if amount == 0 { 0 } else { burst });
                bucket.charge(u64::MAX, now);
                let again = Bucket::restored(kind, bucket.lack(now), u64::MAX, now);
                let millennia = Duration::from_micros(u64::MAX);
                let refills = bucket.full_in(now).is_some_and(|it| it < millennia);
                assert_eq!(again.lack(now) == 0, refills, "{kind:?} at {now}");
                assert!(Bucket::lacking(kind, u64::MAX, now).remaining(now) == 0);
                assert!(bucket.take(u64::MAX, now, Reach::Debt).is_err());
            }
        }
    }

    #[test]
    fn a_limit_that_is_no_rate_is_used_up_for_good() {
        let bucket = Bucket::lacking(LimitKind::Ceiling(2), 0, 0);
        assert!(takes(&bucket, 2, 0));
        let short = bucket.take(1, u64::MAX, Reach::Whole).expect_err("it is used up");
        assert_eq!((short.retry_after, bucket.full_in(u64::MAX)), (None, None));
    }

    #[test]
    fn more_than_the_burst_is_never_there_and_no_time_is_named() {
        let bucket = Bucket::lacking(rate(10, Duration::from_secs(1), 5), 0, 0);
        let short = bucket.take(6, 0, Reach::Whole).expect_err("too much");
        assert_eq!(short.retry_after, None);
        assert_eq!(bucket.remaining(0), 5, "nothing was taken");
    }

    #[test]
    fn bytes_that_came_already_go_into_debt_by_one_chunk_at_most() {
        let bucket = Bucket::lacking(rate(10, Duration::from_secs(1), 10), 0, 0);
        let spend = |n, now| bucket.take(n, now, Reach::Debt).is_ok();
        assert!(spend(9, 0) && spend(100, 0) && !spend(1, 0));
        // 99 in debt: ten seconds until one is there.
        assert!(!spend(1, 9_999_999) && spend(1, 10_000_000));
    }

    #[test]
    fn what_is_charged_empties_a_bucket_and_makes_no_debt() {
        let bucket = Bucket::lacking(rate(10, Duration::from_secs(1), 10), 0, 0);
        bucket.charge(1_000, 0);
        assert!(!takes(&bucket, 1, 99_999) && takes(&bucket, 1, 100_000));
    }

    #[test]
    fn a_clock_that_goes_back_allows_nothing_and_loses_nothing() {
        let bucket = Bucket::lacking(rate(1, Duration::from_secs(1), 1), 0, 10 * SECOND);
        assert!(takes(&bucket, 1, 10 * SECOND));
        for now in [0, 9 * SECOND, 11 * SECOND - 1] {
            assert!(!takes(&bucket, 1, now), "{now}");
        }
        assert!(takes(&bucket, 1, 11 * SECOND));
    }

    #[test]
    fn a_take_that_is_undone_leaves_what_would_be_there_without_it() {
        let kind = rate(10, Duration::from_secs(1), 10);
        let undone_at = |lacked: u64, ghost: u64, other_at: u64, other: u64, at: u64| {
            let bucket = Bucket::lacking(kind, lacked, 0);
            let ghost = bucket.take(ghost, 0, Reach::Whole).expect("it is there");
            assert!(takes(&bucket, other, other_at));
            bucket.give_back(ghost, at);
            let without = Bucket::lacking(kind, lacked, 0);
            assert!(takes(&without, other, other_at));
            (bucket.remaining(at), without.remaining(at))
        };
        for (lacked, ghost) in [(0, 1), (0, 9), (5, 2), (9, 1)] {
            for (other_at, at) in [(100_000, 100_000), (100_000, 150_000), (900_000, SECOND)] {
                let (with, without) = undone_at(lacked, ghost, other_at, 1, at);
                assert!(with <= without, "{lacked} {ghost} {other_at} {at}: {with} > {without}");
                // At the same instant it is as if nothing had been.
                let (with, without) = undone_at(lacked, ghost, 0, 0, 0);
                assert_eq!(with, without);
            }
        }
    }

    #[test]
    fn the_word_is_not_guarded_by_a_lock() {
        assert!(AtomicU128::is_lock_free());
    }
}
