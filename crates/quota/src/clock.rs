//! What time it is, for buckets and for the ledger.

use std::fmt;
use std::time::{Instant, SystemTime};

/// A clock that buckets are filled by.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Microseconds since some instant, the same for the life of the process.
    /// Should one reading be less than an earlier one, no more is allowed for it,
    /// and nothing is lost once it has caught up.
    fn micros(&self) -> u64;

    /// The time on the wall: only to know how long the gateway was away.
    fn wall(&self) -> SystemTime;
}

/// The system's: monotonic while the process lives, so that setting the machine's
/// clock refills no bucket.
#[derive(Debug)]
pub struct Monotonic(Instant);

impl Default for Monotonic {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Monotonic {
    fn micros(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
