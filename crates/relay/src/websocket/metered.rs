//! A connection whose incoming bytes are counted, and cut when a quota is used up.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tidegate_types::Way;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;
use crate::{Flow, Meters, Target};

/// See the module.
pub(super) struct Metered<'t, S> {
    /// Read before anything else: it came with the handshake.
    pub(super) ahead: Bytes,
    /// `None` when it was taken.
    pub(super) stream: Option<S>,
    pub(super) target: &'t dyn Target,
    pub(super) meters: &'t Meters,
    /// Which way its incoming bytes go.
    pub(super) way: Way,
    /// How many came so far, and where among them frames end.
    pub(super) came: u64,
    pub(super) frames: Frames,
    /// A quota is used up: nothing more comes.
    pub(super) cut: bool,
}

impl<S> Metered<'_, S> {
    /// Moves it out; what is left is a connection that has gone.
    pub(super) fn take(&mut self) -> Self {
        Self {
            ahead: std::mem::take(&mut self.ahead),
            stream: self.stream.take(),
            frames: self.frames.clone(),
            ..*self
        }
    }

    fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        let n = bytes.len() as u64;
        self.came += n;
        self.frames.walk(bytes);
        let flow = match self.way {
            Way::ToSandbox => {
                self.meters.bytes_in.add(n);
                self.target.client_bytes(n)
            }
            Way::ToClient => {
                self.meters.bytes_out.add(n);
                self.target.sandbox_bytes(n)
            }
        };
        if flow == Flow::Cut {
            self.cut = true;
            return Err(io::Error::other("a quota is used up"));
        }
        Ok(())
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<'_, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if !me.ahead.is_empty() {
            let bytes = me.ahead.split_to(me.ahead.len().min(buf.remaining()));
            me.count(&bytes)?;
            buf.put_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        let Some(stream) = &mut me.stream else { return Poll::Ready(Err(gone())) };
        let before = buf.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buf))?;
        let came = buf.filled().get(before..).unwrap_or_default();
        if !came.is_empty()
            && let Err(cut) = me.count(came)
        {
            buf.set_filled(before);
            return Poll::Ready(Err(cut));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<'_, S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Some(stream) => Pin::new(stream).poll_write(cx, buf),
            None => Poll::Ready(Err(gone())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Some(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            None => Poll::Ready(Err(gone())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Err(gone())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Err(gone())),
        }
    }
}
