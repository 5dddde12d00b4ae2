//! The client's side: accepts, decrypts, and serves HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::BytesMut;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client_io::ClientIo;
use crate::problem::undecided;
use crate::strict::{Gate, Limits, StrictIo};
use crate::{ClientBody, Meters, RelayBody};

/// Every HTTP/2 connection with prior knowledge begins with this (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How clients are served.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// How large heads may be.
    pub limits: Limits,
    /// How long a head, a TLS handshake, or the wait for the next request on a
    /// kept connection may take. Default 30 s.
    pub head_timeout: Duration,
    /// How long a client's body, or its reading of an answer, may stand still.
    /// Default 2 min.
    pub idle_timeout: Duration,
    /// How long requests may go on after the drain began. Default 30 s.
    pub drain_time: Duration,
    /// Connections served at once; more wait in the system's queue. Default 16384.
    pub connections: usize,
    /// Requests at once on one HTTP/2 connection. Default 100.
    pub streams: u32,
    /// What is counted.
    pub meters: Arc<Meters>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            drain_time: Duration::from_secs(30),
            connections: 16384,
            streams: 100,
            meters: Arc::default(),
        }
    }
}

/// Who is at the other end of a client's connection: perhaps a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Never fails: a failure is an answer too.
    ///
    /// # Cancel safety
    /// Is dropped when the client goes away before it is answered.
    fn handle(
        self: Arc<Self>,
        request: Request<ClientBody>,
        peer: Peer,
    ) -> impl Future<Output = Response<RelayBody>> + Send;
}

/// Serves clients of `listener` until `drain` is cancelled; then finishes what is
/// under way, for at most the drain time, and returns. Upgraded connections are
/// not waited for: they end with [`Relay::close`](crate::Relay::close).
///
/// # Cancel safety
/// Dropping it drops no connection that was accepted: cancel `drain` instead.
pub async fn serve<H: Handler>(
    config: ServerConfig,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    handler: Arc<H>,
    drain: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(config.connections));
    let tasks = TaskTracker::new();
    let drain_time = config.drain_time;
    // Ends what is left when the drain time is over.
    let end = CancellationToken::new();
    let server = Arc::new(Server { config, handler, drain: drain.clone(), streams: tasks.clone() });
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            biased;
            () = drain.cancelled() => break,
            accepted = accepted => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                accept_failed(&error).await;
                continue;
            }
        };
        server.config.meters.connections.add(1);
        let (server, acceptor, end) = (Arc::clone(&server), acceptor.clone(), end.clone());
        // Tracked: waited for below, and ended by `end`.
        tasks.spawn(async move {
            let _room = permit;
            tokio::select! {
                biased;
                () = end.cancelled() => {}
                () = server.connection(stream, address, acceptor) => {}
            }
        });
    }
    drop(listener);
    tasks.close();
    if timeout(drain_time, tasks.wait()).await.is_err() {
        end.cancel();
        tasks.wait().await;
    }
}

/// A client that was gone before it was accepted is nothing; running out of file
/// descriptors is, and trying again at once would only burn CPU.
async fn accept_failed(error: &io::Error) {
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    ) {
        return;
    }
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

struct Server<H> {
    config: ServerConfig,
    handler: Arc<H>,
    drain: CancellationToken,
    streams: TaskTracker,
}

/// Runs the streams of HTTP/2 connections. Each ends when its connection does,
/// because both its body and its answer then fail.
#[derive(Clone)]
struct Streams(TaskTracker);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

impl<H: Handler> Server<H> {
    async fn connection(
        self: &Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        acceptor: Option<TlsAcceptor>,
    ) {
        // Fails only on a connection that is gone.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
        let _ = rustix::net::sockopt::set_tcp_keepidle(&stream, Duration::from_secs(60));
        let peer = Peer { address, tls: acceptor.is_some() };
        let began = timeout(self.config.head_timeout, async {
            let mut io = match acceptor {
                Some(acceptor) => ClientIo::tls(acceptor.accept(stream).await?),
                None => ClientIo::plain(stream),
            };
            let h2 = match io.negotiated_h2() {
                Some(h2) => h2,
                None => begins_with_preface(&mut io).await?,
            };
            Ok::<_, io::Error>((io, h2))
        });
        let began = tokio::select! {
            began = began => began,
            // Nothing was asked yet, so nothing has to be finished.
            () = self.drain.cancelled() => return,
        };
        let served = match began {
            Err(_) => return,
            Ok(Err(error)) => {
                tracing::debug!(%error, client = %address, "a connection did not begin");
                return;
            }
            Ok(Ok((io, true))) => self.http2(io, peer).await,
            Ok(Ok((io, false))) => self.http1(io, peer).await,
        };
        if let Err(error) = served {
            // Clients go away all the time: nothing to warn of.
            tracing::debug!(%error, client = %address, "a connection ended early");
        }
    }

