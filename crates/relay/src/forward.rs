//! Relays one request to its sandbox.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tidegate_types::{ClientAddress, SandboxKey};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer_headers::{outward, outward_trailers};
use crate::facts::upgrade_protocol;
use crate::pool::{Connection, Key, Pool, Sender};
use crate::request_headers::{inward, inward_trailers, without_credentials};
use crate::seen_inside::seen_inside;
use crate::stall::Stall;
use crate::upgrade::Upgraded;
use crate::{BodyError, ClientBody, Flow, Meters, RelayBody, RelayError, Route, Target, Upstream};

/// What an application sees as its peer where it gets the client's address in
/// header fields: neither loopback nor an address of the Internet (RFC 6598), so
/// that it can be named as a trusted proxy and is nobody else.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));

/// How sandboxes are reached.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// How long a connection may take. Default 10 s.
    pub connect_timeout: Duration,
    /// How long an application may take to begin its answer, counted anew with
    /// each byte of the request's body. Default 5 min.
    pub answer_timeout: Duration,
    /// How long an answer may stand still. Default 15 min: event streams are quiet
    /// for long, and a client that is gone is noticed at once anyway.
    pub idle_timeout: Duration,
    /// How long one side of a WebSocket whose messages are judged may be silent
    /// before it is pinged, and after the ping before it counts as gone. Default
    /// 30 s.
    pub silence: Duration,
    /// How long a connection is kept for the next request. Default 60 s.
    pub keep: Duration,
    /// How many connections are kept for one sandbox, port and source address.
    /// Default 64. Does not limit how many are in use.
    pub kept: usize,
    /// What is counted.
    pub meters: Arc<Meters>,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(900),
            silence: Duration::from_secs(30),
            keep: Duration::from_secs(60),
            kept: 64,
            meters: Arc::default(),
        }
    }
}

/// Relays requests to sandboxes. One per process; made within a tokio runtime.
pub struct Relay {
    config: RelayConfig,
    pool: Arc<Pool>,
    /// Upgraded connections.
    upgraded: TaskTracker,
    stopping: CancellationToken,
    /// Prunes the pool; ends with this.
    _pruner: AbortOnDrop,
}

