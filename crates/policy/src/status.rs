//! What an operator can see of a plugin: a snapshot, never the plugin itself.

use std::time::Duration;

use tidegate_types::meter::BOUNDS_MICROS;
use tidegate_types::{PluginName, TenantId};

use crate::{FailureReason, Hook, HttpOutcome, Isolation, JournalStatus, PluginProblem};

/// One loaded plugin, as of now.
#[derive(Debug, Clone)]
pub struct PluginStatus {
    /// Its name in the configuration.
    pub name: PluginName,
    /// What its manifest calls it.
    pub title: String,
    /// Its own version.
    pub version: String,
    /// Its own description.
    pub description: String,
    /// `builtin:NAME` or a path.
    pub source: String,
    /// Of the component, in hexadecimal.
    pub sha256: String,
    /// The version of the contract that it was made for.
    pub contract: &'static str,
    /// What it imports of the host, by its plain names: `http`, `log`.
    pub imports: Vec<String>,
    /// The generation that serves; grows with each successful reload.
    pub generation: u64,
    /// What calls may share an instance.
    pub isolation: Isolation,
    /// How long one call may take.
    pub deadline: Duration,
    /// Bytes of memory per instance.
    pub memory: u64,
    /// Its instances in this generation.
    pub instances: InstanceStatus,
    /// The hooks it serves, with what happened in each since the plugin of this
    /// name was first loaded.
    pub hooks: Vec<HookStatus>,
    /// What it computed for whom in this generation, who had most first; at most
    /// [`PluginStatus::TENANTS`].
    pub tenants: Vec<TenantTime>,
    /// What it computed for everybody else, and before a tenant was known.
    pub others: Duration,
    /// What became of its calls to HTTP services; only outcomes that occurred.
    pub http: Vec<(HttpOutcome, u64)>,
    /// How long those took that were made, as in [`HookStatus::durations`].
    pub http_durations: ([u64; BOUNDS_MICROS.len() + 1], u64),
    /// The file of lines that it was granted, where it was.
    pub journal: Option<JournalStatus>,
    /// Why the latest attempt to replace it failed; what serves is the last good one.
    pub last_problem: Option<PluginProblem>,
}

impl PluginStatus {
    /// How many tenants are told apart in one status.
    pub const TENANTS: usize = 16;
}

/// How many instances of a plugin there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceStatus {
    /// At work, or being made.
    pub leased: usize,
    /// Waiting for a call.
    pub idle: usize,
    /// How many there may be, both together.
    pub most: usize,
    /// Bytes of linear memory of all of them.
    pub memory: u64,
}

/// What a plugin computed for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantTime {
    /// Whose calls.
    pub tenant: TenantId,
    /// Time that the calls took on a thread, without what they waited for services
    /// outside. On a machine with too few processors this is more than was computed.
    pub time: Duration,
}

/// What happened in one hook of one plugin.
#[derive(Debug, Clone)]
pub struct HookStatus {
    /// Which.
    pub hook: Hook,
    /// Its place among the plugins that serve the hook: 1 is asked first.
    pub order: usize,
    /// Calls, whatever came of them.
    pub calls: u64,
    /// Calls without a decision, by reason; only reasons that occurred.
    pub failures: Vec<(FailureReason, u64)>,
    /// Questions that aren't asked any more because they killed it again and again.
    pub poisonous: usize,
    /// Durations per bucket of [`BOUNDS_MICROS`], the last being the overflow,
    /// and their sum in microseconds.
    pub durations: ([u64; BOUNDS_MICROS.len() + 1], u64),
}

impl HookStatus {
    /// The duration that half of the calls stayed within. See [`HookStatus::quantile`].
    #[must_use]
    pub fn p50(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// The duration that 99 of 100 calls stayed within. See [`HookStatus::quantile`].
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }

    /// The duration that `share` (0 to 1) of the calls stayed within; `None` before
    /// the first call.
    ///
    /// Interpolated within a bucket of the histogram, so that it can be wrong by the
    /// bucket's width: below 5 µs by 5, above by at most a factor of 2.5 (of 5 beyond
    /// 10 ms). In the overflow it is that bucket's lower bound.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let (buckets, _) = &self.durations;
        let all: u64 = buckets.iter().sum();
        // Exact up to 2^53 calls.
        let rank = (share.clamp(0.0, 1.0) * all as f64).max(1.0);
        let mut below = 0.0;
        let mut lower = 0;
        for (at, count) in buckets.iter().enumerate() {
            let upper = BOUNDS_MICROS.get(at).copied().unwrap_or(lower);
            let count = *count as f64;
            if count > 0.0 && below + count >= rank {
                let width = (upper - lower) as f64;
                let micros = lower as f64 + width * (rank - below) / count;
                return Some(Duration::from_nanos((micros * 1e3) as u64));
            }
            below += count;
            lower = upper;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(durations: &[(usize, u64)]) -> HookStatus {
        let mut buckets = [0; BOUNDS_MICROS.len() + 1];
        durations.iter().for_each(|(at, count)| buckets[*at] = *count);
        HookStatus {
            hook: Hook::Resolve,
            order: 1,
            calls: 0,
            failures: vec![],
            poisonous: 0,
            durations: (buckets, 0),
        }
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_that_holds_its_call() {
        let check = |durations: &[(usize, u64)], p50, p99| {
            let status = with(durations);
            assert_eq!((status.p50(), status.p99()), (p50, p99), "{durations:?}");
        };
        let micros = |it| Some(Duration::from_nanos((it * 1e3) as u64));
        check(&[], None, None);
        check(&[(0, 100)], micros(2.5), micros(4.95));
        check(&[(0, 98), (4, 2)], micros(2.551), micros(75.0));
        check(&[(18, 5)], micros(60e6), micros(60e6));
        check(&[(1, 1)], micros(10.0), micros(10.0));
    }
}
