//! How long to wait after a failure, and after the one after that.

use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(60);

/// An application that ran for this long and then ended has not failed to start:
/// counting begins anew.
pub(super) const SETTLED: Duration = Duration::from_secs(60);

/// 1, 2, 4 … 60 s after the first, second, third … failure in a row.
pub(super) fn after(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(6);
    Duration::from_secs(1 << doublings).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_minute() {
        let seconds: Vec<_> = (1..=9).map(|attempts| after(attempts).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(after(u32::MAX), LONGEST);
    }
}
