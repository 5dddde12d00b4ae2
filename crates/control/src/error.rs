//! Why something was not done, and the RFC 9457 answer to each.

use tidegate_types::{Incarnation, SandboxKey};

/// Why the gateway did not do what an operator asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No such sandbox.
    #[error("there is no sandbox `{0}`")]
    Unknown(SandboxKey),
    /// The call meant an earlier life of it.
    #[error("sandbox `{key}` is at incarnation {current}, the call meant {meant}")]
    Stale {
        /// Which sandbox.
        key: SandboxKey,
        /// What the call named.
        meant: Incarnation,
        /// What exists.
        current: Incarnation,
    },
    /// Requests are in flight.
    #[error("sandbox `{key}` is busy: {why}")]
    Busy {
        /// Which sandbox.
        key: SandboxKey,
        /// With what: `2 requests in flight`.
        why: String,
    },
    /// It did not start.
    #[error("sandbox `{key}` did not start: {reason}")]
    Start {
        /// Which sandbox.
        key: SandboxKey,
        /// Why.
        reason: String,
    },
    /// The gateway is ending, or its machine refused something.
    #[error("{0}")]
    Gateway(String),
}
