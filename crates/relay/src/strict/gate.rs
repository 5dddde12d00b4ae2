//! What the bytes' side and the answers' side of one connection tell each other.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::violation::Violation;

/// Shared by [`StrictIo`](super::StrictIo) and the service of its connection.
/// Both run in the connection's task, one after the other: the ordering is
/// relaxed and the lock is never waited for. Requests are numbered from 1.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The latest request whose answer was no upgrade.
    stays_http: AtomicU64,
    refused: Mutex<Option<(u64, Violation)>>,
}

impl Gate {
    /// The answer to request number `nth` is no upgrade.
    pub(crate) fn stays_http(&self, nth: u64) {
        self.stays_http.store(nth, Relaxed);
    }

    /// Whether request number `nth` was answered, with no upgrade.
    pub(super) fn stayed_http(&self, nth: u64) -> bool {
        self.stays_http.load(Relaxed) >= nth
    }

    /// Request number `nth` is not the client's but stands for one that was
    /// refused.
    pub(super) fn refuse(&self, nth: u64, violation: Violation) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((nth, violation));
    }

    /// Why request number `nth` was refused, if it was.
    pub(crate) fn refused(&self, nth: u64) -> Option<Violation> {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.and_then(|(n, violation)| (n == nth).then_some(violation))
    }
}
