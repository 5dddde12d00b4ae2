//! One run of the command: from making init to its end.

use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use rustix::thread::UnshareFlags;
use tidegate_keeper::protocol::{Ended, Failure, Ids, Signal, Spawn};
use tidegate_keeper::sys::process::{self, Child, Forked};
use tidegate_keeper::sys::signals;

use crate::failure::{During, failure};
use crate::init::{self, StageMessage};

/// Init and the command beneath it.
#[derive(Debug)]
pub(crate) struct Run {
    init: Child,
    command: Option<Child>,
    /// Who was the command, when it had ended before anybody could take hold of it.
    ended_early: Option<Pid>,
    /// Written once to let init go.
    go: Option<OwnedFd>,
    /// Where init and the command tell how far they are, until the exec.
    stage: Option<OwnedFd>,
    failed: Option<Failure>,
    /// Where init says how the command ended.
    end: OwnedFd,
    pub(crate) since: u64,
    pub(crate) notes: Vec<u8>,
}

/// How far a start is.
#[derive(Debug)]
pub(crate) enum Progress {
    /// More will come.
    Waiting,
    /// The command runs, as this process.
    Executing(u32),
    /// It will not.
    Failed(Failure),
}

impl Run {
    /// Makes init, which waits for [`go`](Self::go), and returns it with the
    /// reading end of the command's output.
    pub(crate) fn spawn(
        mut spawn: Spawn,
        mounts: Vec<OwnedFd>,
        ids: Ids,
    ) -> Result<(Self, OwnedFd), Failure> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during("making a pipe");
        let (wait_for_go, go) = pipe()?;
        let (end, tell_end) = pipe()?;
        let (output, write_output) = pipe()?;
        rustix::io::ioctl_fionbio(&output, true).during("preparing the output")?;
        if let Ids::Range { .. } = ids {
            // So that the tenant may open /dev/stdout by name.
            let app = tidegate_keeper::protocol::APP_ID;
            let (user, group) = (rustix::fs::Uid::from_raw(app), rustix::fs::Gid::from_raw(app));
            rustix::fs::fchown(&write_output, Some(user), Some(group))
                .during("preparing the output")?;
        }
        let (stage, tell_stage) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .during("making a socket")?;
        // The sender's process, as this pid namespace numbers it.
        rustix::net::sockopt::set_socket_passcred(&stage, true).during("making a socket")?;
        rustix::io::ioctl_fionbio(&stage, true).during("making a socket")?;

        let namespaces = UnshareFlags::NEWPID
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS;
        let notes = std::mem::take(&mut spawn.notes);
        match process::fork(namespaces).during("making the sandbox's namespaces")? {
            Forked::Child => {
                drop((go, end, output, stage));
                init::stage::run(init::stage::Start {
                    spawn,
                    mounts,
                    ids,
                    go: wait_for_go,
                    stage: tell_stage,
                    end: tell_end,
                    output: write_output,
                })
            }
            Forked::Parent(child) => {
                let run = Self {
                    init: child,
                    command: None,
                    ended_early: None,
                    go: Some(go),
                    stage: Some(stage),
                    failed: None,
                    end,
                    since: 0,
                    notes,
                };
                Ok((run, output))
            }
        }
    }

    pub(crate) fn go(&mut self) -> Result<(), Failure> {
        let go = self.go.take().ok_or_else(|| failure("starting the command", libc::EALREADY))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.since = u64::try_from(now.as_millis()).unwrap_or(0);
        std::fs::File::from(go).write_all(b"g").during("starting the command")
    }

    /// Reads what has come on the way to the exec.
    pub(crate) fn advance(&mut self) -> Progress {
        let Some(stage) = &self.stage else { return Progress::Waiting };
        let mut buffer = [0u8; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            stage,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        );
        let bytes = match received {
            Ok(received) => received.bytes,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Progress::Waiting,
            Err(_) => 0,
        };
        let sender = control.drain().find_map(|part| match part {
            RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials.pid),
            _ => None,
        });
        match postcard::from_bytes(buffer.get(..bytes).unwrap_or_default()) {
            Ok(StageMessage::Born) => {
                // On a busy machine a short command ends before its birth is read.
                if let Some(pid) = sender {
                    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
                        Ok(pidfd) => self.command = Some(Child { pid, pidfd }),
                        Err(_) => self.ended_early = Some(pid),
                    }
                }
                Progress::Waiting
            }
            Ok(StageMessage::Failed(why)) => {
                self.failed = Some(why);
                Progress::Waiting
            }
            // The end: the exec closed the last copy, or all are dead.
            Err(_) => {
                self.stage = None;
                match (self.failed.clone(), self.command_pid()) {
                    (Some(why), _) => Progress::Failed(why),
                    (None, pid @ 1..) => Progress::Executing(pid),
                    (None, 0) => {
                        let why = failure("preparing the sandbox", libc::ECHILD);
                        self.failed = Some(why.clone());
                        Progress::Failed(why)
                    }
                }
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let sent = match (signal, &self.command) {
            (Signal::Terminate, Some(command)) => {
                signals::terminate_group(&command.pidfd, command.pid)
            }
            // The end of pid 1 is the end of all in its namespace.
            (Signal::Kill, _) | (Signal::Terminate, None) => {
                rustix::process::pidfd_send_signal(&self.init.pidfd, rustix::process::Signal::KILL)
                    .map_err(Into::into)
            }
        };
        match sent {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other.during("signalling the command"),
        }
    }

    /// Waits for init's end, which has come or is about to, and says how the
    /// command ended.
    pub(crate) fn reap(self) -> Ended {
        let status = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.init.pidfd.as_fd()), WaitIdOptions::EXITED)
        });
        let mut told = [0; 16];
        let read = rustix::io::read(&self.end, &mut told).unwrap_or(0);
        if let Ok(ended) = postcard::from_bytes(told.get(..read).unwrap_or_default()) {
            return ended;
        }
        let killed = status.ok().flatten().and_then(|status| status.terminating_signal());
        Ended::Signal(killed.unwrap_or(libc::SIGKILL))
    }

    pub(crate) fn is_executing(&self) -> bool {
        self.stage.is_none() && self.failed.is_none()
    }

    pub(crate) fn stage(&self) -> Option<BorrowedFd<'_>> {
        self.stage.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn init(&self) -> BorrowedFd<'_> {
        self.init.pidfd.as_fd()
    }

    pub(crate) fn init_pid(&self) -> u32 {
        number(self.init.pid)
    }

    pub(crate) fn command_pid(&self) -> u32 {
        let pid = self.command.as_ref().map(|command| command.pid).or(self.ended_early);
        pid.map_or(0, number)
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}
