//! The demo application: a tiny web app that runs *inside* a sandbox, so that the
//! gateway can be tried with nothing else installed (`tidegate hello-app`).
//!
//! | path | answers |
//! |---|---|
//! | `/` | a page: who you are, where you are, how often you came |
//! | `/api/whoami` | the same as JSON |
//! | `/api/request` | the request as it arrived here: method, target, header fields |
//! | `/api/bytes?N` | so many bytes, at most 64 Mi |
//! | `/api/count` | how many bytes the request's body has |
//! | `/ws` | a WebSocket that says everything back |
//!
//! **Not in here:** anything the gateway itself uses.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The most that `/api/bytes` gives.
const MOST_BYTES: usize = 64 << 20;

const PAGE: &str = include_str!("hello/page.html");

/// Serves the demo application on loopback until the process is told to end.
///
/// # Errors
/// When the port cannot be listened on.
pub(crate) fn run(port: u16) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(port))
}

struct Hello {
    started: Instant,
    visits: AtomicU64,
    visits_file: PathBuf,
}

async fn serve(port: u16) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    let visits_file = home.join("visits");
    let visits = std::fs::read_to_string(&visits_file)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    let hello =
        Arc::new(Hello { started: Instant::now(), visits: AtomicU64::new(visits), visits_file });
    loop {
        let (stream, peer) = listener.accept().await?;
        let hello = Arc::clone(&hello);
        // Ends with its connection; the process ends with the sandbox.
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let hello = Arc::clone(&hello);
                async move { Ok::<_, std::convert::Infallible>(hello.answer(request, peer).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            // A client that goes away is no error of a demo's.
            let _ = connection.await;
        });
    }
}

impl Hello {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/" => {
                self.count_visit();
                typed("text/html; charset=utf-8", PAGE.to_owned())
            }
            "/api/whoami" => self.whoami(&request, peer),
            "/api/request" => echo_request(&request),
            "/api/bytes" => {
                let asked = request.uri().query().and_then(|query| query.parse().ok());
                typed("text/plain", "b".repeat(asked.unwrap_or(0).min(MOST_BYTES)))
            }
            "/api/count" => count(request.into_body()).await,
            "/ws" => echo_websocket(request),
            _ => {
                let mut missing = typed("text/plain", "there is nothing here\n".into());
                *missing.status_mut() = StatusCode::NOT_FOUND;
                missing
            }
        }
    }

    /// Counts a visit in a file of the home directory: what a user can see of
    /// files that outlive sleep.
    fn count_visit(&self) {
        let visits = self.visits.fetch_add(1, Ordering::Relaxed) + 1;
        if let Err(error) = std::fs::write(&self.visits_file, visits.to_string()) {
            eprintln!("cannot keep the number of visits: {error}");
        }
    }

    fn whoami(&self, request: &Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let variable = |name: &str| std::env::var(name).ok();
        let user = request.headers().get("x-forwarded-user").and_then(|v| v.to_str().ok());
        typed(
            "application/json",
            json!({
                "user": user,
                "sandbox": variable("TIDEGATE_SANDBOX"),
                "tenant": variable("TIDEGATE_TENANT"),
                "pid": std::process::id(),
                "peer": peer.ip(),
                "visits": self.visits.load(Ordering::Relaxed),
                "awake_ms": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            })
            .to_string(),
        )
    }
}

fn echo_request(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let text = json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": headers,
    });
    typed("application/json", text.to_string())
}

async fn count(mut body: Incoming) -> Response<Full<Bytes>> {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    typed("application/json", json!({ "bytes": bytes }).to_string())
}

fn echo_websocket(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        let mut refused = typed("text/plain", "this is a WebSocket\n".into());
        *refused.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return refused;
    };
    let accept = derive_accept_key(key.as_bytes());
    // Ends with its WebSocket.
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
        let mut socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn typed(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
