//! Connections into a sandbox, and listeners in it.

use std::io;
use std::net::TcpStream as StdStream;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tidegate_keeper::protocol::{Call, Family};
use tidegate_sandbox::driver::{Dialled, DriverError, SandboxId};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::driver::LinuxDriver;
use crate::sandbox::{Sandbox, system};

impl LinuxDriver {
    pub(crate) async fn dial_port(
        &self,
        id: &SandboxId,
        port: u16,
        from: IpAddr,
    ) -> Result<Dialled, DriverError> {
        let sandbox = self.find(id).await?;
        let first = attempt(&sandbox, port, from).await?;
        let stream = match first {
            Ok(stream) => Ok(stream),
            // An application may listen on one of the two loopbacks only.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                attempt(&sandbox, port, in_other_family(from)).await?
            }
            Err(error) => Err(error),
        };
        match stream {
            Ok(stream) => Ok(Dialled::Tcp(stream)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(DriverError::Refused { key: id.key.clone(), port })
            }
            Err(error) => Err(system(id, "connecting", error)),
        }
    }

    pub(crate) async fn hand_out_listener(
        &self,
        id: &SandboxId,
        name: &str,
    ) -> Result<TcpListener, DriverError> {
        let sandbox = self.find(id).await?;
        let step = format!("finding its listener `{name}`");
        let call = Call::Listener { name: name.to_owned() };
        let (_, sockets) =
            sandbox.link.call(call, &[]).await.map_err(|error| system(id, &step, error))?;
        let family = match sockets.first().map(rustix::net::sockopt::socket_domain) {
            Some(Ok(rustix::net::AddressFamily::INET6)) => Family::V6,
            _ => Family::V4,
        };
        let mut sockets = sandbox.checked(sockets, family)?;
        let socket = sockets.pop().ok_or_else(|| system(id, &step, io::ErrorKind::NotFound))?;
        TcpListener::from_std(socket.into()).map_err(|error| system(id, &step, error))
    }
}

/// One connection from `from` to loopback of the same family. The inner error is
/// the connection's.
async fn attempt(
    sandbox: &Arc<Sandbox>,
    port: u16,
    from: IpAddr,
) -> Result<io::Result<TcpStream>, DriverError> {
    let (family, to) = match from {
        IpAddr::V4(_) => (Family::V4, IpAddr::V4(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(_) => (Family::V6, IpAddr::V6(Ipv6Addr::LOCALHOST)),
    };
    let socket = sandbox.socket(family).await?;
    let socket = TcpSocket::from_std_stream(StdStream::from(socket));
    let connect = async {
        socket.bind(SocketAddr::new(from, 0))?;
        let stream = socket.connect(SocketAddr::new(to, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    Ok(connect.await)
}

/// The same client in the other family: an IPv4 address within `64:ff9b::/96`
/// (RFC 6052) and back. An IPv6 client that has no such form appears as the
/// gateway; never as loopback, which applications trust.
fn in_other_family(address: IpAddr) -> IpAddr {
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            let mut bytes = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            if let Some(tail) = bytes.last_chunk_mut() {
                *tail = [a, b, c, d];
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        IpAddr::V6(_) => IpAddr::V4(GATEWAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_never_looks_like_loopback_in_the_other_family() {
        let check = |from: &str, to: &str| {
            let from: IpAddr = from.parse().expect("an address");
            assert_eq!(in_other_family(from).to_string(), to);
        };
        check("100.64.0.1", "64:ff9b::6440:1");
        check("203.0.113.7", "64:ff9b::cb00:7107");
        check("2001:db8::1", "100.64.0.1");
    }
}
