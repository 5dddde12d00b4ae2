//! What makes sandboxes real.
//!
//! A driver knows nothing of users, requests or idleness: it is told what to make
//! and to end, and hands out connections. `testkit` has a conformance suite that
//! every driver passes.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tidegate_types::{Incarnation, Retry, SandboxKey, Secret, Source, Template};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Makes, runs and ends sandboxes.
///
/// Every call that changes a sandbox names its incarnation; a driver refuses a
/// stale one with [`DriverError::Stale`]. Calls for one sandbox are never made
/// concurrently, except `dial`, `inspect` and `stats`.
///
/// # Cancel safety
/// A dropped `create`, `start`, `stop` or `destroy` may have happened in part;
/// the caller's next call is `destroy`, or the same again. All others can be
/// dropped without effect.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// Its name in `templates.X.driver`.
    fn name(&self) -> &'static str;

    /// What this driver can do on this machine.
    fn capabilities(&self) -> Capabilities;

    /// Says what is wrong with running `template` here: empty when nothing is.
    /// Called when configuration is loaded, so that no request finds out.
    fn check(&self, template: &Template) -> Vec<Complaint>;

    /// Makes the sandbox without running anything of the tenant's in it: its
    /// namespaces, file system and listeners. Files of an earlier incarnation
    /// are kept.
    async fn create(&self, spec: &Spec) -> Result<(), DriverError>;

    /// Starts the command of the specification that [`create`](Self::create) was
    /// given, with `env` instead of the environment given then. Returns once it
    /// is executing, which is not yet ready.
    async fn start(&self, id: &SandboxId, env: &[(String, Secret)]) -> Result<(), DriverError>;

    /// Connects to `port` inside. `from` is the source address that the
    /// application shall see; a driver without
    /// [`source_address`](Capabilities::source_address) ignores it.
    async fn dial(&self, id: &SandboxId, port: u16, from: IpAddr) -> Result<Dialled, DriverError>;

    /// A listener inside that [`Spec::listeners`] asked for: what it accepts was
    /// opened by this sandbox and no other. Can be called again, also after the
    /// gateway was restarted; connections made meanwhile wait in its backlog.
    async fn listener(&self, id: &SandboxId, name: &str) -> Result<TcpListener, DriverError>;

    /// Keeps memory and connections, takes the CPU away.
    async fn freeze(&self, id: &SandboxId) -> Result<(), DriverError>;

    /// Undoes [`freeze`](Self::freeze).
    async fn thaw(&self, id: &SandboxId) -> Result<(), DriverError>;

    /// Ends the command and everything it started: SIGTERM, then SIGKILL after
    /// `grace`. The sandbox and its files stay. Stopping a stopped one succeeds.
    async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<Exit, DriverError>;

    /// Ends it and removes every trace, files included when `files` says so.
    /// Destroying what does not exist succeeds.
    async fn destroy(&self, id: &SandboxId, files: Files) -> Result<(), DriverError>;

    /// Every sandbox that really exists on this machine, whoever made it.
    async fn list(&self) -> Result<Vec<Found>, DriverError>;

    /// Waits until the command has ended; at once when it does not run.
    async fn wait(&self, id: &SandboxId) -> Result<Exit, DriverError>;

    /// What it uses now.
    async fn stats(&self, id: &SandboxId) -> Result<Stats, DriverError>;

    /// Where the output of its command is kept, bounded in size by the driver.
    fn log_path(&self, key: &SandboxKey) -> PathBuf;
}

/// Which sandbox, and which life of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SandboxId {
    /// Its key.
    pub key: SandboxKey,
    /// The life that is meant.
    pub incarnation: Incarnation,
}

/// What a driver can do on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// `freeze` and `thaw` work.
    pub freeze: bool,
    /// `dial` honours its source address.
    pub source_address: bool,
    /// Sandboxes survive the end of the gateway's process.
    pub survives_gateway: bool,
    /// `limits.memory` is enforced.
    pub memory_limit: bool,
    /// `limits.cpu` is enforced.
    pub cpu_limit: bool,
    /// `limits.pids` is enforced.
    pub pids_limit: bool,
    /// `limits.disk` is enforced.
    pub disk_limit: bool,
}

