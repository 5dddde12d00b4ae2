//! One request, its whole answer, within a time and a size.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderValue, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use crate::error::explain;
use crate::{Connector, SendError, TrustError, connector, roots};

/// An idle connection is kept for this long: less than servers commonly do, so
/// that ours is seldom the one found closed.
const KEPT: Duration = Duration::from_secs(15);
/// Idle connections per host.
const KEPT_PER_HOST: usize = 8;

/// What a [`Client`] trusts and calls itself.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// PEM files of certificates to trust besides the web's authorities.
    pub extra_roots: Vec<PathBuf>,
    /// Sent as `user-agent` where a request has none of its own.
    pub user_agent: HeaderValue,
    /// For a TCP connection; what the caller allows a request bounds it too.
    pub connect_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            extra_roots: Vec::new(),
            user_agent: HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION"))),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Sends requests over connections that it keeps. Cheap to share, not to make.
pub struct Client {
    pool: Pool<Connector, Full<Bytes>>,
    user_agent: HeaderValue,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("user_agent", &self.user_agent).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the extra roots, so it blocks.
    ///
    /// # Errors
    /// An extra root that can't be used.
    pub fn new(config: &ClientConfig) -> Result<Self, TrustError> {
        let connector = connector(config.connect_timeout, &roots(&config.extra_roots)?)?;
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .pool_max_idle_per_host(KEPT_PER_HOST)
            .build(connector);
        Ok(Self { pool, user_agent: config.user_agent.clone() })
    }

    /// Sends `request`, whose URI is absolute, and reads the whole answer: within
    /// `within` from now to its last byte, and of at most `most` bytes of body.
    /// Redirects are answers like any other; nothing is decompressed.
    ///
    /// # Errors
    /// [`SendError`]. A request that broke off may have been carried out.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection; the request may have been carried out.
    pub async fn send(
        &self,
        mut request: Request<Bytes>,
        within: Duration,
        most: usize,
    ) -> Result<Response<Bytes>, SendError> {
        let uri = request.uri();
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = match uri.host() {
            Some(host) if known && !host.is_empty() => host.to_owned(),
            _ => return Err(SendError::NotAllowed(uri.to_string())),
        };
        let user_agent = || self.user_agent.clone();
        request.headers_mut().entry(USER_AGENT).or_insert_with(user_agent);
        let answer = async {
            let sent = self.pool.request(request.map(Full::new)).await;
            let (head, body) =
                sent.map_err(|e| SendError::Unreachable(explain(&host, &e)))?.into_parts();
            let body = whole(&host, body, most).await?;
            Ok(Response::from_parts(head, body))
        };
        match timeout(within, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(SendError::TimedOut(within)),
        }
    }
}

/// All of a body, or the news that it is too long as soon as that is known.
async fn whole(host: &str, mut body: Incoming, most: usize) -> Result<Bytes, SendError> {
    let promised = body.size_hint().lower();
    if promised > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(SendError::TooLarge(most));
    }
    let mut all = BytesMut::with_capacity(usize::try_from(promised).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| SendError::Unreachable(explain(host, &e)))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > most - all.len() {
            return Err(SendError::TooLarge(most));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}
