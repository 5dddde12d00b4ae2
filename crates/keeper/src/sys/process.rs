//! Making processes and becoming another.
//!
//! INVARIANT: the functions here that change the calling process are only called
//! by the keeper program, which has one thread.

use std::ffi::CString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The one that forked.
    Parent(Child),
}

/// A new process, as its parent sees it.
#[derive(Debug)]
pub struct Child {
    /// Its number in our pid namespace.
    pub pid: Pid,
    /// Itself.
    pub pidfd: OwnedFd,
}

/// Forks; the child is in new namespaces as `namespaces` says, none for a plain
/// fork.
///
/// # Errors
/// The system's: `EPERM`, `ENOSPC` and `EUSERS` say that the machine does not
/// allow (more) namespaces.
pub fn fork(namespaces: UnshareFlags) -> io::Result<Forked> {
    let mut pidfd: libc::c_int = -1;
    let flags = u64::from(namespaces.bits())
        | u64::from((libc::CLONE_PIDFD | libc::SIGCHLD).unsigned_abs());
    // SAFETY: without CLONE_VM this is a fork: the child goes on with a copy of
    // memory and of this stack (the null pointer says so). The process has one
    // thread, so no lock is held by a thread that the child lacks. With
    // CLONE_PIDFD the third argument is where the parent's new descriptor goes.
    let result =
        unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, &raw mut pidfd, 0usize, 0usize) };
    match result {
        0 => Ok(Forked::Child),
        pid if pid > 0 => {
            // SAFETY: the kernel has just put a new descriptor there, ours alone.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            Ok(Forked::Parent(Child { pid: pid.ok_or(io::ErrorKind::Other)?, pidfd }))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Moves this process into new namespaces of these kinds.
///
/// # Errors
/// The system's.
pub fn unshare(namespaces: UnshareFlags) -> io::Result<()> {
    let allowed = UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWCGROUP;
    // SAFETY: after the mask FILES cannot be among the flags, which is the one
    // that can be misused.
    Ok(unsafe { rustix::thread::unshare_unsafe(namespaces & allowed) }?)
}

/// Becomes user and group `id`, without other groups where that is allowed.
///
/// # Errors
/// The system's.
pub fn become_user(id: u32) -> io::Result<()> {
    // SAFETY: none of these calls takes a pointer that it follows (an empty group
    // list is read for zero elements). They act on the only thread.
    unsafe {
        // Where only one user is mapped, groups cannot be changed: EPERM.
        libc::syscall(libc::SYS_setgroups, 0usize, std::ptr::null::<libc::gid_t>());
        if libc::syscall(libc::SYS_setresgid, id, id, id) != 0
            || libc::syscall(libc::SYS_setresuid, id, id, id) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Duplicates `from` to exactly `to`, which stays open over an exec.
///
/// # Errors
/// The system's.
pub fn place(from: impl std::os::fd::AsFd, to: i32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: takes numbers only. What was open as `to` is closed, which the
    // callers want: they do it right before an exec or for 0, 1, 2.
    let result = unsafe { libc::dup2(from.as_fd().as_raw_fd(), to) };
    if result == to { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes a descriptor that this program was started with.
///
/// `None` when it is not open. Must be called at most once per number.
#[must_use]
pub fn inherited(number: i32) -> Option<OwnedFd> {
    // SAFETY: F_GETFD takes no pointer; if it succeeds the number is an open
    // descriptor. Nobody else in this program has taken it: it stood open before
    // `main`, and each caller names its own number once.
    unsafe {
        if libc::fcntl(number, libc::F_GETFD) < 0 {
            return None;
        }
        libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
        Some(OwnedFd::from_raw_fd(number))
    }
}

/// Closes every descriptor from `first` on.
///
/// Only for the first moments of a program, before it has opened any.
pub fn close_from(first: u32) {
    // SAFETY: takes numbers only. No `OwnedFd` exists yet, as stated.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Marks every descriptor from `first` on to be closed by the next exec.
///
/// # Errors
/// The system's.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: takes numbers only and closes nothing now.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Becomes another program. Returns only when that failed, with the reason.
#[must_use]
pub fn execute(program: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| {
        let mut all: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
        all.push(std::ptr::null());
        all
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays hold pointers to C strings that outlive the call and end
    // with a null pointer.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once, running nothing.
pub fn exit(code: i32) -> ! {
    // SAFETY: takes a number and does not return; skipping destructors is what
    // the callers, children of a fork, want.
    unsafe { libc::_exit(code) }
}