/// Something about a template that this machine cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Whether it can run all the same.
    pub severity: Severity,
    /// The key within the template: `limits.disk`.
    pub key: String,
    /// What is wrong, why, and what to do: two sentences.
    pub message: String,
}

/// How bad a [`Complaint`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It runs without what was asked for.
    Warning,
    /// It cannot run.
    Error,
}

/// Everything a driver needs to know to make a sandbox.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Which sandbox.
    pub id: SandboxId,
    /// Its recipe.
    pub template: Arc<Template>,
    /// Listeners to make inside, for [`Driver::listener`].
    pub listeners: Vec<Listener>,
    /// Names for the sandbox's /etc/hosts.
    pub hosts: Vec<(String, IpAddr)>,
}

/// A listening TCP socket inside a sandbox that the gateway accepts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// What [`Driver::listener`] calls it: `upstreams`.
    pub name: String,
    /// Address inside; the port may be below 1024.
    pub address: SocketAddr,
}

/// A connection to the application, of whichever kind the driver makes.
#[derive(Debug)]
pub enum Dialled {
    /// TCP inside the sandbox's network namespace.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

/// A sandbox that exists, as [`Driver::list`] found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub id: SandboxId,
    /// Whether its command runs.
    pub running: bool,
    /// When its command was started, where that is known.
    pub started_at: Option<SystemTime>,
    /// The template's name when it was made.
    pub template: String,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// The memory limit ended it.
    OutOfMemory,
    /// It was not running, or nobody saw the end.
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// What happens to a sandbox's files when it is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// They stay, and with them the log of the command's output: this is how a
    /// sandbox rests. `create` may follow with the same or a later incarnation.
    Keep,
    /// They are removed.
    Remove,
}

/// What a sandbox uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes of memory; of all its processes together.
    pub memory: Option<u64>,
    /// CPU time since it was started.
    pub cpu: Option<Duration>,
    /// Processes, init included.
    pub pids: Option<u32>,
    /// Bytes on disk.
    pub disk: Option<u64>,
}

/// Why a driver did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// No such sandbox.
    #[error("sandbox `{0}` does not exist")]
    Absent(SandboxKey),
    /// The call meant an earlier life of it.
    #[error("sandbox `{}` is at incarnation {current}, the call meant {}", .meant.key, .meant.incarnation)]
    Stale {
        /// What the call named.
        meant: SandboxId,
        /// What exists.
        current: Incarnation,
    },
    /// Nothing listens on that port inside.
    #[error("nothing listens on port {port} in sandbox `{key}`")]
    Refused {
        /// Which sandbox.
        key: SandboxKey,
        /// Which port.
        port: u16,
    },
    /// The command cannot be executed.
    #[error("`{command}` cannot be started in sandbox `{key}`: {reason}")]
    Command {
        /// Which sandbox.
        key: SandboxKey,
        /// The first word of its command.
        command: String,
        /// In words, from the system's error.
        reason: String,
    },
    /// This driver or machine cannot do that.
    #[error("{0}")]
    Unsupported(String),
    /// The machine refused something.
    #[error("{step} for sandbox `{key}`")]
    System {
        /// Which sandbox.
        key: SandboxKey,
        /// What was being done: `mounting its root`.
        step: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl DriverError {
    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Source {
        match self {
            Self::Refused { .. } | Self::Command { .. } => Source::Sandbox,
            Self::Absent(_) | Self::Stale { .. } | Self::Unsupported(_) | Self::System { .. } => {
                Source::Gateway
            }
        }
    }

    /// Whether the call may simply be made again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused { .. } => Retry::Safe,
            _ => Retry::Unsafe,
        }
    }
}
