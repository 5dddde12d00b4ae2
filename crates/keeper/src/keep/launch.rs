//! From the process that the gateway started to a keeper of its own: forked off,
//! in its own session and namespaces.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::net::{AddressFamily, SocketType};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use tidegate_keeper::protocol::{APP_ID, Call, Failure, FromKeeper, Ids, Request, Setup};
use tidegate_keeper::sys::process::{self, Forked};
use tidegate_keeper::wire;

use super::control::Keeper;
use super::network;
use crate::failure::{During, failure};

/// Reads what it is to keep from the socket at 0, forks the keeper off and ends
/// when the keeper no longer needs it.
pub(crate) fn launch() -> ExitCode {
    process::close_from(3);
    be_as_killable_as_others();
    let Some(gateway) = process::inherited(0) else { return ExitCode::from(2) };
    let (request, fds) = match wire::receive::<Request>(&gateway) {
        Ok(Some(message)) => message,
        Ok(None) | Err(_) => return ExitCode::from(2),
    };
    let Call::Setup(setup) = request.call else { return ExitCode::from(2) };
    match fork_keeper(&gateway, request.id, setup, fds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&gateway, request.id, failure);
            ExitCode::FAILURE
        }
    }
}

/// A gateway that its service manager shields from the out-of-memory killer must
/// not hand that on to tenants. Raising is always allowed; nothing to do at 0.
fn be_as_killable_as_others() {
    const FILE: &str = "/proc/self/oom_score_adj";
    let shielded = fs::read_to_string(FILE).is_ok_and(|value| value.starts_with('-'));
    if shielded {
        drop(fs::write(FILE, "0"));
    }
}

fn tell(gateway: &OwnedFd, id: u32, failure: Failure) {
    // If the gateway is gone there is nobody to tell, and we end all the same.
    drop(wire::send(gateway, &FromKeeper::Answer(id, Err(failure)), &[]));
}

fn fork_keeper(gateway: &OwnedFd, id: u32, setup: Setup, fds: Vec<OwnedFd>) -> Result<(), Failure> {
    // The keeper cannot map users into its own namespace beyond its own one: this
    // process, still outside, does it, and each tells the other when.
    let (to_us, from_keeper) = std::io::pipe().during("making a pipe")?;
    let (to_keeper, from_us) = std::io::pipe().during("making a pipe")?;
    let ids = setup.ids;
    match process::fork(UnshareFlags::empty()).during("forking the keeper")? {
        Forked::Child => {
            drop((to_us, from_us));
            let ready = || {
                let mut from_keeper = from_keeper;
                let mut to_keeper = to_keeper;
                enter_namespaces(ids, || {
                    from_keeper.write_all(b"u").during("asking for its users")?;
                    drop(from_keeper);
                    let mut answer = [0];
                    to_keeper.read_exact(&mut answer).during("waiting for its users")
                })?;
                become_keeper(gateway, setup, fds)
            };
            match ready() {
                Ok(keeper) => keeper.serve(id),
                Err(failure) => tell(gateway, id, failure),
            }
            process::exit(0);
        }
        Forked::Parent(keeper) => {
            drop((from_keeper, to_keeper));
            let (mut to_us, mut from_us) = (to_us, from_us);
            let mut asked = [0];
            // The end of the pipe: the keeper failed and has told why.
            if to_us.read_exact(&mut asked).is_err() {
                return Ok(());
            }
            write_id_maps(keeper.pid, ids)?;
            from_us.write_all(b"m").during("telling the keeper its users")
        }
    }
}

/// Moves this process into a session, user namespace and network namespace of its
/// own. `mapped` returns once the user namespace has its users.
pub(crate) fn enter_namespaces(
    ids: Ids,
    mapped: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    // Ctrl-C at the gateway's terminal is not meant for us.
    rustix::process::setsid().during("making a session")?;
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    if let Ids::Range { .. } = ids {
        rustix::thread::set_thread_groups(&[]).during("leaving its groups")?;
    }
    process::unshare(UnshareFlags::NEWUSER).during("making a user namespace")?;
    match ids {
        Ids::Range { .. } => {
            mapped()?;
            process::become_user(0).during("becoming the user of its namespace")?;
        }
        Ids::Single => {
            let write = |file: &str, text: String| {
                fs::write(format!("/proc/self/{file}"), text).during("mapping its user")
            };
            write("setgroups", "deny".into())?;
            write("uid_map", format!("{APP_ID} {} 1", user.as_raw()))?;
            write("gid_map", format!("{APP_ID} {} 1", group.as_raw()))?;
            mapped()?;
        }
    }
    process::unshare(UnshareFlags::NEWNET).during("making a network namespace")
}

/// Gives the user namespace of `keeper` its users, from outside.
fn write_id_maps(keeper: Pid, ids: Ids) -> Result<(), Failure> {
    let Ids::Range { first, count } = ids else { return Ok(()) };
    let pid = keeper.as_raw_nonzero();
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{pid}/{file}"), format!("0 {first} {count}"))
            .during("mapping its users")?;
    }
    Ok(())
}

fn become_keeper(gateway: &OwnedFd, setup: Setup, fds: Vec<OwnedFd>) -> Result<Keeper, Failure> {
    rustix::process::chdir("/").during("leaving its directory")?;
    // Nothing of the gateway's standard streams is kept open.
    let null = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .during("opening /dev/null")?;
    let gateway = gateway.try_clone().during("keeping its socket")?;
    for number in 0..3 {
        process::place(null.as_fd(), number).during("detaching its streams")?;
    }
    // Another process of the same user must not read secrets from our memory.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .during("hiding its memory")?;

    network::bring_up()?;
    let listeners = setup
        .listeners
        .iter()
        .map(|(name, address)| Ok((name.clone(), network::listen(*address)?)))
        .collect::<Result<Vec<_>, Failure>>()?;

    let mut fds = fds.into_iter();
    let (Some(control), Some(logs)) = (fds.next(), fds.next()) else {
        return Err(failure("receiving its descriptors", libc::EBADF));
    };
    let is_unix = rustix::net::sockopt::socket_domain(&control) == Ok(AddressFamily::UNIX)
        && rustix::net::sockopt::socket_type(&control) == Ok(SocketType::SEQPACKET);
    if !is_unix {
        return Err(failure("checking its control socket", libc::ENOTSOCK));
    }
    // From here on SO_PEERCRED tells a gateway that it talks to us: listen is what
    // records the credentials.
    rustix::net::listen(&control, 16).during("listening on its control socket")?;
    Keeper::new(setup, gateway, control, logs, listeners, fds.next())
}
