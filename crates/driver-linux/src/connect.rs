//! Control sockets by path: making one for a keeper, finding the keeper behind one.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tidegate_keeper::protocol::CONTROL_SOCKET;

use crate::files;
use crate::state::Record;

/// A socket's path may have 107 bytes, ours are longer: they are reached through
/// the directory's descriptor.
fn address(directory: &OwnedFd) -> io::Result<SocketAddrUnix> {
    let path = format!("/proc/self/fd/{}/{CONTROL_SOCKET}", directory.as_raw_fd());
    Ok(SocketAddrUnix::new(path)?)
}

fn socket() -> io::Result<OwnedFd> {
    let (unix, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(rustix::net::socket_with(unix, kind, SocketFlags::CLOEXEC, None)?)
}

/// Binds a control socket in `directory`; the keeper will listen on it.
pub(crate) fn bind(directory: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(directory.join(CONTROL_SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let handle = files::open_directory(directory)?;
    let socket = socket()?;
    rustix::net::bind(&socket, &address(&handle)?)?;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::chmodat(&handle, CONTROL_SOCKET, mode, rustix::fs::AtFlags::empty())?;
    Ok(socket)
}

/// Connects to the keeper of the sandbox in `directory`; `None` when there is none.
///
/// # Errors
/// The system's, and `PermissionDenied` when it is not this sandbox's keeper that
/// listens there.
pub(crate) fn connect(directory: &Path, record: &Record) -> io::Result<Option<OwnedFd>> {
    let handle = match files::open_directory(directory) {
        Ok(handle) => handle,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let socket = socket()?;
    match rustix::net::connect(&socket, &address(&handle)?) {
        Ok(()) => {}
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // As it was when the keeper began to listen: user 0 of its own namespace, which
    // the tenant cannot become.
    let user = rustix::net::sockopt::socket_peercred(&socket)?.uid.as_raw();
    let expected = record.user(0).unwrap_or_else(|| rustix::process::geteuid().as_raw());
    if user != expected {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {user} listens on the control socket instead of user {expected}"),
        ));
    }
    Ok(Some(socket))
}
