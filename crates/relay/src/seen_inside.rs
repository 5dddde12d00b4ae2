//! The client's address as a sandbox may see it.
//!
//! Some addresses mean something else inside: loopback is the sandbox itself, which
//! applications trust, and two addresses are the gateway's own. A client that has
//! one of these (a browser on the gateway's machine) appears as a neighbour: an
//! address that is nobody's, so that nobody is taken for somebody trusted.

use std::net::{IpAddr, Ipv4Addr};

/// Who calls from the gateway's own machine; of the shared address space (RFC 6598).
const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 3));

/// What the gateway itself is inside: where it dials from, where upstreams are.
const OURS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1)), IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2))];

/// The address by which an application may know a client.
pub(crate) fn seen_inside(client: IpAddr) -> IpAddr {
    let plain = client.to_canonical();
    let means_another = plain.is_loopback() || plain.is_unspecified() || OURS.contains(&plain);
    if means_another { NEIGHBOUR } else { client }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_appears_as_the_sandbox_itself_or_as_the_gateway() {
        let check = |client: &str, seen: &str| {
            let client: IpAddr = client.parse().expect("an address");
            assert_eq!(seen_inside(client).to_string(), seen);
        };
        for client in [
            "127.0.0.1",
            "127.8.9.1",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "100.64.0.1",
            "100.64.0.2",
        ] {
            check(client, "100.64.0.3");
        }
        check("203.0.113.7", "203.0.113.7");
        check("2001:db8::1", "2001:db8::1");
    }
}
