//! keeper's loop: whom it listens to and what it answers.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::SocketFlags;
use tidegate_keeper::protocol::{
    Call, Ended, Failure, Family, FromKeeper, Ids, PROTOCOL, Reply, Request, Running, Setup,
    Signal, Status,
};
use tidegate_keeper::sys::socket::netns_cookie;
use tidegate_keeper::wire;

use super::log::{Copied, Log};
use super::network;
use super::run::{Progress, Run};
use crate::failure::{During, failure};

/// `/proc/sys/kernel/overflowuid`'s default: what a user that is not mapped into
/// our namespace looks like.
const UNMAPPED: u32 = 65534;

/// Everything a keeper keeps.
#[derive(Debug)]
pub(crate) struct Keeper {
    setup: Setup,
    cookie: u64,
    gateway: Option<OwnedFd>,
    /// Has connected and not yet said anything.
    candidate: Option<OwnedFd>,
    control: OwnedFd,
    listeners: Vec<(String, OwnedFd)>,
    log: Log,
    output: Option<OwnedFd>,
    run: Option<Run>,
    /// The request that waits for the command to execute.
    going: Option<u32>,
    last: Option<Ended>,
    /// Keeps the disk attached while nothing is mounted.
    _disk: Option<OwnedFd>,
}

enum After {
    Stay,
    Leave,
}

impl Keeper {
    pub(crate) fn new(
        setup: Setup,
        gateway: OwnedFd,
        control: OwnedFd,
        logs: OwnedFd,
        listeners: Vec<(String, OwnedFd)>,
        disk: Option<OwnedFd>,
    ) -> Result<Self, Failure> {
        let cookie = network::any_socket()
            .and_then(netns_cookie)
            .during("asking for its network's cookie")?;
        for socket in [&gateway, &control] {
            rustix::io::ioctl_fionbio(socket, true).during("preparing its sockets")?;
        }
        Ok(Self {
            setup,
            cookie,
            gateway: Some(gateway),
            candidate: None,
            control,
            listeners,
            log: Log::new(logs),
            output: None,
            run: None,
            going: None,
            last: None,
            _disk: disk,
        })
    }

    /// Answers the request that made this keeper, then serves until told to leave.
    pub(crate) fn serve(mut self, first: u32) {
        match network::sockets(Family::V4, self.setup.sockets) {
            Ok(sockets) => self.answer(first, Ok(Reply::Status(self.status())), &sockets),
            Err(failure) => return self.answer(first, Err(failure), &[]),
        }
        while let After::Stay = self.turn() {}
    }

    /// Waits until something happens and deals with it.
    fn turn(&mut self) -> After {
        let pause = self.output.as_ref().and_then(|_| self.log.pause());
        // In this order, each with the place it is dealt with below.
        let ready = {
            let sources = [
                Some(self.control.as_fd()),
                self.candidate.as_ref().map(AsFd::as_fd),
                self.gateway.as_ref().map(AsFd::as_fd),
                self.run.as_ref().and_then(Run::stage),
                self.run.as_ref().map(Run::init),
                self.output.as_ref().map(AsFd::as_fd).filter(|_| pause.is_none()),
            ];
            wait_for(&sources, pause)
        };
        let [control, candidate, gateway, stage, init, output] = ready;
        if control {
            self.accept();
        }
        if output {
            self.copy_output();
        }
        if stage {
            self.advance();
        }
        if init {
            self.init_ended();
        }
        if candidate {
            self.hear_candidate();
        }
        if gateway { self.hear_gateway() } else { After::Stay }
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(peer) = rustix::net::accept_with(&self.control, flags) else { return };
        if may_command(&peer, self.setup.ids) {
            self.candidate = Some(peer);
        }
    }

    fn hear_candidate(&mut self) {
        let Some(peer) = self.candidate.take() else { return };
        let Ok(Some((request, _))) = wire::receive::<Request>(&peer) else { return };
        let result = match request.call {
            Call::Attach { protocol: PROTOCOL } => Ok(Reply::Status(self.status())),
            _ => Err(failure("agreeing on a protocol", libc::EPROTO)),
        };
        let agreed = result.is_ok();
        if wire::send(&peer, &FromKeeper::Answer(request.id, result), &[]).is_ok() && agreed {
            // The newest wins; whoever waited for the old one has gone.
            self.gateway = Some(peer);
            self.going = None;
        }
    }

