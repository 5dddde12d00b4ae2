//! Streaming: every frame as it comes, counted, and never waiting for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tidegate_types::meter::Counter;
use tokio::time::{Instant, Sleep, sleep};

/// The body of every answer to a sandbox.
pub(crate) type GateBody = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// Nothing came for too long.
    #[error("nothing came for {} s", .0.as_secs())]
    Idle(Duration),
    /// Its connection failed.
    #[error(transparent)]
    Connection(#[from] hyper::Error),
}

/// A body that passes through: one side's frames, as they come.
pub(crate) struct Passing<C> {
    body: Incoming,
    count: C,
    patience: Duration,
    /// Runs only while a frame is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<C> Passing<C> {
    /// Gives up when nothing comes for `patience`.
    pub(crate) fn new(body: Incoming, patience: Duration, count: C) -> Self {
        Self { body, count, patience, timer: None }
    }
}

/// Where a body's bytes are counted.
pub(crate) trait Count: Unpin {
    fn counter(&self) -> &Counter;
}

impl<C: Count> Body for Passing<C> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                if let Some(data) = frame.data_ref() {
                    this.count.counter().add(data.len() as u64);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let patience = this.patience;
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
                match timer.as_mut().poll(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(()) => {
                        timer.as_mut().reset(Instant::now() + patience);
                        Poll::Ready(Some(Err(BodyError::Idle(patience))))
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
