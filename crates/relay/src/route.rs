//! Where one request goes, and what becomes of its header fields on the way.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderName, HeaderValue};
use tidegate_types::{ClientAddress, Credential, HeaderEdit, RequestFacts};

use crate::Messages;

/// What was decided about one request.
#[derive(Debug, Clone)]
pub struct Route {
    /// The request as policy saw it. The sandbox gets *this* path, so that what
    /// was judged is what is asked.
    pub facts: Arc<RequestFacts>,
    /// TCP port inside the sandbox.
    pub port: u16,
    /// Replaces the path (not the query); begins with `/`.
    pub path: Option<String>,
    /// How the application learns the client's address.
    pub client_address: ClientAddress,
    /// Removed on the way in: every place where an authenticator looks.
    pub strip: Vec<Credential>,
    /// Set on the way in, or absent when `None`; the client's own copies, also
    /// with `_` for `-`, are removed either way.
    pub identity_headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Edits on the way in. Fields that frame the message are left alone.
    pub request_headers: Vec<HeaderEdit>,
    /// Edits of the answer on the way out.
    pub response_headers: Vec<HeaderEdit>,
    /// The gateway's own cookies: an application cannot set them.
    pub session_cookies: Arc<[String]>,
    /// When a WebSocket is closed with 4401.
    pub expires_at: Option<SystemTime>,
    /// Where messages are judged. Then no other protocol is upgraded to, and no
    /// extension agreed on: a message that cannot be read cannot be judged.
    pub messages: Option<Messages>,
}

impl Route {
    /// A route to `port` with nothing removed, added or edited.
    #[must_use]
    pub fn new(facts: Arc<RequestFacts>, port: u16) -> Self {
        Self {
            facts,
            port,
            path: None,
            client_address: ClientAddress::Header,
            strip: Vec::new(),
            identity_headers: Vec::new(),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            session_cookies: Arc::from([]),
            expires_at: None,
            messages: None,
        }
    }
}
