//! What gateway and keeper say to each other.
//!
//! One [`Request`] per message towards the keeper, one [`FromKeeper`] per message
//! back; requests carry a number and answers repeat it, events come unasked. The
//! first request of a connection is [`Call::Setup`] on the socket that a keeper
//! was started with, [`Call::Attach`] on any other. The newest connection wins:
//! the one before is closed.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::plan::Plan;

/// The version of everything in this file and in `plan.rs`. Grows with every
/// change to either.
///
/// INVARIANT: [`Call::Attach`], [`FromKeeper::Answer`] and [`Failure`] keep their
/// place and form in every version, so that two versions can tell each other so.
pub const PROTOCOL: u32 = 1;

/// Name of the control socket in a sandbox's directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// Name of the newest output file in a sandbox's log directory.
pub const LOG_FILE: &str = "output.log";
/// Name of the output file before that.
pub const OLD_LOG_FILE: &str = "output.log.1";
/// Bytes after which a new output file is begun.
pub const LOG_FILE_BYTES: u64 = 4 << 20;

/// The user that the tenant's processes run as, inside.
pub const APP_ID: u32 = 1000;
/// The user that init runs as, inside, where there is more than one.
pub const INIT_ID: u32 = 1;

/// A message to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Repeated by the answer. Never 0.
    pub id: u32,
    /// What is asked.
    pub call: Call,
}

/// What a keeper can be asked.
#[derive(Debug, Serialize, Deserialize)]
pub enum Call {
    /// A gateway takes over an existing keeper. Answered by [`Reply::Status`].
    Attach {
        /// [`PROTOCOL`] of the gateway.
        protocol: u32,
    },
    /// The first thing a keeper hears. Descriptors: the bound control socket, the
    /// log directory, and the loop device when the disk is limited. Answered by
    /// [`Reply::Status`] with `sockets` IPv4 sockets.
    Setup(Setup),
    /// More sockets for dialling. Answered by [`Reply::Done`] with that many.
    Sockets {
        /// Of this family.
        family: Family,
        /// How many, at most [`crate::wire::MAX_FDS`].
        count: u8,
    },
    /// A duplicate of a listening socket. Answered by [`Reply::Done`] with it.
    Listener {
        /// As [`Setup::listeners`] calls it.
        name: String,
    },
    /// Makes init and holds it before its first step. The descriptors are the
    /// plan's sources. Answered by [`Reply::Held`].
    Spawn(Spawn),
    /// Lets init go on. Answered by [`Reply::Executing`] once the command runs.
    Go,
    /// Signals the command's process group, or kills all.
    Signal(Signal),
    /// Kills what runs and ends the keeper.
    Leave,
}

/// What a keeper is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    /// Tenant, as the gateway writes it.
    pub tenant: String,
    /// Sandbox name.
    pub name: String,
    /// Which life of it.
    pub incarnation: u64,
    /// Template name.
    pub template: String,
    /// Which users of the machine stand for those inside.
    pub ids: Ids,
    /// Listening sockets: name and address inside.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Sockets to answer with.
    pub sockets: u8,
    /// The gateway's own affair; given back in [`Status::setup`].
    pub notes: Vec<u8>,
}

/// How users inside map to users of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ids {
    /// `0..count` inside is `first..first + count` outside, groups likewise.
    Range {
        /// First user of the machine.
        first: u32,
        /// How many.
        count: u32,
    },
    /// Only [`APP_ID`], which is whoever runs the gateway.
    Single,
}

/// Which kind of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A command to run and the world to run it in.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spawn {
    /// The file system.
    pub plan: Plan,
    /// Program and arguments; the program is an absolute path inside.
    pub command: Vec<String>,
    /// `NAME=value`; may hold secrets, and is overwritten after use.
    pub env: Environment,
    /// Directory to start in.
    pub workdir: String,
    /// Host name inside.
    pub hostname: String,
    /// Open files per process.
    pub open_files: Option<u64>,
    /// Processes and threads of the tenant.
    pub processes: Option<u64>,
    /// Given back in [`Running::notes`]; the gateway's own affair.
    pub notes: Vec<u8>,
}

/// Variables as `NAME=value`; overwritten when dropped, and never printed.
#[derive(Default, Serialize, Deserialize)]
pub struct Environment(pub Vec<String>);

impl Drop for Environment {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} variables]", self.0.len())
    }
}

/// What to do to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// SIGTERM to its process group.
    Terminate,
    /// The end of everything inside.
    Kill,
}

/// A message from the keeper.
#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a few exist at a time, for microseconds")]
pub enum FromKeeper {
    /// To the request of that number.
    Answer(u32, Result<Reply, Failure>),
    /// The command ended, and with it all that it started.
    Ended(Ended),
}

/// A good answer.
#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a few exist at a time, for microseconds")]
pub enum Reply {
    /// It was done.
    Done,
    /// Who this keeper is.
    Status(Status),
    /// Init exists, as this process of the machine, and waits.
    Held(u32),
    /// The command is executing, as this process of the machine.
    Executing(u32),
}

/// A bad answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done: `mounting /home`.
    pub step: String,
    /// The system's error number.
    pub errno: i32,
}

/// The step at which a command could not be executed: the template's fault, not
/// the machine's.
pub const EXECUTE: &str = "executing the command";
/// The step at which the command's directory could not be entered.
pub const ENTER_WORKDIR: &str = "entering the working directory";

/// Who a keeper is and what it keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// Tells sockets of this sandbox from all others, `SO_NETNS_COOKIE`.
    pub cookie: u64,
    /// What it was told.
    pub setup: Setup,
    /// What runs.
    pub running: Option<Running>,
    /// How the last command ended.
    pub last: Option<Ended>,
}

/// A command that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Running {
    /// Init, as a process of the machine.
    pub init: u32,
    /// The command itself, likewise.
    pub command: u32,
    /// When it was started, milliseconds since 1970.
    pub since: u64,
    /// As [`Spawn::notes`].
    pub notes: Vec<u8>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// It returned this.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}