    async fn http1(&self, io: ClientIo, peer: Peer) -> hyper::Result<()> {
        let gate = Arc::new(Gate::default());
        let io = StrictIo::new(io, self.config.limits, self.config.idle_timeout, Arc::clone(&gate));
        let count = AtomicU64::new(0);
        let service = service_fn(|request: Request<Incoming>| {
            let nth = count.fetch_add(1, Relaxed) + 1;
            let gate = &gate;
            async move {
                let mut response = match gate.refused(nth) {
                    Some(violation) => {
                        self.config.meters.refused_heads.add(1);
                        let (status, code) = (violation.status(), violation.code());
                        undecided(status, code, violation.detail(), None)
                    }
                    None => self.answer(request, peer).await,
                };
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    gate.stays_http(nth);
                }
                if self.drain.is_cancelled() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                self.config.meters.count(response.status());
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(
            hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.config.head_timeout)
                .max_headers(self.config.limits.fields + 1)
                // INVARIANT: more than a head may have, so that hyper never
                // refuses one for its size and the limits stand in one place.
                .max_buf_size((self.config.limits.head_bytes * 2).max(64 << 10))
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades()
        );
        tokio::select! {
            served = connection.as_mut() => return served,
            () = self.drain.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    async fn http2(self: &Arc<Self>, io: ClientIo, peer: Peer) -> hyper::Result<()> {
        let server = Arc::clone(self);
        let service = service_fn(move |request: Request<Incoming>| {
            let server = Arc::clone(&server);
            async move {
                let response = server.answer(request, peer).await;
                server.config.meters.count(response.status());
                Ok::<_, Infallible>(response)
            }
        });
        let head_bytes = u32::try_from(self.config.limits.head_bytes).unwrap_or(u32::MAX);
        let mut connection = pin!(
            hyper::server::conn::http2::Builder::new(Streams(self.streams.clone()))
                .timer(TokioTimer::new())
                .max_header_list_size(head_bytes)
                .max_concurrent_streams(self.config.streams)
                // What one client can make the gateway keep of its bodies.
                .initial_connection_window_size(1 << 20)
                .initial_stream_window_size(256 << 10)
                .max_send_buf_size(256 << 10)
                // A client that is gone without a word is noticed by this.
                .keep_alive_interval(self.config.head_timeout)
                .keep_alive_timeout(Duration::from_secs(20))
                .serve_connection(TokioIo::new(io), service)
        );
        tokio::select! {
            served = connection.as_mut() => return served,
            () = self.drain.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<RelayBody> {
        // RFC 9110 §10.1.1. hyper says `100 Continue` once the body is asked for,
        // which is when the sandbox takes it; an expectation of anything else
        // cannot be met.
        let expects = request.headers().get(EXPECT);
        if expects.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            let status = StatusCode::EXPECTATION_FAILED;
            return undecided(status, "expectation", "only 100-continue can be expected", None);
        }
        Arc::clone(&self.handler).handle(request.map(ClientBody::from), peer).await
    }
}

/// Reads until it is clear whether this is HTTP/2 with prior knowledge. What was
/// read is put back.
async fn begins_with_preface(io: &mut ClientIo) -> io::Result<bool> {
    let mut read = BytesMut::with_capacity(4 << 10);
    let h2 = loop {
        if io.read_buf(&mut read).await? == 0 {
            break false;
        }
        let n = read.len().min(PREFACE.len());
        if read.get(..n) != PREFACE.get(..n) {
            break false;
        }
        if n == PREFACE.len() {
            break true;
        }
    };
    io.unread(read.freeze());
    Ok(h2)
}
