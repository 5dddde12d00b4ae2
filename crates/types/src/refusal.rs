//! A decision against a request, for the client to see.

use http::{HeaderName, HeaderValue, StatusCode};

/// A plugin's refusal. A *decision*: a plugin that could not decide is a failure,
/// which the client only ever sees as 503 with a decision id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// 3xx (with `location`) or 4xx.
    pub status: StatusCode,
    /// Machine-readable, stable: `token-expired`.
    pub code: String,
    /// For a person to read; no secrets.
    pub message: String,
    /// For example `www-authenticate`, `retry-after`, `location`, `set-cookie`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}
