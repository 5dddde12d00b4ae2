//! The connection as hyper sees it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{Framing, Refused};
use super::{Gate, Limits};
use crate::stall::Stall;

/// What hyper reads in place of a refused head. Never relayed: the service
/// answers it by its number.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// Read at once while a head is incomplete.
const READ: usize = 4 << 10;

/// What a client may send ahead of the answer to its upgrade.
const AHEAD: usize = 64 << 10;

/// What is read and thrown away of a client that is still sending when the
/// connection closes, so that it gets to read the answer before a reset.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// An HTTP/1 connection of which only what has one interpretation can be read.
#[derive(Debug)]
pub(crate) struct StrictIo<S> {
    stream: S,
    framing: Framing,
    gate: Arc<Gate>,
    /// Read, but not handed on.
    held: BytesMut,
    /// So much of `held` may be handed on.
    ready: usize,
    /// So much of `held` after `ready` has been judged.
    judged: usize,
    /// A head was refused: nothing more is read.
    refused: bool,
    read_stall: Stall,
    write_stall: Stall,
    linger: Option<(Stall, usize)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> StrictIo<S> {
    /// `idle` bounds the time that a body, or the reading of an answer, may stand
    /// still; the time that a head may take is hyper's affair.
    pub(crate) fn new(stream: S, limits: Limits, idle: Duration, gate: Arc<Gate>) -> Self {
        Self {
            stream,
            framing: Framing::new(limits),
            gate,
            held: BytesMut::new(),
            ready: 0,
            judged: 0,
            refused: false,
            read_stall: Stall::new(idle),
            write_stall: Stall::new(idle),
            linger: None,
        }
    }

    /// The connection itself, and what was read of it after the upgrade request.
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.held.freeze())
    }

    /// Judges what is held beyond what was judged.
    fn judge_held(&mut self) -> io::Result<()> {
        let unready = self.held.get(self.ready..).unwrap_or_default();
        match self.framing.judge(unready, self.judged) {
            Ok(judged) => {
                self.ready += judged.pass;
                self.judged = judged.pending;
                Ok(())
            }
            Err(refused) => {
                self.held.truncate(self.ready + refused.pass);
                self.stand_in(refused)
            }
        }
    }

    /// Puts the stand-in after what is held, which is all that may be handed on.
    fn stand_in(&mut self, refused: Refused) -> io::Result<()> {
        self.refused = true;
        self.judged = 0;
        if refused.head_is_out {
            // Too late for that: the body ends in an error instead.
            self.ready = self.held.len();
            let detail = refused.violation.detail();
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
        self.gate.refuse(refused.nth, refused.violation);
        self.held.extend_from_slice(STAND_IN);
        self.ready = self.held.len();
        Ok(())
    }

    /// Reads more into `held`; false at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; READ];
        let mut buf = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        self.held.extend_from_slice(buf.filled());
        Poll::Ready(Ok(!buf.filled().is_empty()))
    }

    /// Reads into `out` directly and holds back what may not be handed on.
    fn poll_direct(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        if Pin::new(&mut self.stream).poll_read(cx, out)?.is_pending() {
            if self.framing.is_within_body() && self.read_stall.poll_expired(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            return Poll::Pending;
        }
        self.read_stall.progress();
        let new = out.filled().get(before..).unwrap_or_default();
        let pass = match self.framing.judge(new, 0) {
            Ok(judged) => {
                self.held.extend_from_slice(new.get(judged.pass..).unwrap_or_default());
                self.judged = judged.pending;
                judged.pass
            }
            Err(refused) => {
                let pass = refused.pass;
                out.set_filled(before + pass);
                self.stand_in(refused)?;
                return Poll::Ready(Ok(()));
            }
        };
        out.set_filled(before + pass);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for StrictIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.ready > 0 {
                let n = this.ready.min(out.remaining());
                out.put_slice(this.held.get(..n).unwrap_or_default());
                this.held.advance(n);
                this.ready -= n;
                return Poll::Ready(Ok(()));
            }
            if this.refused {
                // hyper closes after the answer to the stand-in.
                return Poll::Pending;
            }
            if this.framing.is_undecided() {
                if this.gate.stayed_http(this.framing.heads()) {
                    this.framing.no_upgrade();
                    this.judge_held()?;
                    continue;
                }
                // Read on only to notice that the client is gone. The service,
                // which runs in this task, decides; its progress polls this again.
                if this.held.len() >= AHEAD {
                    return Poll::Pending;
                }
                if !ready!(this.poll_fill(cx))? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if this.held.is_empty() {
                let before = out.filled().len();
                let had = this.framing.is_undecided();
                ready!(this.poll_direct(cx, out))?;
                debug_assert!(!had);
                let end_of_stream =
                    out.filled().len() == before && this.held.is_empty() && this.ready == 0;
                if out.filled().len() > before || end_of_stream {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if !ready!(this.poll_fill(cx))? {
                return Poll::Ready(Ok(()));
            }
            this.judge_held()?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> StrictIo<S> {
    /// Fails once a write has been pending for too long.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_stall.progress();
        } else if self.write_stall.poll_expired(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, flushed)
    }

    /// Sends the end of the stream and, if the client is still sending, reads on
    /// for a little: closing at once would reset the connection, and the answer
    /// could be lost with it.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.refused && !this.framing.is_within_message() {
                return Poll::Ready(Ok(()));
            }
            this.linger = Some((Stall::new(LINGER_TIME), 0));
        }
        let Some((stall, thrown_away)) = &mut this.linger else { return Poll::Ready(Ok(())) };
        let mut space = [0; READ];
        while *thrown_away < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => break,
                Poll::Ready(Ok(())) => *thrown_away += buf.filled().len(),
                Poll::Ready(Err(_)) => break,
                // The limit is for all of it: no call of `progress`.
                Poll::Pending => {
                    ready!(stall.poll_expired(cx));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
