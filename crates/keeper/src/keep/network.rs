//! The network of a sandbox: loopback, and every address local on it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use tidegate_keeper::protocol::{Failure, Family};
use tidegate_keeper::sys::socket::set_ipv6_freebind;

use crate::failure::{During, failure};

/// Loopback's number in every network namespace.
const LOOPBACK: u32 = 1;

/// Connections that wait for the gateway while it is restarted.
const BACKLOG: i32 = 1024;

/// Brings loopback up and makes each address of the Internet deliverable on it.
pub(crate) fn bring_up() -> Result<(), Failure> {
    let netlink = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // Protocol 0: routing.
        None,
    )
    .during("opening netlink")?;
    rustix::net::bind(&netlink, &SocketAddrNetlink::new(0, 0)).during("opening netlink")?;
    ask(&netlink, &link_up()).during("bringing loopback up")?;
    ask(&netlink, &everything_local(libc::AF_INET)).during("making every address local")?;
    match ask(&netlink, &everything_local(libc::AF_INET6)) {
        // A machine without IPv6 has no addresses that could be reached.
        Err(error)
            if error == rustix::io::Errno::AFNOSUPPORT || error == rustix::io::Errno::OPNOTSUPP =>
        {
            Ok(())
        }
        other => other.during("making every IPv6 address local"),
    }
}

/// `RTM_NEWLINK`: `struct ifinfomsg` that sets IFF_UP.
fn link_up() -> Vec<u8> {
    let up = u32::try_from(libc::IFF_UP).unwrap_or(1);
    let mut body = vec![0, 0, 0, 0];
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend(up.to_ne_bytes());
    body.extend(up.to_ne_bytes());
    message(libc::RTM_NEWLINK, 0, &body)
}

/// `RTM_NEWROUTE`: `struct rtmsg` for `local default dev lo`, table `local`.
fn everything_local(family: libc::c_int) -> Vec<u8> {
    // A byte each: destination length 0 is every address.
    let mut body = vec![
        u8::try_from(family).unwrap_or(0),
        0,
        0,
        0,
        libc::RT_TABLE_LOCAL,
        libc::RTPROT_BOOT,
        libc::RT_SCOPE_HOST,
        libc::RTN_LOCAL,
    ];
    body.extend(0u32.to_ne_bytes());
    // One attribute, RTA_OIF: length 8, then the interface.
    body.extend(8u16.to_ne_bytes());
    body.extend(libc::RTA_OIF.to_ne_bytes());
    body.extend(LOOPBACK.to_ne_bytes());
    message(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &body)
}

fn message(kind: u16, flags: libc::c_int, body: &[u8]) -> Vec<u8> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags;
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(u16::try_from(flags).unwrap_or(0).to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(body);
    message
}

/// Sends a request and reads its acknowledgement: `NLMSG_ERROR` with an error
/// number, 0 for none, after the 16 bytes of header.
fn ask(netlink: &OwnedFd, message: &[u8]) -> rustix::io::Result<()> {
    rustix::net::send(netlink, message, SendFlags::empty())?;
    let mut answer = [0u8; 1024];
    rustix::net::recv(netlink, &mut answer, RecvFlags::empty())?;
    let (_, error) = answer.split_at(16);
    let error = error.first_chunk().map_or(-libc::EIO, |bytes| i32::from_ne_bytes(*bytes));
    if error == 0 { Ok(()) } else { Err(rustix::io::Errno::from_raw_os_error(-error)) }
}

/// A listening TCP socket.
pub(crate) fn listen(address: SocketAddr) -> Result<OwnedFd, Failure> {
    let step = format!("listening on {address}");
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .during(&step)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).during(&step)?;
    if address.is_ipv6() {
        set_ipv6_freebind(&socket).during(&step)?;
    }
    rustix::net::bind(&socket, &address).during(&step)?;
    rustix::net::listen(&socket, BACKLOG).during(&step)?;
    Ok(socket)
}

/// Sockets that the gateway connects to whatever listens inside.
pub(crate) fn sockets(family: Family, count: u8) -> Result<Vec<OwnedFd>, Failure> {
    if usize::from(count) > tidegate_keeper::wire::MAX_FDS {
        return Err(failure("making sockets", libc::EINVAL));
    }
    (0..count).map(|_| socket(family).during("making sockets")).collect()
}

fn socket(family: Family) -> std::io::Result<OwnedFd> {
    let domain = match family {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(domain, SocketType::STREAM, flags, None)?;
    match family {
        Family::V4 => rustix::net::sockopt::set_ip_freebind(&socket, true)?,
        Family::V6 => set_ipv6_freebind(&socket)?,
    }
    Ok(socket)
}

/// A socket that is never connected, to ask for the namespace's cookie.
pub(crate) fn any_socket() -> std::io::Result<OwnedFd> {
    let socket = socket(Family::V4)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    Ok(socket)
}
