//! What can go wrong with a sandbox, told by what failed for the user.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_types::{Incarnation, Retry, SandboxKey, SecretName, Source, TemplateName};

use crate::driver::{DriverError, Exit};
use crate::ledger::LedgerError;

/// Why a request was not let into its sandbox. Shared by every request that
/// waited for the same start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WakeError {
    /// The start that this request waited for failed.
    #[error("sandbox `{key}` did not start")]
    Failed {
        /// Which sandbox.
        key: SandboxKey,
        /// How many attempts failed in a row, this one included.
        attempts: u32,
        /// When the next attempt may be made.
        retry_after: Duration,
        /// Where the application's output is kept; for operators.
        log: Option<PathBuf>,
        /// What happened.
        #[source]
        reason: Arc<StartFailure>,
    },
    /// An earlier start failed, and it is too soon to try again.
    #[error("sandbox `{key}` did not start earlier; it may be tried again in {} s", .retry_after.as_secs())]
    BackOff {
        /// Which sandbox.
        key: SandboxKey,
        /// How many attempts failed in a row.
        attempts: u32,
        /// When the next attempt may be made.
        retry_after: Duration,
        /// What happened then.
        #[source]
        reason: Arc<StartFailure>,
    },
    /// The gateway is ending.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

impl WakeError {
    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Source {
        match self {
            Self::Failed { reason, .. } | Self::BackOff { reason, .. } => reason.blame(),
            Self::ShuttingDown => Source::Gateway,
        }
    }

    /// Nothing reached the application: every request may be sent again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        Retry::Safe
    }

    /// When to try again, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed { retry_after, .. } | Self::BackOff { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::ShuttingDown => None,
        }
    }
}

/// Why a sandbox did not start, or could not be cleaned up.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// Its environment mentions a secret that is not configured.
    #[error("its environment mentions the secret `{0}`, which is not configured")]
    Secret(SecretName),
    /// Its template asks for a driver that is not there.
    #[error("its template asks for the driver `{0}`, which is not there")]
    NoDriver(String),
    /// Its template was removed from the configuration.
    #[error("its template `{0}` is not configured any more")]
    NoTemplate(TemplateName),
    /// The application ended before it was ready.
    #[error("its application ended before it was ready ({0})")]
    Exited(Exit),
    /// The application did not become ready in time.
    #[error("its application was not ready after {} s: {last}", .timeout.as_secs())]
    NotReady {
        /// How long it was given.
        timeout: Duration,
        /// What the last probe found.
        last: String,
    },
    /// The machine refused something.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// It could not be recorded.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl StartFailure {
    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Source {
        match self {
            Self::Exited(_) | Self::NotReady { .. } => Source::Sandbox,
            Self::Driver(error) => error.blame(),
            Self::Secret(_) | Self::NoDriver(_) | Self::NoTemplate(_) | Self::Ledger(_) => {
                Source::Gateway
            }
        }
    }

    /// Stable name for the API and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Secret(_) => "unknown-secret",
            Self::NoDriver(_) => "no-driver",
            Self::NoTemplate(_) => "no-template",
            Self::Exited(_) => "exited",
            Self::NotReady { .. } => "not-ready",
            Self::Driver(_) => "driver",
            Self::Ledger(_) => "ledger",
        }
    }
}

/// Why an operator's order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No such sandbox.
    #[error("sandbox `{0}` does not exist")]
    NotFound(SandboxKey),
    /// The order meant an earlier life of it.
    #[error("sandbox `{key}` is at incarnation {current}, the order meant {meant}")]
    Stale {
        /// Which sandbox.
        key: SandboxKey,
        /// What the order named.
        meant: Incarnation,
        /// What exists.
        current: Incarnation,
    },
    /// It cannot sleep: it is being used.
    #[error("sandbox `{key}` is in use by {in_flight} requests")]
    Busy {
        /// Which sandbox.
        key: SandboxKey,
        /// How many; 0 when it is starting.
        in_flight: u32,
    },
    /// It did not wake.
    #[error(transparent)]
    Wake(#[from] WakeError),
    /// It could not be ended or removed; the order may be given again.
    #[error("sandbox `{key}` could not be cleaned up")]
    Clean {
        /// Which sandbox.
        key: SandboxKey,
        /// What happened.
        #[source]
        reason: Arc<StartFailure>,
    },
    /// The machine refused something.
    #[error(transparent)]
    Driver(#[from] DriverError),
}

/// Why the registry could not be opened. Nothing was deleted or changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another gateway uses this state directory.
    #[error(
        "the state directory `{}` is used by another gateway; stop that one or choose another \
         directory", .0.display()
    )]
    InUse(PathBuf),
    /// The state directory cannot be used.
    #[error("the state directory `{}` cannot be used", .path.display())]
    Directory {
        /// Which file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// What was recorded cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A driver cannot say what exists.
    #[error("the driver `{driver}` cannot list what exists on this machine")]
    Driver {
        /// Which driver.
        driver: String,
        /// Its error.
        #[source]
        source: DriverError,
    },
}
