//! Why something was not done, and the RFC 9457 answer to each.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tidegate_types::{Incarnation, SandboxKey};

/// Why the gateway did not do what an operator asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No such sandbox.
    #[error("there is no sandbox `{0}`")]
    Unknown(SandboxKey),
    /// The call meant an earlier life of it.
    #[error("sandbox `{key}` is at incarnation {current}, the call meant {meant}")]
    Stale {
        /// Which sandbox.
        key: SandboxKey,
        /// What the call named.
        meant: Incarnation,
        /// What exists.
        current: Incarnation,
    },
    /// Requests are in flight.
    #[error("sandbox `{key}` is busy: {why}")]
    Busy {
        /// Which sandbox.
        key: SandboxKey,
        /// With what: `2 requests in flight`.
        why: String,
    },
    /// It did not start.
    #[error("sandbox `{key}` did not start: {reason}")]
    Start {
        /// Which sandbox.
        key: SandboxKey,
        /// Why.
        reason: String,
    },
    /// The gateway is ending, or its machine refused something.
    #[error("{0}")]
    Gateway(String),
}

/// The body of every answer that is not a success: RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:tidegate:problem:` and [`code`](Self::code).
    #[serde(rename = "type")]
    pub kind: String,
    /// What such problems have in common.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Machine-readable, stable: `unknown-sandbox`.
    pub code: String,
    /// What happened this time.
    pub detail: String,
    /// What to do about it.
    pub advice: String,
}

/// Status, code, title and advice of each: the table behind every refusal.
type Line = (StatusCode, &'static str, &'static str, &'static str);

pub(crate) const BAD_REQUEST: Line =
    (StatusCode::BAD_REQUEST, "bad-request", "The request makes no sense", "Put the request right");
pub(crate) const INCARNATION_NEEDED: Line = (
    StatusCode::BAD_REQUEST,
    "incarnation-needed",
    "Destroying needs the incarnation that is meant",
    "Add `?incarnation=N` with the number that the sandbox's description shows",
);
pub(crate) const NOT_FOUND: Line = (
    StatusCode::NOT_FOUND,
    "not-found",
    "There is nothing at this path",
    "Look at the paths of the control API",
);
pub(crate) const METHOD: Line = (
    StatusCode::METHOD_NOT_ALLOWED,
    "method-not-allowed",
    "This path does not have that method",
    "Use the method that stands in `allow`",
);
pub(crate) const NO_TOKEN: Line = (
    StatusCode::UNAUTHORIZED,
    "token-needed",
    "The control API needs its token",
    "Send `authorization: Bearer TOKEN` with the content of `control.token` in the state directory",
);
pub(crate) const NOT_OURS: Line = (
    StatusCode::MISDIRECTED_REQUEST,
    "unknown-host",
    "The control API does not answer under this host name",
    "Use an IP address or `localhost`, or add the name to `server.control-hosts`",
);

impl ControlError {
    fn line(&self) -> Line {
        match self {
            Self::Unknown(_) => (
                StatusCode::NOT_FOUND,
                "unknown-sandbox",
                "There is no such sandbox",
                "List what there is with `tidegate ps`",
            ),
            Self::Stale { .. } => (
                StatusCode::CONFLICT,
                "stale-incarnation",
                "The sandbox was made anew meanwhile",
                "Look at it again and decide anew",
            ),
            Self::Busy { .. } => (
                StatusCode::CONFLICT,
                "busy",
                "The sandbox is in use",
                "Try again later, or stop it",
            ),
            Self::Start { .. } => (
                StatusCode::BAD_GATEWAY,
                "start-failed",
                "The sandbox did not start",
                "Read what it wrote with `tidegate logs`",
            ),
            Self::Gateway(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "gateway",
                "The gateway could not do it",
                "Read the gateway's own log",
            ),
        }
    }
}

/// The answer for one line of the table.
pub(crate) fn answer(line: Line, detail: String) -> Response {
    let (status, code, title, advice) = line;
    let problem = Problem {
        kind: format!("urn:tidegate:problem:{code}"),
        title: title.to_owned(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail,
        advice: advice.to_owned(),
    };
    let json = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        answer(self.line(), self.to_string())
    }
}
