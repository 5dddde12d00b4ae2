//! Which network namespace a socket belongs to.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `SO_NETNS_COOKIE`: a number that no other network namespace of this machine
/// has, until it is rebooted.
///
/// # Errors
/// The system's.
pub fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).unwrap_or(8);
    // SAFETY: `cookie` has room for the eight bytes that `length` states, and both
    // live through the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Lets an IPv6 socket bind to an address that no interface has.
///
/// # Errors
/// The system's.
pub fn set_ipv6_freebind(socket: impl AsFd) -> io::Result<()> {
    let yes: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: the option takes an int, which is what `yes` is, and only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_IPV6,
            libc::IPV6_FREEBIND,
            (&raw const yes).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
