//! What the relay asks of a sandbox: connections, and news of its end.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tidegate_types::SandboxKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A sandbox that one request was admitted to. Made per request; the relay drops
/// its last reference when the answer's last byte was handed on, when the request
/// failed, or when the WebSocket that it became has ended.
#[async_trait]
pub trait Target: Send + Sync + fmt::Debug + 'static {
    /// Which sandbox. Connections are only ever reused within one.
    fn sandbox(&self) -> &SandboxKey;

    /// Which start of it: another number after each start, so that no connection
    /// of an earlier life is used again.
    fn start(&self) -> u64;

    /// Connects to `port` inside; the application shall see `from` as its peer.
    ///
    /// # Errors
    /// The system's; `ConnectionRefused` where nothing listens.
    ///
    /// # Cancel safety
    /// Dropping it abandons the connection.
    async fn dial(&self, port: u16, from: IpAddr) -> io::Result<Upstream>;

    /// The client sent `n` bytes, of a body or of an upgraded connection; asked
    /// before they are passed on. Cheap; called per read, not per byte.
    fn client_bytes(&self, n: u64) -> Flow;

    /// The sandbox sent `n` bytes, of a body or of an upgraded connection; asked
    /// before they are passed on. Cheap; called per read, not per byte.
    fn sandbox_bytes(&self, n: u64) -> Flow;

    /// `n` of the bytes from the client count as activity: those of a body, or of
    /// WebSocket data and close frames, never of pings and pongs. Cheap; called
    /// per read, not per byte.
    fn active_bytes(&self, n: u64);

    /// The request became a WebSocket (or another upgrade) and no longer counts
    /// as in flight. Called at most once.
    fn upgraded(&self);

    /// Resolves when the sandbox goes to rest or ends. Only asked after
    /// [`upgraded`](Self::upgraded).
    ///
    /// # Cancel safety
    /// Can be dropped and asked again.
    async fn closing(&self) -> CloseReason;
}

/// Whether bytes may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// They may.
    Go,
    /// A quota is used up: these bytes are not passed on, and nothing after them.
    /// A request that has no answer yet is answered with
    /// [`RelayError::QuotaUsedUp`](crate::RelayError::QuotaUsedUp); an answer that
    /// has begun breaks off, so that its client cannot take it for whole; a
    /// WebSocket is closed with 1008 if it stands between two frames, and broken
    /// off if it doesn't.
    Cut,
}

/// Why the gateway closes a WebSocket by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The sandbox is put to rest or stopped; a reconnect wakes it.
    SandboxStops,
    /// The gateway is going away; a reconnect reaches the next one.
    GatewayStops,
    /// The credential that opened it is no longer valid.
    CredentialExpired,
    /// A quota is used up.
    QuotaUsedUp,
}

impl CloseReason {
    /// The WebSocket close code (RFC 6455 §7.4; 1012 is "service restart" in
    /// IANA's registry, 4000-4999 are for applications).
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::SandboxStops | Self::GatewayStops => 1012,
            Self::CredentialExpired => 4401,
            Self::QuotaUsedUp => 1008,
        }
    }

    /// What stands beside the code; ASCII, at most 123 bytes.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::SandboxStops => "the sandbox went to rest",
            Self::GatewayStops => "the gateway restarts",
            Self::CredentialExpired => "the credential expired",
            Self::QuotaUsedUp => "quota",
        }
    }
}

/// A connection to an application.
#[derive(Debug)]
pub enum Upstream {
    /// TCP, wherever the socket was made.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl From<TcpStream> for Upstream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Upstream {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Tcp($stream) => $call,
            Self::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Upstream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Upstream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
