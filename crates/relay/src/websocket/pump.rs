//! Moves bytes in both directions, in one task, without a buffer per connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Frames, close_frame};
use crate::stall::Stall;
use crate::{CloseReason, Flow, Meters, Target};

/// Read at once.
const SCRATCH: usize = 64 << 10;

/// How long a WebSocket may go on in one direction only. Other protocols may for
/// as long as they like.
const HALF_CLOSED: Duration = Duration::from_secs(30);

thread_local! {
    /// What is read is written on in the same poll; only what could not be
    /// written is kept. So an idle connection holds no buffer at all, and one
    /// buffer per thread stays in the processor's cache.
    static SPACE: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// One end, with what was read of it already.
#[derive(Debug)]
pub(crate) struct Side<S> {
    pub(crate) stream: S,
    pub(crate) ahead: Bytes,
}

/// A pair of connections.
pub(crate) struct Pump<'a, C, S> {
    client: C,
    sandbox: S,
    inward: Direction,
    outward: Direction,
    websocket: bool,
    half_closed: Stall,
    /// A quota is used up.
    cut: bool,
    target: &'a dyn Target,
    meters: &'a Meters,
}

/// How a pump stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both sides are done.
    Closed,
    /// A quota is used up; both sides are still there.
    Cut,
}

/// One direction.
struct Direction {
    /// Read, not written.
    left: Bytes,
    frames: Frames,
    state: State,
    unflushed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Only the frame that is under way is finished.
    Finishing,
    /// Nothing more is read; what is left is written.
    Ended,
    /// The end was passed on.
    Closed,
}