impl Relay {
    /// Starts with no connections. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(config: RelayConfig) -> Self {
        let pool = Arc::new(Pool::new(config.kept));
        let (pruned, keep) = (Arc::clone(&pool), config.keep);
        let pruner = tokio::spawn(async move {
            let mut ticks = tokio::time::interval((keep / 2).max(Duration::from_millis(10)));
            loop {
                ticks.tick().await;
                pruned.prune(keep);
            }
        });
        Self {
            config,
            pool,
            upgraded: TaskTracker::new(),
            stopping: CancellationToken::new(),
            _pruner: AbortOnDrop(pruner),
        }
    }

    /// What was counted.
    #[must_use]
    pub fn meters(&self) -> &Arc<Meters> {
        &self.config.meters
    }

    /// Closes the idle connections to a sandbox that ended.
    pub fn forget(&self, sandbox: &SandboxKey) {
        self.pool.forget(sandbox);
    }

    /// Closes every WebSocket with 1012 and waits until they are closed, which
    /// takes a few seconds at most.
    ///
    /// # Cancel safety
    /// Once it was polled they close, also when it is dropped.
    pub async fn close(&self) {
        self.stopping.cancel();
        self.upgraded.close();
        self.upgraded.wait().await;
    }

    /// Relays `request` to the sandbox of `target` and returns its answer, whose
    /// body streams as it is polled. An upgraded connection goes on by itself.
    ///
    /// A kept connection that turns out closed is replaced once, if the request
    /// was not sent or can be sent twice.
    ///
    /// # Errors
    /// Whatever kept the sandbox from answering, with whose fault it is.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection to the sandbox: the request may have
    /// happened.
    pub async fn forward(
        &self,
        mut request: Request<ClientBody>,
        route: Route,
        target: Arc<dyn Target>,
    ) -> Result<Response<RelayBody>, RelayError> {
        let began = Instant::now();
        let route = Arc::new(route);
        let client = hyper::upgrade::on(&mut request);
        let (mut parts, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let upgrade = if has_body { None } else { protocol(&parts) };
        // Another protocol could carry anything past whoever judges messages.
        let upgrade = upgrade.filter(|to| route.messages.is_none() || is_websocket(to));
        let sent = Arc::new(Sent::default());
        let body = if has_body {
            ToSandbox(Some(Box::new(Streaming {
                body,
                target: Arc::clone(&target),
                meters: Arc::clone(&self.config.meters),
                route: Arc::clone(&route),
                sent: Arc::clone(&sent),
            })))
        } else {
            sent.done.store(true, Relaxed);
            ToSandbox(None)
        };
        parts.uri = inward_target(&route)?;
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        inward(&mut parts.headers, &route, upgrade.as_ref());
        let again = (!has_body && parts.method.is_idempotent())
            .then(|| Again { method: parts.method.clone(), uri: parts.uri.clone() });
        let mut request = Request::from_parts(parts, body);

        let key = self.key(&route, &*target);
        let mut lease = self.lease(key.clone(), upgrade.is_some(), &*target).await?;
        let mut response = loop {
            let mut stall = Stall::new(self.config.answer_timeout);
            let failure = match lease.send(request, &sent, &mut stall).await {
                Ok(response) => break response,
                Err(failure) => failure,
            };
            let error = match failure {
                Failure::Timeout => return Err(RelayError::AnswerTimeout(stall.limit())),
                Failure::Http { error, unsent } => {
                    let error = RelayError::from_hyper(error);
                    let closed = matches!(error, RelayError::Closed(_)) && lease.reused;
                    match (closed, unsent, &again) {
                        (true, Some(unsent), _) => request = *unsent,
                        (true, None, Some(again)) => {
                            request = again.build(&route, upgrade.as_ref());
                        }
                        _ => return Err(error),
                    }
                    error
                }
            };
            tracing::debug!(%error, sandbox = %key.sandbox, "a kept connection was closed; retrying");
            self.config.meters.retries.add(1);
            lease = self.connect(key.clone(), upgrade.is_some(), &*target).await?;
        };
        self.config.meters.first_byte.observe(began.elapsed());

        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let agreed = upgrade.as_ref().is_some_and(|asked| {
                let got = response.headers().get(UPGRADE);
                got.is_some_and(|got| got.as_bytes().eq_ignore_ascii_case(asked.as_bytes()))
            });
            let (Some(protocol), true) = (upgrade, agreed) else {
                return Err(RelayError::BadAnswer(None));
            };
            let sandbox = hyper::upgrade::on(&mut response);
            let websocket = is_websocket(&protocol);
            let (mut parts, _) = response.into_parts();
            outward(&mut parts.headers, &route);
            if route.messages.is_some() {
                parts.headers.remove(SEC_WEBSOCKET_EXTENSIONS);
            }
            parts.headers.insert(UPGRADE, protocol);
            parts.headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
            parts.extensions.clear();
            target.upgraded();
            let upgraded = Upgraded {
                client,
                sandbox,
                lease,
                target,
                websocket,
                expires_at: route.expires_at,
                messages: route.messages.clone(),
                silence: self.config.silence,
                meters: Arc::clone(&self.config.meters),
                stopping: self.stopping.clone(),
            };
            // Tracked; ends with either side, its sandbox, its credential, or `close`.
            self.upgraded.spawn(upgraded.run());
            return Ok(Response::from_parts(parts, RelayBody::empty()));
        }
        // A body that is still being sent must not wait for the client to read
        // the answer: it gets a task of its own.
        if !sent.done.load(Relaxed) {
            lease.drive_in_a_task();
        }
        let (mut parts, body) = response.into_parts();
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        outward(&mut parts.headers, &route);
        let answer = Answer {
            body,
            lease: Some(lease),
            target,
            pool: Arc::clone(&self.pool),
            meters: Arc::clone(&self.config.meters),
            idle: Stall::new(self.config.idle_timeout),
            failed: None,
        };
        Ok(Response::from_parts(parts, answer.into_body()))
    }

    fn key(&self, route: &Route, target: &dyn Target) -> Key {
        let from = match route.client_address {
            ClientAddress::Header => GATEWAY,
            ClientAddress::Socket => seen_inside(route.facts.client),
        };
        let (sandbox, start) = (target.sandbox().clone(), target.start());
        Key { sandbox, start, port: route.port, from }
    }

    async fn lease(
        &self,
        key: Key,
        upgrades: bool,
        target: &dyn Target,
    ) -> Result<Lease, RelayError> {
        match self.pool.take(&key) {
            Some((sender, connection)) => {
                self.config.meters.reuses.add(1);
                Ok(Lease { sender, driver: Driver::new(connection, upgrades), key, reused: true })
            }
            None => self.connect(key, upgrades, target).await,
        }
    }

    async fn connect(
        &self,
        key: Key,
        upgrades: bool,
        target: &dyn Target,
    ) -> Result<Lease, RelayError> {
        let (port, after) = (key.port, self.config.connect_timeout);
        let upstream = timeout(after, target.dial(port, key.from))
            .await
            .map_err(|_| RelayError::ConnectTimeout { port, after })?
            .map_err(|source| RelayError::Connect { port, source })?;
        self.config.meters.connects.add(1);
        if let Upstream::Tcp(stream) = &upstream {
            // Fails only on a connection that is gone, which shows at once.
            let _ = stream.set_nodelay(true);
        }
        let (sender, connection) = http1::Builder::new()
            .handshake(TokioIo::new(upstream))
            .await
            .map_err(RelayError::from_hyper)?;
        Ok(Lease {
            sender,
            driver: Driver::new(Box::new(connection), upgrades),
            key,
            reused: false,
        })
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Enough of a request without a body to make it again.
struct Again {
    method: http::Method,
    uri: Uri,
}

impl Again {
    fn build(&self, route: &Route, upgrade: Option<&HeaderValue>) -> Request<ToSandbox> {
        let mut request = Request::new(ToSandbox(None));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = route.facts.headers.clone();
        inward(request.headers_mut(), route, upgrade);
        request
    }
}

fn protocol(parts: &Parts) -> Option<HeaderValue> {
    upgrade_protocol(parts).and_then(|protocol| HeaderValue::from_bytes(protocol).ok())
}

fn is_websocket(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// The path that was judged (or what the placement put in its place) and the query
/// without credentials.
fn inward_target(route: &Route) -> Result<Uri, RelayError> {
    let path = route.path.as_deref().unwrap_or(&route.facts.path);
    let query = match &route.facts.query {
        Some(query) => without_credentials(query, &route.strip),
        None => None,
    };
    let bad = || RelayError::Path(path.to_owned());
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return Err(bad());
    }
    let target = match query {
        Some(query) => Uri::try_from(format!("{path}?{query}")),
        None => Uri::try_from(path),
    };
    target.map_err(|_| bad())
}

/// A connection in use by one request.
pub(crate) struct Lease {
    sender: Sender,
    driver: Driver,
    key: Key,
    reused: bool,
}

/// What moves the bytes of a connection.
enum Driver {
    /// Whoever polls the request.
    Here(Connection),
    /// The same, and the connection can be upgraded; it is not kept.
    Upgrading(Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>),
    /// A task.
    Task { _task: AbortOnDrop },
    /// Nothing: it is closed.
    Ended,
}

impl Driver {
    fn new(connection: Connection, upgrades: bool) -> Self {
        if upgrades {
            Self::Upgrading(Box::pin(connection.with_upgrades()))
        } else {
            Self::Here(connection)
        }
    }
}

enum Failure {
    Timeout,
    Http { error: hyper::Error, unsent: Option<Box<Request<ToSandbox>>> },
}

impl Lease {
    async fn send(
        &mut self,
        request: Request<ToSandbox>,
        sent: &Sent,
        stall: &mut Stall,
    ) -> Result<Response<Incoming>, Failure> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        let mut seen = 0;
        poll_fn(|cx| {
            // The connection first: it moves the bytes that the answer waits for.
            driver.poll(cx);
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(|mut error| Failure::Http {
                    unsent: error.take_message().map(Box::new),
                    error: error.into_error(),
                }));
            }
            let bytes = sent.bytes.load(Relaxed);
            if bytes != seen {
                seen = bytes;
                stall.progress();
            }
            stall.poll_expired(cx).map(|()| Err(Failure::Timeout))
        })
        .await
    }

    fn drive_in_a_task(&mut self) {
        if let Driver::Here(connection) = std::mem::replace(&mut self.driver, Driver::Ended) {
            // Ends with the connection, or with this lease. Its errors also reach
            // the body of the answer, and are told there.
            let task = tokio::spawn(async move { drop(connection.await) });
            self.driver = Driver::Task { _task: AbortOnDrop(task) };
        }
    }

    /// Moves the connection until it was upgraded or closed.
    pub(crate) async fn finish(mut self) {
        poll_fn(|cx| {
            self.driver.poll(cx);
            if matches!(self.driver, Driver::Ended) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Keeps the connection if it is ready for another request.
    fn give_back(mut self, cx: &mut Context<'_>, pool: &Pool) {
        self.driver.poll(cx);
        if let Driver::Here(connection) = self.driver
            && matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())))
        {
            pool.put(self.key, self.sender, connection);
        }
    }
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) {
        let ended = match self {
            Self::Here(connection) => Pin::new(connection).poll(cx).is_ready(),
            Self::Upgrading(connection) => connection.as_mut().poll(cx).is_ready(),
            Self::Task { .. } | Self::Ended => false,
        };
        // An error also reaches the answer, and is told there.
        if ended {
            *self = Self::Ended;
        }
    }
}

