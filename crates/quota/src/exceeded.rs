//! A limit that is reached.

use std::time::Duration;

use tidegate_types::{LimitKind, Meter, Scope};

/// Why something may not be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit of {meter} is reached for the {}", .scope.as_str())]
pub struct Exceeded {
    /// Of what.
    pub meter: Meter,
    /// Who shares the limit.
    pub scope: Scope,
    /// The limit itself.
    pub limit: LimitKind,
    /// When the same would be allowed if nothing else is used until then. `None`
    /// when no time helps: something has to be given back, or it is more than was
    /// ever allowed at once.
    pub retry_after: Option<Duration>,
}
