//! What an operator can see of a plugin: a snapshot, never the plugin itself.

use std::time::Duration;

use tidegate_types::PluginName;
use tidegate_types::meter::BOUNDS_MICROS;

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
    /// The generation that serves; grows with each successful reload.
    pub generation: u64,
    /// What calls may share an instance.
    pub isolation: Isolation,
    /// How long one call may take.
    pub deadline: Duration,
    /// Bytes of memory per instance.
    pub memory: u64,
    /// The hooks it serves, with what happened in each since this generation began.
    pub hooks: Vec<HookStatus>,
    /// What became of its calls to HTTP services; only outcomes that occurred.
    pub http: Vec<(HttpOutcome, u64)>,
    /// How long those took that were made, as in [`HookStatus::durations`].
    pub http_durations: ([u64; BOUNDS_MICROS.len() + 1], u64),
    /// The file of lines that it was granted, where it was.
    pub journal: Option<JournalStatus>,
    /// Why the latest attempt to replace it failed; what serves is the last good one.
    pub last_problem: Option<PluginProblem>,
}

/// What happened in one hook of one plugin.
#[derive(Debug, Clone)]
pub struct HookStatus {
    /// Which.
    pub hook: Hook,
    /// Calls, whatever came of them.
    pub calls: u64,
    /// Calls without a decision, by reason; only reasons that occurred.
    pub failures: Vec<(FailureReason, u64)>,
    /// Durations per bucket of [`BOUNDS_MICROS`], the last being the overflow,
    /// and their sum in microseconds.
    pub durations: ([u64; BOUNDS_MICROS.len() + 1], u64),
}
