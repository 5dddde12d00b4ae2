//! What a configuration means: every value parsed, every reference resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Uri};
use tidegate_types::{
    OciReference, PluginName, SecretName, Sha256Digest, Template, TemplateName, UpstreamName,
};

/// One checked configuration. Immutable; a reload makes another.
///
/// INVARIANT: every template's upstreams and every `secret:NAME` in templates,
/// key sets and upstreams are defined in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[[plugin]]`, in the order in which they are asked.
    pub plugins: Vec<Plugin>,
    /// `[templates.NAME]`
    pub templates: BTreeMap<TemplateName, Arc<Template>>,
    /// `[secrets.NAME]`: where each is, not what it is. See [`Config::read_secrets`].
    pub secrets: BTreeMap<SecretName, SecretSource>,
    /// `[key-sets.NAME]`
    pub key_sets: BTreeMap<String, KeySet>,
    /// `[upstreams.NAME]`
    pub upstreams: BTreeMap<UpstreamName, Upstream>,
}

/// `[server]`: what this process listens on and where it keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where tenants' clients connect.
    pub listen: SocketAddr,
    /// Where the control API listens.
    pub control: SocketAddr,
    /// Host names besides loopback ones under which the control API answers;
    /// lower case, without port.
    pub control_hosts: Vec<String>,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// Where everything durable lives; absolute.
    pub state_dir: PathBuf,
    /// Certificate and key for `listen`; plain HTTP when absent.
    pub tls: Option<Tls>,
    /// Peers whose `Forwarded` and `X-Forwarded-*` header fields are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// How long open requests may go on after SIGTERM.
    pub drain: Duration,
    /// Bytes that a request's head may have.
    pub max_header_bytes: usize,
    /// Bytes that a WebSocket message may have where messages are judged.
    pub max_message: usize,
    /// Bytes that a plugin's component may have.
    pub max_component: u64,
    /// A PEM file of certificates to trust when the gateway itself calls a service;
    /// absolute.
    pub extra_roots: Option<PathBuf>,
}

/// Who may read `/metrics` on the control listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsAccess {
    /// Whoever has the control token.
    #[default]
    Token,
    /// Whoever reaches the listener.
    Open,
}

/// PEM files for TLS; absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A block of IP addresses: `10.0.0.0/8`. IPv4-mapped IPv6 addresses count as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The first address of the block.
    pub address: IpAddr,
    /// How many leading bits count: 0 to 32, or to 128 for IPv6.
    pub prefix: u8,
}

impl Cidr {
    /// Whether `address` lies within the block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(it)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == it.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(it)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == it.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// `[[plugin]]`: a policy plugin and what it is granted.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// Its name in logs, metrics and listings; unique.
    pub name: PluginName,
    /// Where its component is.
    pub source: PluginSource,
    /// What the component's digest must be. Always there for `https`.
    pub sha256: Option<Sha256Digest>,
    /// The ed25519 public key that the component must be signed with.
    pub verify_key: Option<[u8; 32]>,
    /// How often a registry is asked where a tag points.
    pub poll: Duration,
    /// What the source's server is told.
    pub credentials: Option<Credentials>,
    /// What to do at start when the component can't be had.
    pub on_missing: OnMissing,
    /// What the plugin itself is told; its own schema decides whether that is
    /// right. A JSON object.
    pub config: serde_json::Value,
    /// How long one call may take.
    pub deadline: Duration,
    /// Bytes of memory per instance.
    pub memory: u64,
    /// Who shares an instance.
    pub isolation: Isolation,
    /// How many instances there may be at once.
    pub instances: usize,
    /// Which HTTP services it may call, if any.
    pub http: Option<PluginHttp>,
    /// The file of lines that it may write, if any.
    pub journal: Option<PluginJournal>,
    /// Hooks and imports that a new version may add: words of
    /// [`keys::CAPABILITIES`](crate::keys::CAPABILITIES).
    pub allow: BTreeSet<String>,
}

/// Where a plugin's component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginSource {
    /// `builtin:NAME`: embedded in the binary. Whether it exists, the binary knows.
    Builtin(String),
    /// A component file; absolute.
    File(PathBuf),
    /// An `https` URL, without credentials and fragment.
    Https(Uri),
    /// An artifact in a registry.
    Oci(OciReference),
}

/// `plugin.credentials`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// As the server knows it.
    pub username: String,
    /// The secret that is the password.
    pub password: SecretName,
}

/// What happens at start when a component can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissing {
    /// The gateway doesn't start.
    #[default]
    Exit,
    /// It starts, and whatever the plugin would be asked is refused.
    Closed,
}

/// `plugin.http`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginHttp {
    /// In lower case: `id.example.org`, `*.example.org:8443`, `http://localhost:9000`.
    pub hosts: Vec<String>,
    /// What may be filled in where a call says `secret:NAME`.
    pub secrets: BTreeSet<SecretName>,
    /// How long one call may take.
    pub timeout: Duration,
    /// Bytes of an answer's body.
    pub max_body: usize,
}

/// `plugin.journal`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginJournal {
    /// A file name without directories; unique.
    pub file: String,
    /// Bytes that the file may have before it is renamed.
    pub max_size: u64,
    /// How many renamed ones are kept.
    pub keep: u32,
}

/// Who shares one instance of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Nobody: a fresh instance per call.
    Call,
    /// Calls of one tenant.
    Tenant,
    /// All calls.
    #[default]
    Shared,
}

/// `[secrets.NAME]`: where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The value of this environment variable of the gateway's.
    Env(String),
    /// The content of this file, without the line end at its end; absolute.
    File(PathBuf),
    /// What this command prints, without the line end at its end.
    Command(Vec<String>),
}

/// `[key-sets.NAME]`: what tokens are verified against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// Where the keys are.
    pub source: KeySetSource,
    /// What `iss` must be, if anything.
    pub issuer: Option<String>,
    /// What `aud` must contain, if anything.
    pub audience: Option<String>,
    /// How far a clock may be off when `exp` and `nbf` are judged.
    pub skew: Duration,
}

/// Where the keys of a key set are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySetSource {
    /// A JWKS document that its issuer publishes.
    Url {
        /// `http` or `https`, without query and credentials.
        url: Uri,
        /// How often it is asked again; at least a second.
        refresh: Duration,
    },
    /// A JWKS file; absolute.
    File(PathBuf),
    /// A JWKS document in the configuration: JSON text with a `keys` array.
    Inline(String),
    /// The secret of this name is an HS256 key.
    Hs256(SecretName),
}

/// `[upstreams.NAME]`: a service outside that sandboxes may reach, with the
/// credentials that the gateway adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Sandboxes reach it as `http://NAME.upstream.internal/`.
    pub name: UpstreamName,
    /// `http` or `https`, with a host, without query and credentials.
    pub url: Uri,
    /// Set on every request; replaces what the sandbox sent. Values may mention
    /// `secret:NAME`; see [`tidegate_types::secret::fill_in`].
    pub headers: Vec<(HeaderName, String)>,
}
