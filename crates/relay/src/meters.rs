//! What the relay counts.

use http::StatusCode;
use tidegate_types::meter::{Counter, Histogram};

/// The relay's meters; one set per process. Bytes are of bodies and upgraded
/// connections, not of heads.
#[derive(Debug, Default)]
pub struct Meters {
    /// Answers by class: 1xx (upgrades), 2xx, 3xx, 4xx, 5xx.
    pub answers: [Counter; 5],
    /// Heads that were refused before anyone saw them.
    pub refused_heads: Counter,
    /// Client connections accepted.
    pub connections: Counter,
    /// Bytes from clients to sandboxes.
    pub bytes_in: Counter,
    /// Bytes from sandboxes to clients.
    pub bytes_out: Counter,
    /// Messages passed on to sandboxes, of WebSockets relayed message by message.
    pub messages_in: Counter,
    /// Messages passed on to clients, of WebSockets relayed message by message.
    pub messages_out: Counter,
    /// Connections made to sandboxes.
    pub connects: Counter,
    /// Requests sent over a connection that was there already.
    pub reuses: Counter,
    /// Requests sent again because a reused connection turned out closed.
    pub retries: Counter,
    /// Upgraded connections begun.
    pub upgrades_begun: Counter,
    /// Upgraded connections ended; begun minus ended are open.
    pub upgrades_ended: Counter,
    /// From the call of `forward` to the head of the sandbox's answer.
    pub first_byte: Histogram,
}

impl Meters {
    /// Upgraded connections that are open.
    #[must_use]
    pub fn upgrades_open(&self) -> u64 {
        // The end is read first: reading it second could make the difference negative.
        let ended = self.upgrades_ended.get();
        self.upgrades_begun.get().saturating_sub(ended)
    }

    pub(crate) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        if let Some(counter) = self.answers.get(class) {
            counter.add(1);
        }
    }
}
