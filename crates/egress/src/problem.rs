//! Refusals and failures, as problem details (RFC 9457).

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};

use crate::body::GateBody;

/// Why a request got no answer from an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request cannot be understood in one way only.
    BadRequest,
    /// It means no upstream that this sandbox may call.
    NotAllowed,
    /// Tunnels, upgrades and TRACE are not passed on.
    Method,
    /// The upstream can't be reached, or broke off.
    Unreachable,
    /// The upstream didn't answer in time.
    TimedOut,
}

impl Kind {
    const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => {
                (StatusCode::BAD_REQUEST, "bad-request", "The request is not acceptable")
            }
            Self::NotAllowed => {
                (StatusCode::FORBIDDEN, "upstream-not-allowed", "No such upstream for this sandbox")
            }
            Self::Method => (
                StatusCode::NOT_IMPLEMENTED,
                "not-relayed",
                "This kind of request is not passed on",
            ),
            Self::Unreachable => {
                (StatusCode::BAD_GATEWAY, "upstream-unreachable", "The upstream did not answer")
            }
            Self::TimedOut => {
                (StatusCode::GATEWAY_TIMEOUT, "upstream-timeout", "The upstream took too long")
            }
        }
    }
}

/// The answer that says so. `allowed` are the host names that would have worked.
pub(crate) fn problem(kind: Kind, detail: &str, allowed: &[String]) -> Response<GateBody> {
    let (status, code, title) = kind.facts();
    let mut body = serde_json::json!({
        "type": format!("urn:tidegate:problem:{code}"),
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
    });
    if kind == Kind::NotAllowed {
        body["allowed"] = serde_json::json!(allowed);
    }
    let body = Full::new(Bytes::from(body.to_string()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
