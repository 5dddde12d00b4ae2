//! Asking a running gateway over its control API.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidegate_control::{PluginView, Problem, SandboxView, Token, UsageView};

use super::failure::Failure;

/// How long a connection may take. Answers may take as long as a sandbox's start.
const CONNECT: Duration = Duration::from_secs(5);

/// A client of one gateway's control API.
pub(super) struct Client {
    http: legacy::Client<HttpConnector, Empty<Bytes>>,
    /// Without a slash at its end.
    base: String,
    authorization: String,
}

#[derive(Deserialize)]
struct Sandboxes {
    sandboxes: Vec<SandboxView>,
}

/// The plugins, and why the latest reload was refused.
#[derive(Deserialize)]
pub(super) struct Plugins {
    pub(super) plugins: Vec<PluginView>,
    pub(super) refused: Vec<String>,
}

#[derive(Deserialize)]
struct Usage {
    usage: Vec<UsageView>,
}

impl Client {
    pub(super) fn new(url: &str, token: &Token) -> Result<Self, Failure> {
        let fine = url.parse::<Uri>().is_ok_and(|uri| {
            uri.scheme_str() == Some("http")
                && matches!(uri.path(), "" | "/")
                && uri.query().is_none()
        });
        if !fine {
            return Err(Failure::wrong(
                format!("`{url}` is not the address of a control API"),
                "Write it like `--control http://127.0.0.1:8081`",
            ));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        Ok(Self {
            http: legacy::Client::builder(TokioExecutor::new()).build(connector),
            base: url.trim_end_matches('/').to_owned(),
            authorization: format!("Bearer {}", token.secret().reveal()),
        })
    }

    /// All sandboxes, in order.
    pub(super) async fn sandboxes(&self) -> Result<Vec<SandboxView>, Failure> {
        let listing: Sandboxes = self.ask(Method::GET, "/v1/sandboxes").await?;
        Ok(listing.sandboxes)
    }

    /// All plugins, in order.
    pub(super) async fn plugins(&self) -> Result<Plugins, Failure> {
        self.ask(Method::GET, "/v1/plugins").await
    }

    /// Limits and what is used of them, in order.
    pub(super) async fn usage(&self, tenant: Option<&str>) -> Result<Vec<UsageView>, Failure> {
        let path = match tenant {
            Some(tenant) => format!("/v1/usage?tenant={}", encoded(tenant)),
            None => "/v1/usage".to_owned(),
        };
        let listing: Usage = self.ask(Method::GET, &path).await?;
        Ok(listing.usage)
    }

    /// Asks, and reads the JSON of the answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, Failure> {
        let body = self.send(method, path).await?.into_body().collect().await;
        let body = body.map_err(|error| self.broken(&error))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| self.broken(&error))
    }

    /// Asks; the answer is a success, its body not yet read.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, &self.authorization)
            .body(Empty::new())
            .map_err(|error| self.broken(&error))?;
        let response = self.http.request(request).await.map_err(|error| {
            if error.is_connect() {
                return Failure::new(
                    format!("no gateway answers at {}", self.base),
                    "Start one with `tidegate serve`, or name another with `--control`",
                );
            }
            self.broken(&error)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    async fn refusal(&self, response: Response<Incoming>) -> Failure {
        let status = response.status();
        let body = response.into_body().collect().await.map(|body| body.to_bytes());
        match body.ok().and_then(|body| serde_json::from_slice::<Problem>(&body).ok()) {
            Some(problem) if status == StatusCode::BAD_REQUEST => {
                Failure::wrong(problem.detail, problem.advice)
            }
            Some(problem) => Failure::new(problem.detail, problem.advice),
            None => Failure::new(
                format!("{} answered {status}, not as a control API does", self.base),
                "Look at what listens there",
            ),
        }
    }

    fn broken(&self, error: &dyn std::error::Error) -> Failure {
        let mut what = format!("talking to the gateway at {} failed: {error}", self.base);
        let mut source = error.source();
        while let Some(error) = source {
            what.push_str(&format!(": {error}"));
            source = error.source();
        }
        Failure::new(what, "Try again; the gateway's own log may say more")
    }
}

/// The path of a sandbox, with `action` behind it.
pub(super) fn path(of: &SandboxView, action: &str) -> String {
    format!("/v1/sandboxes/{}/{}{action}", encoded(&of.tenant), encoded(&of.name))
}

/// Percent-encoded, but for what RFC 3986 calls unreserved.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    // A segment of dots alone would be taken for a direction.
    if out.bytes().all(|b| b == b'.') { out.replace('.', "%2E") } else { out }
}

/// Runs a client's future: no threads, ended by Ctrl-C like any program.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(format!("cannot start: {error}"), "Look at the limits of this user")
        })?
        .block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_of_any_characters_is_one_segment_of_a_path() {
        let check = |tenant: &str, expected: &str| assert_eq!(encoded(tenant), expected);
        check("acme-1", "acme-1");
        check("a/b@c d", "a%2Fb%40c%20d");
        check("ä?#", "%C3%A4%3F%23");
        check("..", "%2E%2E");
    }
}
