//! What `egress` is about: a connection that a sandbox opens outwards.

use std::net::IpAddr;

use crate::HeaderEdit;

/// Where a sandbox wants to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The name it used, or the address where it used none; lower case.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What it speaks, as far as that is known.
    pub protocol: Protocol,
    /// What the host resolved the name to; the connection goes to one of these.
    pub addresses: Vec<IpAddr>,
    /// Method and path, where the host can see them.
    pub http: Option<(String, String)>,
}

/// What is spoken on an outward connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Unknown.
    Tcp,
    /// TLS that the host doesn't end.
    Tls,
    /// Plain HTTP.
    Http,
    /// HTTP in TLS that the host ends.
    Https,
}

/// A permitted outward connection.
#[derive(Debug, Clone, Default)]
pub struct EgressGrant {
    /// Credentials that the sandbox never sees. Values may mention `secret:NAME`.
    pub request_headers: Vec<HeaderEdit>,
    /// How many bytes may pass, both ways together.
    pub max_bytes: Option<u64>,
}