    fn hear_gateway(&mut self) -> After {
        let Some(gateway) = &self.gateway else { return After::Stay };
        let (request, fds) = match wire::receive::<Request>(gateway) {
            Ok(Some(message)) => message,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return After::Stay,
            Ok(None) | Err(_) => {
                self.gateway = None;
                return After::Stay;
            }
        };
        let id = request.id;
        let done = |()| Reply::Done;
        match request.call {
            Call::Attach { .. } => self.answer(id, Ok(Reply::Status(self.status())), &[]),
            Call::Setup(_) => self.answer(id, Err(failure("being set up", libc::EALREADY)), &[]),
            Call::Sockets { family, count } => match network::sockets(family, count) {
                Ok(sockets) => self.answer(id, Ok(Reply::Done), &sockets),
                Err(failure) => self.answer(id, Err(failure), &[]),
            },
            Call::Listener { name } => self.hand_out_listener(id, &name),
            Call::Spawn(spawn) => {
                let result = match &self.run {
                    Some(_) => Err(failure("starting the command", libc::EBUSY)),
                    None => Run::spawn(spawn, fds, self.setup.ids).map(|(run, output)| {
                        let pid = run.init_pid();
                        self.run = Some(run);
                        self.output = Some(output);
                        Reply::Held(pid)
                    }),
                };
                self.answer(id, result, &[]);
            }
            Call::Go => match self.run.as_mut().map(Run::go) {
                Some(Ok(())) => self.going = Some(id),
                Some(Err(failure)) => self.answer(id, Err(failure), &[]),
                None => self.answer(id, Err(failure("starting the command", libc::ESRCH)), &[]),
            },
            Call::Signal(signal) => {
                let result = self.run.as_ref().map_or(Ok(()), |run| run.signal(signal));
                self.answer(id, result.map(done), &[]);
            }
            Call::Leave => {
                if let Some(run) = self.run.take() {
                    drop(run.signal(Signal::Kill));
                    run.reap();
                }
                self.answer(id, Ok(Reply::Done), &[]);
                return After::Leave;
            }
        }
        After::Stay
    }

    fn hand_out_listener(&mut self, id: u32, name: &str) {
        let found = self.listeners.iter().find(|(known, _)| known == name);
        let duplicate = match found {
            Some((_, socket)) => socket.try_clone().during("duplicating a listener"),
            None => Err(failure("looking for a listener", libc::ENOENT)),
        };
        match duplicate {
            Ok(socket) => self.answer(id, Ok(Reply::Done), &[socket]),
            Err(failure) => self.answer(id, Err(failure), &[]),
        }
    }

    fn copy_output(&mut self) {
        if let Some(output) = &self.output
            && self.log.copy(output) == Copied::End
        {
            self.output = None;
        }
    }

    /// Something came from init's way to the command.
    fn advance(&mut self) {
        let Some(run) = &mut self.run else { return };
        let result = match run.advance() {
            Progress::Waiting => return,
            Progress::Executing(pid) => Ok(Reply::Executing(pid)),
            Progress::Failed(failure) => Err(failure),
        };
        if let Some(id) = self.going.take() {
            self.answer(id, result, &[]);
        }
    }

    fn init_ended(&mut self) {
        // What happened before the end is told before it.
        while self.run.as_ref().is_some_and(|run| run.stage().is_some()) {
            self.advance();
        }
        let Some(run) = self.run.take() else { return };
        let was_executing = run.is_executing();
        let ended = run.reap();
        // All who could write are dead: this ends. The speed limit holds no more,
        // but a pipe's size does.
        while self.output.is_some() {
            self.copy_output();
        }
        if was_executing {
            self.last = Some(ended);
            self.tell(&FromKeeper::Ended(ended), &[]);
        }
    }

    fn status(&self) -> Status {
        let running = self.run.as_ref().filter(|run| run.is_executing()).map(|run| Running {
            init: run.init_pid(),
            command: run.command_pid(),
            since: run.since,
            notes: run.notes.clone(),
        });
        Status {
            pid: std::process::id(),
            cookie: self.cookie,
            setup: self.setup.clone(),
            running,
            last: self.last,
        }
    }

    fn answer(&mut self, id: u32, result: Result<Reply, Failure>, fds: &[OwnedFd]) {
        self.tell(&FromKeeper::Answer(id, result), fds);
    }

    fn tell(&mut self, message: &FromKeeper, fds: &[OwnedFd]) {
        let Some(gateway) = &self.gateway else { return };
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        if wire::send(gateway, message, &fds).is_err() {
            // It does not read or is gone: it can connect again and ask.
            self.gateway = None;
        }
    }
}

/// Whether the process at the other end may command this keeper.
///
/// That it could open the socket's path says that it is the gateway's user or
/// root. On top of that: it must not be a user of this sandbox.
fn may_command(peer: &OwnedFd, ids: Ids) -> bool {
    let Ok(credentials) = rustix::net::sockopt::socket_peercred(peer) else { return false };
    let user = credentials.uid.as_raw();
    match ids {
        Ids::Range { .. } => user == UNMAPPED,
        Ids::Single => user == rustix::process::geteuid().as_raw(),
    }
}

/// Which of `sources` are ready, at the latest after `timeout`.
fn wait_for<const N: usize>(
    sources: &[Option<rustix::fd::BorrowedFd<'_>>; N],
    timeout: Option<Duration>,
) -> [bool; N] {
    let mut polled: Vec<_> =
        sources.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    // Interrupted: nothing is ready, and the next turn asks again.
    let count = rustix::event::poll(&mut polled, timeout.as_ref()).unwrap_or(0);
    let mut results = polled.iter().map(|fd| count > 0 && !fd.revents().is_empty());
    let mut ready = [false; N];
    for (ready, source) in ready.iter_mut().zip(sources) {
        if source.is_some() {
            *ready = results.next().unwrap_or(false);
        }
    }
    ready
}
