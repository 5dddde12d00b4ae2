//! A connection whose incoming bytes are counted, and cut when a quota is used up.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tidegate_types::Way;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Flow, Meters, Target};

/// See the module.
pub(super) struct Metered<'t, S> {
    /// Read before anything else: it came with the handshake.
    pub(super) ahead: Bytes,
    pub(super) stream: S,
    pub(super) target: &'t dyn Target,
    pub(super) meters: &'t Meters,
    /// Which way its incoming bytes go.
    pub(super) way: Way,
    /// How many came so far.
    pub(super) came: u64,
    /// A quota is used up: nothing more comes.
    pub(super) cut: bool,
}

impl<S> Metered<'_, S> {
    fn count(&mut self, n: usize) -> io::Result<()> {
        let n = n as u64;
        self.came += n;
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

impl<S: AsyncRead + Unpin> AsyncRead for Metered<'_, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if !me.ahead.is_empty() {
            let n = me.ahead.len().min(buf.remaining());
            me.count(n)?;
            buf.put_slice(me.ahead.get(..n).unwrap_or_default());
            me.ahead.advance(n);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut me.stream).poll_read(cx, buf))?;
        let n = buf.filled().len() - before;
        if n > 0 && me.count(n).is_err() {
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::other("a quota is used up")));
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
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
