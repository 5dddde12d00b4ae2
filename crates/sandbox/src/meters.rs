//! What the registry counts.

use tidegate_types::meter::{Counter, Histogram};

/// Counters and histograms of all sandboxes together. How many sandboxes are in
/// which phase is asked of [`Registry::phases`](crate::Registry::phases).
#[derive(Debug, Default)]
pub struct Meters {
    /// Starts that were begun; adoptions are not starts.
    pub starts: Counter,
    /// Starts that failed.
    pub start_failures: Counter,
    /// From the wake to readiness, waiting for a slot included.
    pub start_time: Histogram,
    /// Waiting for a slot to start in.
    pub slot_wait: Histogram,
    /// Requests that found their sandbox not running and waited.
    pub requests_held: Counter,
    /// Requests that were refused because of the back-off.
    pub back_offs: Counter,
    /// Sandboxes found running when the gateway started.
    pub adoptions: Counter,
    /// Times an idle sandbox was put to sleep.
    pub sleeps: Counter,
    /// Times a request or client byte called a sleep off.
    pub sleeps_called_off: Counter,
    /// Stops that someone asked for.
    pub stops: Counter,
    /// Sandboxes destroyed.
    pub destroys: Counter,
    /// Applications that ended by themselves while running.
    pub deaths: Counter,
}