/// How far a request's body got.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    bytes: AtomicU64,
    done: AtomicBool,
}

/// The body of a request on its way into a sandbox.
#[derive(Debug)]
pub(crate) struct ToSandbox(Option<Box<Streaming>>);

#[derive(Debug)]
struct Streaming {
    body: ClientBody,
    target: Arc<dyn Target>,
    meters: Arc<Meters>,
    route: Arc<Route>,
    sent: Arc<Sent>,
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.sent.done.store(true, Relaxed);
    }
}

impl Body for ToSandbox {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(streaming) = &mut self.0 else { return Poll::Ready(None) };
        let frame = match ready!(Pin::new(&mut streaming.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => {
                streaming.sent.done.store(true, Relaxed);
                return Poll::Ready(end);
            }
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                let n = data.len() as u64;
                streaming.meters.bytes_in.add(n);
                if streaming.target.client_bytes(n) == Flow::Cut {
                    streaming.sent.done.store(true, Relaxed);
                    return Poll::Ready(Some(Err(BodyError::QuotaUsedUp)));
                }
                streaming.target.active_bytes(n);
                streaming.sent.bytes.fetch_add(n, Relaxed);
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    inward_trailers(&mut trailers, &streaming.route);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            },
        };
        if streaming.body.is_end_stream() {
            streaming.sent.done.store(true, Relaxed);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|streaming| streaming.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |s| s.body.size_hint())
    }
}

