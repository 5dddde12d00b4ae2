//! How much may be used: one of `limits`.

use std::time::Duration;

use tidegate_types::{Limit, LimitKind, Meter, Scope};

use crate::Implausible;

/// The most limits that one plugin sets for one identity.
pub const MAX_LIMITS: usize = 64;
/// The longest time that a rate is counted over: ten years. Buckets count in
/// nanoseconds, which fit beyond.
pub const MAX_PER: Duration = Duration::from_secs(3_660 * 86_400);

/// How many limits a plugin set.
///
/// # Errors
/// When there are more than [`MAX_LIMITS`].
pub fn number_of_limits(count: usize) -> Result<(), Implausible> {
    if count > MAX_LIMITS {
        return Err(Implausible::new("limits", format!("{count} of them; at most {MAX_LIMITS}")));
    }
    Ok(())
}

/// The limit at `index`: a rate where `per_ms` is there, else a ceiling.
///
/// An amount of 0 allows nothing at all and is a decision. A rate over no time, or one
/// whose bucket is filled but holds nothing, is a mistake.
///
/// # Errors
/// The field that is wrong, within `limits[INDEX]`.
pub fn limit(
    index: usize,
    meter: Meter,
    amount: u64,
    per_ms: Option<u64>,
    burst: Option<u64>,
    scope: Scope,
) -> Result<Limit, Implausible> {
    let wrong = |field: &str, what: String| {
        Err(Implausible::new(format!("limits[{index}].{field}"), format!("{what} (of `{meter}`)")))
    };
    let kind = match (per_ms, burst) {
        (None, None) => LimitKind::Ceiling(amount),
        (None, Some(_)) => {
            return wrong("burst", "a ceiling has none: set `per-ms` to make it a rate".into());
        }
        (Some(_), _) if is_level(meter) => {
            return wrong(
                "per-ms",
                "it is measured, not used up: leave it out for a ceiling".into(),
            );
        }
        (Some(per), burst) => {
            let per = Duration::from_millis(per);
            if per.is_zero() || per > MAX_PER {
                let most = MAX_PER.as_millis();
                let what = format!("{} ms; more than none and at most {most}", per.as_millis());
                return wrong("per-ms", what);
            }
            let burst = burst.unwrap_or(amount);
            if burst == 0 && amount > 0 {
                return wrong("burst", "0: nothing would ever be allowed".into());
            }
            LimitKind::Rate { amount, per, burst }
        }
    };
    Ok(Limit { meter, kind, scope })
}

/// Whether it goes up and down by itself, so that a rate of it means nothing.
const fn is_level(meter: Meter) -> bool {
    matches!(
        meter,
        Meter::MemoryBytes | Meter::Processes | Meter::StorageBytes | Meter::StorageObjects
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(amount: u64, per: Option<u64>, burst: Option<u64>) -> Result<LimitKind, Implausible> {
        limit(3, Meter::Requests, amount, per, burst, Scope::Tenant).map(|limit| limit.kind)
    }

    #[test]
    fn a_limit_is_a_rate_that_ever_allows_something_or_a_ceiling() {
        let per = Duration::from_secs(60);
        let rate = |burst| LimitKind::Rate { amount: 60, per, burst };
        assert_eq!(asked(60, Some(60_000), None), Ok(rate(60)));
        assert_eq!(asked(60, Some(60_000), Some(5)), Ok(rate(5)));
        assert_eq!(asked(0, None, None), Ok(LimitKind::Ceiling(0)));
        assert_eq!(asked(0, Some(60_000), None), Ok(LimitKind::Rate { amount: 0, per, burst: 0 }));
        for (wrong, field) in [
            (asked(1, Some(0), None), "per-ms"),
            (asked(1, Some(u64::MAX), None), "per-ms"),
            (asked(1, Some(1), Some(0)), "burst"),
            (asked(1, None, Some(1)), "burst"),
        ] {
            let wrong = wrong.expect_err(field);
            assert_eq!(wrong.field, format!("limits[3].{field}"));
            assert!(wrong.what.ends_with("(of `requests`)"), "{wrong}");
        }
        assert!(number_of_limits(64).is_ok() && number_of_limits(65).is_err());
    }

    #[test]
    fn what_is_measured_has_a_ceiling_and_no_rate() {
        for meter in Meter::ALL {
            let rate = limit(0, *meter, 5, Some(1_000), None, Scope::Tenant);
            let measured = ["memory-bytes", "processes", "storage-bytes", "storage-objects"];
            assert_eq!(rate.is_err(), measured.contains(&meter.as_str()), "{meter}");
            assert!(limit(0, *meter, 5, None, None, Scope::Tenant).is_ok(), "{meter}");
        }
    }
}
