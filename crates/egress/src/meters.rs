//! What is counted of each upstream.

use tidegate_types::meter::{Counter, Histogram};

/// Counters of one upstream, of all sandboxes together.
#[derive(Debug, Default)]
pub struct UpstreamMeters {
    /// Requests passed on.
    pub requests: Counter,
    /// Requests that the upstream did not answer: no connection, or none in time.
    pub failures: Counter,
    /// Answers with a status from 400 on.
    pub error_answers: Counter,
    /// Bytes of bodies from sandboxes.
    pub bytes_sent: Counter,
    /// Bytes of bodies to sandboxes.
    pub bytes_received: Counter,
    /// From passing a request on to the head of its answer.
    pub head_time: Histogram,
}
