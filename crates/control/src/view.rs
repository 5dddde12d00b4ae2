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
    /// `builtin:token` or a path.
    pub source: String,
    /// SHA-256 of its component, in hex.
    pub sha256: String,
    /// Which consistent set of plugins it belongs to; grows with each reload.
    pub generation: u64,
    /// The questions it answers: `authenticate`, `resolve`.
    pub hooks: Vec<String>,
    /// `call`, `tenant` or `shared`.
    pub isolation: String,
    /// How long one call may take.
    pub deadline_ms: u64,
    /// Calls so far.
    pub calls: u64,
    /// Failed calls by reason: `trap`, `deadline`.
    pub failures: BTreeMap<String, u64>,
    /// Why the last reload of it was not taken over, when it was not.
    pub problem: Option<String>,
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
