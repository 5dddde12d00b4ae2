//! Ports that nobody else uses.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below the range from which the system takes ports of outgoing connections: one
/// of those could otherwise sit on a port while a gateway is being restarted.
const RANGE: std::ops::Range<u16> = 10_000..32_000;

/// A loopback address that is free now, chosen at random so that tests that run at
/// the same time don't meet.
pub(super) fn free() -> SocketAddr {
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(RANGE)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
