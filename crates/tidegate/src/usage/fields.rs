//! Limits as header fields: `RateLimit-Policy` and `RateLimit`, as
//! draft-ietf-httpapi-ratelimit-headers writes them (Structured Fields, RFC 9651).
//!
//! `q` units flow in per window of `w` seconds, `r` are left, and after `t` seconds
//! all of them are back if none is used until then. When to come back after a
//! refusal is said by `Retry-After`.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tidegate_quota::{Account, Rate};
use tidegate_types::{Meter, Scope};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The largest integer of a structured field (RFC 9651 §3.3.1).
const MOST: u64 = 999_999_999_999_999;

/// Both fields, or none where `meter` has no rate.
pub(crate) fn rate_limit(account: &Account, meter: Meter) -> Vec<(HeaderName, HeaderValue)> {
    if !account.limits_any(meter) {
        return Vec::new();
    }
    written(account.rates(meter))
}

fn written(rates: impl Iterator<Item = Rate>) -> Vec<(HeaderName, HeaderValue)> {
    let (mut policy, mut limit) = (String::new(), String::new());
    let mut last: Option<Rate> = None;
    for rate in rates {
        let Rate { meter, scope, amount, per, remaining, full_in } = rate;
        let again = last.replace(rate).is_some_and(|last| last.scope == scope);
        let comma = if policy.is_empty() { "" } else { ", " };
        let whose = if scope == Scope::Tenant { "tenant-" } else { "" };
        let window = seconds(per).max(1);
        // Writing to a `String` does not fail.
        let _ = write!(policy, "{comma}\"{whose}{meter}");
        let _ = write!(limit, "{comma}\"{whose}{meter}");
        if again {
            // Names are unique: a second rate is told apart by its window.
            let _ = write!(policy, "-{window}");
            let _ = write!(limit, "-{window}");
        }
        let (amount, remaining) = (amount.min(MOST), remaining.min(MOST));
        policy.push('"');
        let _ = write!(policy, ";q={amount};w={window}");
        if let Some(unit) = unit(meter) {
            let _ = write!(policy, ";qu=\"{unit}\"");
        }
        let _ = write!(limit, "\";r={remaining};t={}", seconds(full_in));
    }
    let value = |text: String| HeaderValue::try_from(text).ok();
    match (value(policy), value(limit)) {
        (Some(policy), Some(limit)) if !policy.is_empty() => {
            vec![(POLICY, policy), (LIMIT, limit)]
        }
        _ => Vec::new(),
    }
}

/// The draft's names for what isn't requests, where it has one.
const fn unit(meter: Meter) -> Option<&'static str> {
    match meter {
        Meter::IngressBytes | Meter::EgressBytes => Some("content-bytes"),
        _ => None,
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(scope: Scope, per: u64, remaining: u64, full_in_ms: u64) -> Rate {
        Rate {
            meter: Meter::Requests,
            scope,
            amount: 100,
            per: Duration::from_secs(per),
            remaining,
            full_in: Duration::from_millis(full_in_ms),
        }
    }

    fn check(rates: &[Rate], policy: &str, limit: &str) {
        let fields = written(rates.iter().copied());
        let told: Vec<_> = fields.iter().map(|(_, v)| v.to_str().expect("ASCII")).collect();
        assert_eq!(told, [policy, limit]);
    }

    #[test]
    fn a_rate_is_a_policy_and_what_is_left_of_it() {
        check(
            &[rate(Scope::Subject, 60, 0, 11_001)],
            r#""requests";q=100;w=60"#,
            r#""requests";r=0;t=12"#,
        );
    }

    #[test]
    fn every_policy_has_a_name_of_its_own() {
        let rates = [
            rate(Scope::Subject, 1, 5, 0),
            rate(Scope::Subject, 3_600, 50, 1_000),
            rate(Scope::Tenant, 1, 7, 10),
        ];
        check(
            &rates,
            r#""requests";q=100;w=1, "requests-3600";q=100;w=3600, "tenant-requests";q=100;w=1"#,
            r#""requests";r=5;t=0, "requests-3600";r=50;t=1, "tenant-requests";r=7;t=1"#,
        );
    }

    #[test]
    fn numbers_stay_within_what_a_structured_field_may_hold() {
        let huge = Rate {
            meter: Meter::EgressBytes,
            scope: Scope::Subject,
            amount: u64::MAX,
            per: Duration::from_millis(1),
            remaining: u64::MAX,
            full_in: Duration::MAX,
        };
        check(
            &[huge],
            r#""egress-bytes";q=999999999999999;w=1;qu="content-bytes""#,
            r#""egress-bytes";r=999999999999999;t=999999999999999"#,
        );
        assert!(written(std::iter::empty()).is_empty());
    }
}
