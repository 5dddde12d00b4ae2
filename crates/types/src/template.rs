//! The operator's recipe for a sandbox, checked.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use crate::{Lifetime, TemplateName, UpstreamName};

/// The recipe for a sandbox. Immutable once loaded; shared by reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Its name in the configuration.
    pub name: TemplateName,
    /// Which driver makes it real: `linux`.
    pub driver: String,
    /// What the sandbox sees as `/`.
    pub root: Root,
    /// Host directories and files that appear in the sandbox, read-only.
    pub binds: Vec<Bind>,
    /// The command and its arguments; the first is an absolute path inside.
    pub command: Vec<String>,
    /// Directory the command starts in; inside.
    pub workdir: PathBuf,
    /// Environment of the command. Values may mention `secret:NAME`.
    pub env: Vec<(String, String)>,
    /// TCP port that the application listens on, where a placement names none.
    pub port: u16,
    /// When the application counts as started.
    pub ready: Ready,
    /// When it goes to sleep, where a placement does not say.
    pub lifetime: Lifetime,
    /// Time between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// What it may use.
    pub limits: Limits,
    /// How the application learns the client's address.
    pub client_address: ClientAddress,
    /// Header fields set from the identity on every request towards the
    /// application; a client's own copies are removed.
    pub identity_headers: Vec<(HeaderName, IdentityField)>,
    /// The upstreams that are reachable from inside.
    pub upstreams: Vec<UpstreamName>,
}

/// What a sandbox sees as `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// The host's /usr, /bin, /lib… read-only; private /etc, /tmp, /home.
    Host,
    /// A directory that holds a root file system, read-only, shared by all its sandboxes.
    Directory(PathBuf),
}

/// A host path that appears inside, read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute, on the host.
    pub source: PathBuf,
    /// Absolute, inside.
    pub target: PathBuf,
}

/// When an application counts as started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// What is asked.
    pub probe: Probe,
    /// How long it may take from the start of the process.
    pub timeout: Duration,
}

/// How an application is asked whether it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It accepts a connection on this port.
    Tcp(u16),
    /// It answers `GET path` on this port with 200 to 399.
    Http {
        /// TCP port inside.
        port: u16,
        /// Begins with `/`.
        path: String,
    },
}

/// What one sandbox may use. `None` is no limit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// Bytes of memory, page cache of its own files included.
    pub memory: Option<u64>,
    /// Cores: 1.5 is one and a half.
    pub cpu: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Bytes on disk: everything the sandbox may write.
    pub disk: Option<u64>,
    /// File descriptors per process.
    pub open_files: Option<u64>,
}

/// How an application learns who its client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAddress {
    /// Its TCP peer is always 100.64.0.1, the gateway; the client stands in
    /// `X-Forwarded-For` and `Forwarded`.
    #[default]
    Header,
    /// Its TCP peer is the client's real address.
    Socket,
}

/// What of an identity goes into a header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityField {
    /// The subject.
    Subject,
    /// The tenant.
    Tenant,
    /// A claim; the field is absent when the claim is.
    Claim(String),
}