impl<'a, C, S> Pump<'a, C, S>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(
        client: Side<C>,
        sandbox: Side<S>,
        websocket: bool,
        target: &'a dyn Target,
        meters: &'a Meters,
    ) -> Self {
        let mut pump = Self {
            inward: Direction::new(client.ahead),
            outward: Direction::new(sandbox.ahead),
            client: client.stream,
            sandbox: sandbox.stream,
            websocket,
            half_closed: Stall::new(HALF_CLOSED),
            cut: false,
            target,
            meters,
        };
        // What came with the handshake was read by others: it is counted here.
        let ahead = pump.inward.left.clone();
        if !ahead.is_empty()
            && came_in(&ahead, &mut pump.inward.frames, websocket, target, meters) == Flow::Cut
        {
            pump.inward.left.clear();
            pump.cut = true;
        }
        let ahead = pump.outward.left.len() as u64;
        if ahead > 0 && target.sandbox_bytes(ahead) == Flow::Cut {
            pump.outward.left.clear();
            pump.cut = true;
        }
        pump
    }

    /// Relays until both directions ended, or a quota is used up.
    ///
    /// # Errors
    /// One side broke off.
    ///
    /// # Cancel safety
    /// Can be dropped and called again: no byte is lost.
    pub(crate) async fn relay(&mut self) -> io::Result<Ended> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Closes as a WebSocket is closed: after the frame that is under way, with a
    /// close frame to both sides, and the client's own close frame awaited.
    pub(crate) async fn close(&mut self, reason: CloseReason) -> io::Result<()> {
        // A frame may be as long as it likes: none is finished on a quota that is
        // used up.
        if self.cut {
            self.outward.left.clear();
        } else {
            self.outward.state = match self.outward.state {
                State::Open => State::Finishing,
                other => other,
            };
            poll_fn(|cx| self.poll_outward(cx)).await?;
        }
        if self.inward.left.is_empty() && self.inward.frames.at_boundary() {
            // The application hears it too; if it does not listen, it hears the
            // end of the connection.
            let frame = close_frame(1001, reason.text(), true);
            let _ = write_all(&mut self.sandbox, &frame).await;
        }
        let _ = poll_fn(|cx| Pin::new(&mut self.sandbox).poll_shutdown(cx)).await;
        if self.outward.frames.at_boundary() {
            let frame = close_frame(reason.code(), reason.text(), false);
            write_all(&mut self.client, &frame).await?;
        }
        poll_fn(|cx| Pin::new(&mut self.client).poll_shutdown(cx)).await?;
        // Closing with unread bytes would reset the connection, and the close
        // frame could be lost with it. The client's own close frame is its last.
        let frames = &mut self.inward.frames;
        poll_fn(|cx| {
            with_space(|space| -> Poll<io::Result<()>> {
                while !frames.ended() {
                    let mut buf = ReadBuf::new(space);
                    ready!(Pin::new(&mut self.client).poll_read(cx, &mut buf))?;
                    if buf.filled().is_empty() {
                        break;
                    }
                    frames.walk(buf.filled());
                }
                Poll::Ready(Ok(()))
            })
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Ended>> {
        let inward = self.poll_inward(cx)?.is_ready();
        let outward = self.poll_outward(cx)?.is_ready();
        if self.cut {
            return Poll::Ready(Ok(Ended::Cut));
        }
        match (inward, outward) {
            (true, true) => Poll::Ready(Ok(Ended::Closed)),
            (false, false) => Poll::Pending,
            _ if self.websocket => self.half_closed.poll_expired(cx).map(|()| Ok(Ended::Closed)),
            _ => Poll::Pending,
        }
    }

    fn poll_inward(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (websocket, target, meters) = (self.websocket, self.target, self.meters);
        let (from, to, cut) = (&mut self.client, &mut self.sandbox, &mut self.cut);
        self.inward.poll(cx, from, to, |frames, bytes, event| {
            let flow = match event {
                Event::Read => came_in(bytes, frames, websocket, target, meters),
                Event::Written => Flow::Go,
            };
            *cut |= flow == Flow::Cut;
            flow
        })
    }

    fn poll_outward(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (websocket, target, meters) = (self.websocket, self.target, self.meters);
        let (from, to, cut) = (&mut self.sandbox, &mut self.client, &mut self.cut);
        self.outward.poll(cx, from, to, |frames, bytes, event| {
            let n = bytes.len() as u64;
            if event == Event::Read {
                let flow = target.sandbox_bytes(n);
                *cut |= flow == Flow::Cut;
                return flow;
            }
            meters.bytes_out.add(n);
            if websocket {
                frames.walk(bytes);
            }
            Flow::Go
        })
    }
}

fn came_in(
    bytes: &[u8],
    frames: &mut Frames,
    websocket: bool,
    target: &dyn Target,
    meters: &Meters,
) -> Flow {
    let n = bytes.len() as u64;
    meters.bytes_in.add(n);
    if target.client_bytes(n) == Flow::Cut {
        return Flow::Cut;
    }
    let active = if websocket { frames.walk(bytes) } else { n };
    if active > 0 {
        target.active_bytes(active);
    }
    Flow::Go
}

/// What a read brought.
enum More {
    Yes,
    No,
    Cut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Read,
    Written,
}

impl Direction {
    fn new(ahead: Bytes) -> Self {
        Self { left: ahead, frames: Frames::default(), state: State::Open, unflushed: false }
    }

    /// Moves what can be moved. Ready when this direction has ended, or when
    /// `observe` says to cut it: what was read last is gone then.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        mut observe: impl FnMut(&mut Frames, &[u8], Event) -> Flow,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if self.state == State::Finishing {
                let keep = self.frames.until_boundary(&self.left);
                self.left.truncate(keep);
                if self.frames.at_boundary() {
                    return self.poll_flush(cx, to);
                }
            }
            while !self.left.is_empty() {
                let n = ready!(Pin::new(&mut *to).poll_write(cx, &self.left))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.unflushed = true;
                let written = self.left.get(..n).unwrap_or_default();
                let _ = observe(&mut self.frames, written, Event::Written);
                self.left.advance(n);
            }
            match self.state {
                State::Closed => return Poll::Ready(Ok(())),
                State::Ended => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Closed;
                    return Poll::Ready(Ok(()));
                }
                State::Finishing if self.frames.at_boundary() => continue,
                State::Finishing | State::Open => {}
            }
            let finishing = self.state == State::Finishing;
            let more = with_space(|space| -> Poll<io::Result<More>> {
                let mut buf = ReadBuf::new(space);
                if Pin::new(&mut *from).poll_read(cx, &mut buf)?.is_pending() {
                    return Poll::Pending;
                }
                let read = buf.filled();
                if read.is_empty() {
                    return Poll::Ready(Ok(More::No));
                }
                if observe(&mut self.frames, read, Event::Read) == Flow::Cut {
                    return Poll::Ready(Ok(More::Cut));
                }
                // Straight on, if the other side takes it. What it does not take
                // is the one case in which bytes are kept.
                let mut rest = read;
                while !finishing && !rest.is_empty() {
                    match Pin::new(&mut *to).poll_write(cx, rest)? {
                        Poll::Ready(0) => {
                            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                        }
                        Poll::Ready(n) => {
                            self.unflushed = true;
                            let (written, after) = rest.split_at(n);
                            let _ = observe(&mut self.frames, written, Event::Written);
                            rest = after;
                        }
                        Poll::Pending => break,
                    }
                }
                self.left = Bytes::copy_from_slice(rest);
                Poll::Ready(Ok(More::Yes))
            });
            match more? {
                Poll::Pending => {
                    ready!(self.poll_flush(cx, to))?;
                    return Poll::Pending;
                }
                Poll::Ready(More::Yes) => {}
                Poll::Ready(More::Cut) => return self.poll_flush(cx, to),
                // While finishing: the frame under way never ends, nothing to
                // wait for.
                Poll::Ready(More::No) => self.state = State::Ended,
            }
        }
    }

    fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

fn with_space<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    SPACE.with(|space| match space.try_borrow_mut() {
        Ok(mut space) => f(&mut space),
        // A stream that relays while it is polled; none of ours does.
        Err(_) => f(&mut [0; 4 << 10]),
    })
}

async fn write_all<W: AsyncWrite + Unpin>(to: &mut W, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| Pin::new(&mut *to).poll_write(cx, bytes)).await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(n..).unwrap_or_default();
    }
    poll_fn(|cx| Pin::new(&mut *to).poll_flush(cx)).await
}
