//! A real HTTP/1.1 server to relay to: it says what it saw and misbehaves on demand.
//!
//! | path | answer |
//! |---|---|
//! | `/echo` | the request's body, as it comes, with its trailers |
//! | `/bytes/N` | N bytes with `content-length`, made as they are read |
//! | `/chunks/N/M` | N chunks of M bytes |
//! | `/trailers` | a chunk, then the trailer `x-sum: 42` |
//! | `/status/N` | that status, no content |
//! | `/headers?NAME=VALUE&…` | those header fields, values percent-decoded |
//! | `/hold` | one chunk after [`EchoServer::release`], never before |
//! | `/events` | one event at once, the next after [`EchoServer::release`] |
//! | `/early` | 413 without reading the body |
//! | `/close-early` | promises 100 bytes, sends ten, closes |
//! | `/reset` | closes without an answer |
//! | `/last` | an answer that ends its connection |
//! | anything else | what it saw, as JSON: [`Seen`] |

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Body = BoxBody<Bytes, Failure>;

/// A request as the server saw it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its target as it stood in the request line.
    pub target: String,
    /// Its fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Length of its body; absent in what [`EchoServer::seen`] returns.
    pub body: Option<usize>,
    /// Who sent it.
    pub peer: SocketAddr,
}

impl Seen {
    /// The first field called `name`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A running server; ends when it is dropped.
#[derive(Debug)]
pub struct EchoServer {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    released: watch::Sender<u64>,
    abandoned: watch::Sender<u64>,
    connections: AtomicUsize,
}

impl EchoServer {
    /// Starts one on a free loopback port.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            released: watch::Sender::new(0),
            abandoned: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        let serving = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, peer)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&serving);
                shared.connections.fetch_add(1, SeqCst);
                connections.spawn(async move {
                    let service = service_fn(|request| answer(Arc::clone(&shared), peer, request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, shared, _tasks: tasks }
    }

    /// The requests so far, in order of their heads.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Lets `/hold` and `/events` go on.
    pub fn release(&self) {
        self.shared.released.send_modify(|n| *n += 1);
    }

    /// Waits until `n` requests were dropped before they were answered, because
    /// their connection was closed.
    pub async fn abandoned(&self, n: u64) {
        let mut abandoned = self.shared.abandoned.subscribe();
        let _ = abandoned.wait_for(|count| *count >= n).await;
    }
}

/// Counts a request that is dropped half-way.
struct Pending(Option<Arc<Shared>>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.abandoned.send_modify(|n| *n += 1);
        }
    }
}

async fn answer(
    shared: Arc<Shared>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Failure> {
    let mut seen = Seen {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect(),
        body: None,
        peer,
    };
    shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen.clone());
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let number = |at: usize| parts.get(at).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
    let mut pending = Pending(Some(Arc::clone(&shared)));
    let response = match parts.first().copied().unwrap_or_default() {
        "echo" => {
            let trailer = request.headers().get("trailer").cloned();
            let mut response = Response::new(request.into_body().map_err(Failure::from).boxed());
            if let Some(trailer) = trailer {
                response.headers_mut().insert("trailer", trailer);
            }
            response
        }
        "bytes" => {
            let mut response = Response::new(bytes(number(1)));
            response.headers_mut().insert("content-length", HeaderValue::from(number(1)));
            response
        }
        "chunks" => {
            let (count, size) = (number(1), number(2));
            let chunk = Bytes::from(vec![b'c'; size]);
            body((0..count).map(move |_| Ok(Frame::data(chunk.clone()))))
        }
        "trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("42"));
            let mut response = body([
                Ok(Frame::data(Bytes::from_static(b"summed"))),
                Ok(Frame::trailers(trailers)),
            ]);
            response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
            response
        }
        "status" => {
            let mut response = text("");
            let code = u16::try_from(number(1)).unwrap_or(500);
            *response.status_mut() = StatusCode::from_u16(code)?;
            response
        }
        "headers" => {
            let mut response = text("");
            for pair in request.uri().query().unwrap_or_default().split('&') {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                response.headers_mut().append(
                    HeaderName::from_bytes(name.as_bytes())?,
                    HeaderValue::from_bytes(&percent_decoded(value))?,
                );
            }
            response
        }
        "hold" => {
            let mut released = shared.released.subscribe();
            released.wait_for(|n| *n > 0).await?;
            text("released")
        }
        "events" => {
            let released = shared.released.subscribe();
            let events = stream::unfold((0, released), |(n, mut released)| async move {
                if n == 2 {
                    return None;
                }
                released.wait_for(|released| *released >= n).await.ok()?;
                let event = Bytes::from(format!("data: {n}\n\n"));
                Some((Ok(Frame::data(event)), (n + 1, released)))
            });
            let mut response = streamed(events);
            let stream = HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert("content-type", stream);
            response
        }
        "early" => {
            let mut response = text("too much");
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            response
        }
        "close-early" => {
            // hyper sends what it has only when it is told to wait for more.
            let frames = stream::unfold(0, |n| async move {
                if n == 0 {
                    return Some((Ok(Frame::data(Bytes::from_static(b"ten bytes!"))), 1));
                }
                tokio::task::yield_now().await;
                Some((Err(Failure::from("closed early, as asked")), 2))
            });
            let mut response = streamed(frames);
            response.headers_mut().insert("content-length", HeaderValue::from_static("100"));
            response
        }
        "reset" => return Err("closed without an answer, as asked".into()),
        "last" => {
            let mut response = text("last");
            response.headers_mut().insert("connection", HeaderValue::from_static("close"));
            response
        }
        _ => {
            seen.body = Some(request.into_body().collect().await?.to_bytes().len());
            let mut response = text(serde_json::to_string(&seen)?);
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert("content-type", json);
            response
        }
    };
    pending.0 = None;
    Ok(response)
}

fn text(content: impl Into<Bytes>) -> Response<Body> {
    let never = |infallible: Infallible| match infallible {};
    Response::new(Full::new(content.into()).map_err(never).boxed())
}

fn body<I>(frames: I) -> Response<Body>
where
    I: IntoIterator<Item = Result<Frame<Bytes>, Failure>>,
    I::IntoIter: Send + Sync + 'static,
{
    Response::new(BodyExt::boxed(StreamBody::new(stream::iter(frames))))
}

fn streamed<S>(frames: S) -> Response<Body>
where
    S: futures_util::Stream<Item = Result<Frame<Bytes>, Failure>> + Send + 'static,
{
    let frames = SyncStream(Mutex::new(Box::pin(frames)));
    Response::new(BodyExt::boxed(StreamBody::new(frames)))
}

fn bytes(total: usize) -> Body {
    const PIECE: usize = 64 << 10;
    let piece = Bytes::from(vec![b'b'; PIECE]);
    let mut left = total;
    let frames = std::iter::from_fn(move || {
        let n = left.min(PIECE);
        left -= n;
        (n > 0).then(|| Ok(Frame::data(piece.slice(..n))))
    });
    body(frames).into_body()
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes: VecDeque<u8> = text.bytes().collect();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.pop_front() {
        match (byte, bytes.front().copied(), bytes.get(1).copied()) {
            (b'%', Some(high), Some(low)) => {
                let hex = |b: u8| char::from(b).to_digit(16).unwrap_or(0) as u8;
                decoded.push(hex(high) << 4 | hex(low));
                bytes.drain(..2);
            }
            _ => decoded.push(byte),
        }
    }
    decoded
}

/// A stream that is only ever polled through `&mut`, so that sharing it is sound.
struct SyncStream<S>(Mutex<std::pin::Pin<Box<S>>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_next(cx)
    }
}