/// The body of a sandbox's answer, with all that has to stay until its end.
pub(crate) struct Answer {
    body: Incoming,
    lease: Option<Lease>,
    target: Arc<dyn Target>,
    pool: Arc<Pool>,
    meters: Arc<Meters>,
    idle: Stall,
    failed: Option<BodyError>,
}

impl Answer {
    /// An answer without content needs nothing to stay.
    fn into_body(mut self) -> RelayBody {
        if self.body.is_end_stream() {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            self.finish(&mut cx);
            return RelayBody::empty();
        }
        RelayBody::from_sandbox(self)
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        if let Some(lease) = self.lease.take() {
            lease.give_back(cx, &self.pool);
        }
    }

    /// Closes the connection to the sandbox, and ends the body in `error`.
    fn break_off(
        &mut self,
        error: BodyError,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.lease = None;
        self.failed = Some(error);
        // hyper throws away what it has not sent yet when it meets an error, and
        // sends it when it is told to wait: so it waits once.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(lease) = &mut self.lease {
            lease.driver.poll(cx);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.idle.poll_expired(cx));
            self.lease = None;
            return Poll::Ready(Some(Err(BodyError::Idle(self.idle.limit()))));
        };
        self.idle.progress();
        let frame = match frame {
            Some(Ok(frame)) => frame,
            None => {
                self.finish(cx);
                return Poll::Ready(None);
            }
            Some(Err(error)) => return self.break_off(BodyError::Http(error), cx),
        };
        if let Some(data) = frame.data_ref()
            && self.target.sandbox_bytes(data.len() as u64) == Flow::Cut
        {
            return self.break_off(BodyError::QuotaUsedUp, cx);
        }
        if self.body.is_end_stream() {
            self.finish(cx);
        }
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                self.meters.bytes_out.add(data.len() as u64);
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    outward_trailers(&mut trailers);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            },
        })))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("target", &self.target).finish_non_exhaustive()
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
