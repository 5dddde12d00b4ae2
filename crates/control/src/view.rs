//! What is shown: the JSON of the control API. A field here is a promise of
//! compatibility: add, don't rename. Units stand in names; times are Unix
//! milliseconds.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// What this gateway process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Version of tidegate.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When it was started.
    pub started_at_ms: u64,
    /// Where tenants' clients connect: `127.0.0.1:8080`.
    pub listen: String,
    /// Where it keeps its state.
    pub state_dir: String,
    /// The configuration file, when there is one.
    pub config: Option<String>,
    /// What the machine cannot do that the configuration asks for.
    pub warnings: Vec<String>,
}

/// One sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct SandboxView {
    /// Whose it is.
    pub tenant: String,
    /// Which of theirs.
    pub name: String,
    /// Which life of it; what destructive calls name.
    pub incarnation: u64,
    /// Its recipe.
    pub template: String,
    /// What makes it real: `linux`.
    pub driver: String,
    /// `starting`, `running`, `frozen`, `stopping`, `stopped` or `failed`.
    pub state: String,
    /// When it came into that state.
    pub since_ms: u64,
    /// Why it is awake, or being woken; absent when it is neither.
    pub awake: Option<AwakeView>,
    /// When it will go to rest if nothing happens; absent when it will not.
    pub rests_at_ms: Option<u64>,
    /// Why it failed, when it did.
    pub failure: Option<String>,
    /// Starts that failed in a row.
    pub failed_starts: u32,
    /// How its process last ended: `code 1`, `signal 9`, `out of memory`.
    pub last_exit: Option<String>,
    /// Bytes of memory in use.
    pub memory_bytes: Option<u64>,
    /// CPU time since its start.
    pub cpu_ms: Option<u64>,
    /// Processes.
    pub processes: Option<u32>,
    /// Bytes on disk.
    pub disk_bytes: Option<u64>,
    /// What policy wrote on it.
    pub labels: BTreeMap<String, String>,
}

/// Why a sandbox is awake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct AwakeView {
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests in progress that policy calls passive. They don't keep it awake.
    #[serde(default)]
    pub visitors: u64,
    /// Open WebSockets. They alone don't keep it awake.
    pub websockets: u64,
    /// When a client last sent something.
    pub last_activity_ms: Option<u64>,
    /// It never sleeps by itself.
    pub keep_alive: bool,
    /// What it was used for last, or what it is being woken for; up to a second
    /// older than `last_activity_ms`. Absent where it ran before this gateway began.
    pub cause: Option<CauseView>,
}

/// Who used a sandbox, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct CauseView {
    /// `request`, `bytes` (on a WebSocket that was open already) or `order`.
    pub kind: String,
    /// The request: `GET /chat`, without its query.
    pub request: Option<String>,
    /// Whose it was; absent for an operator's order.
    pub subject: Option<String>,
}

/// One policy plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct PluginView {
    /// Its name in the configuration.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// What it says of itself.
    pub description: String,
    /// `builtin:token`, a path, `https://…` or `oci://…`
    pub source: String,
    /// SHA-256 of its component, in hex.
    pub sha256: String,
    /// SHA-256 of its manifest in a registry, in hex.
    pub manifest: Option<String>,
    /// Whether its signature was verified.
    pub signed: bool,
    /// Why its source gave nothing, and a copy serves, or nothing at all.
    pub source_problem: Option<String>,
    /// The version of the contract that it was made for: `0.2.0`.
    pub contract: String,
    /// What it imports of the host: `http`, `log`.
    pub imports: Vec<String>,
    /// Which consistent set of plugins it belongs to; grows with each reload.
    pub generation: u64,
    /// The questions it answers, in the order in which a request meets them.
    pub hooks: Vec<HookView>,
    /// `call`, `tenant` or `shared`.
    pub isolation: String,
    /// How long one call may take.
    pub deadline_ms: u64,
    /// Bytes of memory that one instance may have.
    pub memory_limit_bytes: u64,
    /// Bytes of memory of all its instances.
    pub memory_bytes: u64,
    /// Instances at work.
    pub instances_busy: u64,
    /// Instances at rest.
    pub instances_idle: u64,
    /// Instances that it may have.
    pub instances_limit: u64,
    /// Calls so far.
    pub calls: u64,
    /// Failed calls by reason: `trap`, `timed-out`.
    pub failures: BTreeMap<String, u64>,
    /// What it computed for whom since the last reload, who had most first; at most
    /// five.
    pub tenants: Vec<TenantTimeView>,
    /// Microseconds computed for everybody else, and before a tenant was known.
    pub others_us: u64,
    /// The component that was to replace it and was refused.
    pub candidate: Option<CandidateView>,
    /// Why the last reload of it was not taken over, when it was not, and what to do.
    pub problem: Option<String>,
}

/// One hook of one plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct HookView {
    /// `authenticate`
    pub hook: String,
    /// Its place among the plugins that answer this; 1 is asked first.
    pub order: u64,
    /// What follows when it fails: `503`.
    pub on_failure: String,
    /// Calls so far.
    pub calls: u64,
    /// Failed calls by reason.
    pub failures: BTreeMap<String, u64>,
    /// Questions that aren't asked any more because they killed it again and again.
    pub poisonous: u64,
    /// The time that half of the calls stayed within, in nanoseconds; estimated from
    /// a histogram.
    pub p50_ns: Option<u64>,
    /// The time that 99 of 100 calls stayed within.
    pub p99_ns: Option<u64>,
}

/// What a plugin computed for one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct TenantTimeView {
    /// Whose calls.
    pub tenant: String,
    /// Microseconds.
    pub time_us: u64,
}

/// A component that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct CandidateView {
    /// SHA-256 of it, in hex.
    pub sha256: String,
    /// What it calls its version, where it came to that.
    pub version: Option<String>,
}

/// One limit that somebody has, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct UsageView {
    /// Whose.
    pub tenant: String,
    /// Whose; absent where the tenant's subjects share it.
    pub subject: Option<String>,
    /// Of what: `requests`, `running-ms`.
    pub meter: String,
    /// Units per [`per_ms`](Self::per_ms), or at most at any time; absent where
    /// something is counted that has no limit.
    pub amount: Option<u64>,
    /// The period; absent where the limit is no rate.
    pub per_ms: Option<u64>,
    /// Units at once; absent where the limit is no rate.
    pub burst: Option<u64>,
    /// Units in use, or used and not there again yet.
    pub used: u64,
    /// Units left; absent where there is no limit.
    pub remaining: Option<u64>,
    /// In how long all of it is there again if none is used until then; absent
    /// where time does not give it back.
    pub resets_in_ms: Option<u64>,
}

/// A time as the API writes it: Unix milliseconds; 0 before 1970.
#[must_use]
pub fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
