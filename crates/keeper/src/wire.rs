//! Messages with descriptors over one `SOCK_SEQPACKET` socket.
//!
//! A message is one packet. What does not fit (a large environment) travels in a
//! sealed memory file as the first descriptor: nothing of it touches a disk.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// Descriptors that one message may carry: the kernel's `SCM_MAX_FD` is 253.
pub const MAX_FDS: usize = 240;

/// Bytes of a packet, its leading mark included: less than the smallest default
/// socket buffer.
const PACKET: usize = 48 << 10;

/// Bytes of a message that travels in memory; more is refused by the receiver.
const LARGE: u64 = 8 << 20;

const INLINE: u8 = 0;
const IN_MEMORY: u8 = 1;

/// Sends `message` and `fds`. On a non-blocking socket: `WouldBlock` when its
/// buffer is full, with nothing sent.
///
/// # Errors
/// The system's, or `InvalidInput` for too many descriptors.
pub fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if fds.len() > MAX_FDS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    // Secrets may be in there.
    let body = Zeroizing::new(postcard::to_stdvec(message).map_err(io::Error::other)?);
    if body.len() < PACKET {
        return send_packet(socket, &[INLINE], &body, fds);
    }
    let file = in_memory(&body)?;
    let mut all = Vec::with_capacity(fds.len() + 1);
    all.push(file.as_fd());
    all.extend_from_slice(fds);
    send_packet(socket, &[IN_MEMORY], &[], &all)
}

/// Receives a message and its descriptors, which are close-on-exec. `None` at the
/// end of the connection.
///
/// # Errors
/// The system's, `WouldBlock` included; `InvalidData` when it is no `T`.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = Zeroizing::new(vec![0; PACKET + 1]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            socket.as_fd(),
            &mut [IoSliceMut::new(&mut buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(invalid("a message was cut off"));
    }
    let packet = buffer.get(..received.bytes).unwrap_or_default();
    match packet.split_first() {
        Some((&INLINE, body)) => Ok(Some((decode(body)?, fds))),
        Some((&IN_MEMORY, _)) if !fds.is_empty() => {
            let file = fds.remove(0);
            Ok(Some((decode(&from_memory(&file)?)?, fds)))
        }
        _ => Err(invalid("a message has an unknown form")),
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    postcard::from_bytes(body).map_err(|_| invalid("a message says nothing known"))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn send_packet(
    socket: impl AsFd,
    mark: &[u8],
    body: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(
            socket.as_fd(),
            &[IoSlice::new(mark), IoSlice::new(body)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })?;
    Ok(())
}

fn in_memory(body: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create(
        c"tidegate-message",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )?;
    let mut rest = body;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(file)
}

fn from_memory(file: &OwnedFd) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(u64::MAX);
    if length > LARGE {
        return Err(invalid("a message is too large"));
    }
    // Sealed: the length cannot change any more.
    let mut body = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
    let mut at = 0;
    while let Some(rest) = body.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, at as u64)? {
            0 => return Err(invalid("a message ends early")),
            read => at += read,
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("a socket pair")
    }

    #[test]
    fn small_and_large_messages_arrive_with_their_descriptors_in_order() {
        for length in [0, 10, PACKET - 8, PACKET, 1 << 20] {
            let (here, there) = pair();
            let text = "x".repeat(length);
            send(&here, &text, &[here.as_fd(), there.as_fd()]).expect("sends");
            let (got, fds) = receive::<String>(&there).expect("receives").expect("a message");
            assert_eq!(got.len(), length);
            assert_eq!(fds.len(), 2);
            let inode = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).expect("stat").st_ino;
            assert_eq!(inode(fds[0].as_fd()), inode(here.as_fd()));
            assert_eq!(inode(fds[1].as_fd()), inode(there.as_fd()));
        }
    }

    #[test]
    fn the_end_of_a_connection_is_none_and_nonsense_is_an_error() {
        let (here, there) = pair();
        rustix::net::send(&here, &[9, 9], SendFlags::empty()).expect("sends");
        assert!(receive::<String>(&there).is_err());
        drop(here);
        assert!(receive::<String>(&there).expect("no error").is_none());
    }
}
