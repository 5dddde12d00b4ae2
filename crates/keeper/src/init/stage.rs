//! Init before it is `/.tidegate/init`: builds the world, makes the command's
//! process, gives everything up.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::SendFlags;
use rustix::thread::UnshareFlags;
use tidegate_keeper::protocol::{APP_ID, Failure, INIT_ID, Ids, Spawn};
use tidegate_keeper::sys::process::{self, Forked};

use super::{StageMessage, command, filesystem};
use crate::confine;
use crate::failure::During;

/// Where the program is found inside. It must be there: a checkpoint looks every
/// mapped file up in the sandbox's own mounts.
const PROGRAM: &std::ffi::CStr = c"/.tidegate/init";

/// What init begins with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) spawn: Spawn,
    /// The plan's handed origins.
    pub(crate) mounts: Vec<OwnedFd>,
    pub(crate) ids: Ids,
    /// Readable when init may go on.
    pub(crate) go: OwnedFd,
    /// For [`StageMessage`]s.
    pub(crate) stage: OwnedFd,
    /// For how the command ended.
    pub(crate) end: OwnedFd,
    /// Standard output and error of the command.
    pub(crate) output: OwnedFd,
}

/// Runs as pid 1. Returns never.
pub(crate) fn run(start: Start) -> ! {
    // Not let go but closed: the keeper ended or thought better of it.
    let mut go = [0];
    if rustix::io::retry_on_intr(|| rustix::io::read(&start.go, &mut go)) != Ok(1) {
        process::exit(1);
    }
    let stage = match start.stage.try_clone() {
        Ok(stage) => stage,
        Err(_) => process::exit(1),
    };
    let failure = match prepare(start) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    tell(&stage, &StageMessage::Failed(failure));
    process::exit(1)
}

pub(super) fn tell(stage: &OwnedFd, message: &StageMessage) {
    if let Ok(bytes) = postcard::to_stdvec(message) {
        // If the keeper is gone, so are we in a moment.
        _ = rustix::net::send(stage, &bytes, SendFlags::NOSIGNAL);
    }
}

enum Never {}

fn prepare(start: Start) -> Result<Never, Failure> {
    // By now the gateway has put us into our cgroups: they become the roots.
    // A kernel without cgroup namespaces shows no cgroups inside, which is as good.
    drop(process::unshare(UnshareFlags::NEWCGROUP));
    // The session's leader must be in this pid namespace, or it cannot be checkpointed.
    rustix::process::setsid().during("making a session")?;
    rustix::system::sethostname(start.spawn.hostname.as_bytes()).during("setting the host name")?;
    filesystem::build(&start.spawn.plan, start.mounts)?;

    // The command's process comes before we give up the right to become its user.
    let (wait, go) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).during("making a pipe")?;
    let command = match process::fork(UnshareFlags::empty()).during("making a process")? {
        Forked::Child => {
            drop((go, start.end));
            command::run(&start.spawn, &start.stage, &start.output, &wait)
        }
        Forked::Parent(command) => command.pid,
    };
    // Nothing of the environment is left here after the exec.
    drop((start.spawn, start.output, wait));

    let user = match start.ids {
        Ids::Range { .. } => INIT_ID,
        Ids::Single => APP_ID,
    };
    confine::give_up_privileges(user)?;
    for fd in [&start.end, &go] {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).during("keeping a pipe")?;
    }
    confine::filter_system_calls()?;
    let texts = [
        "init".to_owned(),
        "init".to_owned(),
        start.end.as_raw_fd().to_string(),
        go.as_raw_fd().to_string(),
        command.as_raw_nonzero().to_string(),
    ];
    let arguments: Vec<_> = texts.into_iter().filter_map(|text| CString::new(text).ok()).collect();
    Err(process::execute(&PROGRAM.to_owned(), &arguments, &[])).during("starting init")
}
