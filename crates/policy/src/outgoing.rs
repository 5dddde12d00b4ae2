//! How plugins call out: what the host asks of whoever makes HTTP calls.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

/// Makes HTTP calls. The policy host has judged them before.
pub trait Outgoing: Send + Sync + fmt::Debug {
    /// Sends `request`, whose URI is absolute, and reads the whole answer, in at most
    /// `within` and of at most `most` bytes. Follows no redirect.
    ///
    /// # Errors
    /// Why there is no whole answer.
    ///
    /// # Cancel safety
    /// Dropping it ends the call; the other side may have seen it.
    fn send(&self, request: Request<Bytes>, within: Duration, most: usize) -> Sending<'_>;
}

/// A call under way.
pub type Sending<'c> =
    Pin<Box<dyn Future<Output = Result<Response<Bytes>, SendError>> + Send + 'c>>;

/// Why a call was in vain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It took longer than it may.
    #[error("no whole answer in time")]
    TimedOut,
    /// The answer's body is longer than it may be.
    #[error("the answer is too large")]
    TooLarge,
    /// The other side could not be reached, or broke off.
    #[error("{0}")]
    Unreachable(String),
}
