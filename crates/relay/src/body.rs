//! The two bodies: what a client sends, and what it gets.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::forward::Answer;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The sender went away, or sent what is not HTTP.
    #[error("the body ended early")]
    Http(#[source] hyper::Error),
    /// The sandbox sent nothing for this long.
    #[error("no byte of the body came for {0:?}")]
    Idle(Duration),
    /// A quota was used up in the middle of it.
    #[error("a quota is used up")]
    QuotaUsedUp,
}

impl BodyError {
    /// Whether the sender broke the framing, rather than going away.
    pub(crate) fn is_malformed(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                return io.kind() == io::ErrorKind::InvalidData;
            }
            cause = error.source();
        }
        false
    }
}

/// The body of a client's request, streamed as it arrives: the client is only
/// read from as fast as this is polled.
#[derive(Debug, Default)]
pub struct ClientBody(Option<Incoming>);

impl ClientBody {
    /// A body without content.
    #[must_use]
    pub fn empty() -> Self {
        Self(None)
    }
}

impl From<Incoming> for ClientBody {
    fn from(body: Incoming) -> Self {
        Self((!body.is_end_stream()).then_some(body))
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            None => Poll::Ready(None),
            Some(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|f| f.map_err(BodyError::Http)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// The body of an answer: the gateway's own words, or a sandbox's, streamed.
///
/// Dropping a sandbox's body that is not at its end closes the connection to the
/// sandbox, which is how the application learns that its client went away.
#[derive(Debug, Default)]
pub struct RelayBody(Kind);

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Empty,
    Whole(Bytes),
    Sandbox(Box<Answer>),
}

impl RelayBody {
    /// A body without content.
    #[must_use]
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    pub(crate) fn from_sandbox(answer: Answer) -> Self {
        Self(Kind::Sandbox(Box::new(answer)))
    }
}

impl<T: Into<Bytes>> From<T> for RelayBody {
    fn from(content: T) -> Self {
        let content = content.into();
        Self(if content.is_empty() { Kind::Empty } else { Kind::Whole(content) })
    }
}

impl Body for RelayBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Whole(content) => {
                let content = std::mem::take(content);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(content))))
            }
            Kind::Sandbox(answer) => answer.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Whole(_) => false,
            Kind::Sandbox(answer) => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Whole(content) => SizeHint::with_exact(content.len() as u64),
            Kind::Sandbox(answer) => answer.size_hint(),
        }
    }
}
