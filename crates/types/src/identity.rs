//! Who is asking, as authentication established it.

use std::time::SystemTime;

use http::HeaderName;

use crate::{HeaderEdit, SubjectId, TenantId};

/// A user or service within a tenant, with what is claimed about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Stable id of the user or service: `user-42`.
    pub subject: SubjectId,
    /// The tenant that the subject belongs to.
    pub tenant: TenantId,
    /// Name and value; the first of a name counts.
    pub claims: Vec<(String, String)>,
}

impl Identity {
    /// The first claim called `name`.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The answer of an authenticator: an identity and what follows from it.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Who it is.
    pub identity: Identity,
    /// An open WebSocket is closed with 4401 at this time.
    pub expires_at: Option<SystemTime>,
    /// For example a renewed session cookie.
    pub response_headers: Vec<HeaderEdit>,
    /// The credential that this answer rests on.
    pub used: Option<Credential>,
    /// Every place where the authenticator looks for a credential; none of them
    /// is relayed into the sandbox, `used` included.
    pub consumed: Vec<Credential>,
}

/// A place in a request where a credential may stand.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A header field.
    Header(HeaderName),
    /// A cookie, by name.
    Cookie(String),
    /// A query parameter, by its decoded name.
    QueryParam(String),
}
