//! What policy may know about a request.

use std::net::IpAddr;

use http::{HeaderMap, Method};

/// The facts of one HTTP request (for a WebSocket: of its upgrade request), after
/// normalisation and trusted-proxy headers. Shared by reference with every plugin
/// that is asked; nothing in it is copied until a plugin reads it.
#[derive(Debug, Clone)]
pub struct RequestFacts {
    /// As received.
    pub method: Method,
    /// Whether the client's side is encrypted.
    pub https: bool,
    /// Host and port the client asked for; lower case.
    pub authority: String,
    /// Percent-encoded, without dot segments; begins with `/`.
    pub path: String,
    /// Without the `?`.
    pub query: Option<String>,
    /// All fields as received.
    pub headers: HeaderMap,
    /// The client's address, after trusted-proxy headers.
    pub client: IpAddr,
    /// Whether the client asks to upgrade to WebSocket.
    pub websocket: bool,
    /// Subject of the verified client certificate.
    pub client_certificate_subject: Option<String>,
}

impl RequestFacts {
    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// `scheme://authority`, as a browser writes it into `Origin`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority)
    }
}
