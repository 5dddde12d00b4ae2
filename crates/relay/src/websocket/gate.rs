//! Who judges the messages of a WebSocket, where a placement asks for that.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tidegate_types::{DecisionId, Message, MessageVerdict, Way};

/// Judges every message of one WebSocket. Each direction is in order: the next
/// message of a direction is asked about when the last one was dealt with.
pub trait MessageGate: Send + Sync + fmt::Debug + 'static {
    /// What becomes of `message`.
    ///
    /// # Cancel safety
    /// Dropped when the WebSocket ends meanwhile; the message goes nowhere then.
    fn on_message(&self, way: Way, message: Message) -> Judging<'_>;
}

/// A judgement under way.
pub type Judging<'g> =
    Pin<Box<dyn Future<Output = Result<MessageVerdict, GateFailed>> + Send + 'g>>;

/// There is no judgement: the WebSocket is closed with 1011.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("decision {decision} failed")]
pub struct GateFailed {
    /// Under which the log says more; both sides are told, as the close's reason.
    pub decision: DecisionId,
}

/// How a WebSocket is relayed message by message.
#[derive(Debug, Clone)]
pub struct Messages {
    /// Who is asked about each.
    pub gate: Arc<dyn MessageGate>,
    /// The longest message in bytes, however many frames it comes in; whoever
    /// sends a longer one is closed with 1009. Bounds what one WebSocket can hold
    /// of the gateway's memory, to about four times this; it does not bound how
    /// many messages are sent.
    pub max_message: usize,
}
