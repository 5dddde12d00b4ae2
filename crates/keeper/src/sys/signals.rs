//! Signals as descriptors, and signals to process groups.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// A descriptor that is readable whenever a child has ended. SIGCHLD is blocked
/// from then on.
///
/// # Errors
/// The system's.
pub fn children() -> io::Result<OwnedFd> {
    // SAFETY: a zeroed sigset_t is a valid argument for sigemptyset, which
    // initialises it; all three calls only touch this local; signalfd returns a
    // new descriptor that nobody else owns.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Puts every signal's handling and the signal mask back to what a new program
/// expects.
pub fn reset() {
    // SAFETY: SIG_DFL is a valid disposition for every signal; numbers that do not
    // exist or cannot be changed make the call fail without effect. The set is
    // initialised by sigemptyset before it is used.
    unsafe {
        for signal in 1..65 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Sends SIGTERM to the whole process group of a process, which must lead it.
///
/// # Errors
/// The system's; `NotFound` kinds when it has ended.
pub fn terminate_group(pidfd: impl AsFd, pid: rustix::process::Pid) -> io::Result<()> {
    // SAFETY: the call takes no pointers but the null one for siginfo.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            libc::SIGTERM,
            std::ptr::null::<libc::siginfo_t>(),
            libc::PIDFD_SIGNAL_PROCESS_GROUP,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EINVAL) {
        return Err(error);
    }
    // Before Linux 6.9: by number, once we know that it still means this process.
    rustix::process::pidfd_send_signal(pidfd.as_fd(), rustix::process::Signal::TERM)?;
    Ok(rustix::process::kill_process_group(pid, rustix::process::Signal::TERM)?)
}
