//! The proxies whose word about the client is believed.

use std::net::IpAddr;
use std::str::FromStr;

/// Networks of proxies that stand in front of the gateway. Only from them are
/// `X-Forwarded-For` and `X-Forwarded-Proto` believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    /// An IPv4 network is kept as its IPv4-mapped IPv6 one.
    bits: u128,
    mask: u128,
}

/// What was given is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or a network such as `10.0.0.0/8`")]
pub struct BadNetwork(pub String);

impl TrustedProxies {
    /// Reads addresses (`192.0.2.7`, `::1`) and networks (`10.0.0.0/8`).
    ///
    /// # Errors
    /// The first entry that is neither.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, BadNetwork> {
        entries.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `address` is such a proxy.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = mapped(address);
        self.0.iter().any(|network| bits & network.mask == network.bits)
    }

    /// The client behind `peer`: the last address of `chain` (the values of
    /// `X-Forwarded-For`, joined) that is not itself a trusted proxy. What stands
    /// left of it was said by the client and proves nothing.
    pub(crate) fn client<'a>(
        &self,
        peer: IpAddr,
        chain: impl DoubleEndedIterator<Item = &'a str>,
    ) -> IpAddr {
        let mut client = peer;
        for entry in chain.rev() {
            if !self.contains(client) {
                break;
            }
            // An entry that is no address ends the chain of what is known.
            let Some(address) = address(entry.trim()) else { break };
            client = address;
        }
        client
    }
}

/// `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::1`, `[2001:db8::1]:4711`.
fn address(entry: &str) -> Option<IpAddr> {
    if let Ok(address) = entry.parse() {
        return Some(address);
    }
    if let Ok(address) = entry.parse::<std::net::SocketAddr>() {
        return Some(address.ip());
    }
    entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(entry: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(entry.to_owned());
        let (address, prefix) = match entry.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (entry, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let (width, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix: u32 = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| bad())?,
            None => width,
        };
        if prefix > width {
            return Err(bad());
        }
        let mask = u128::MAX.checked_shl(128 - offset - prefix).unwrap_or(0);
        Ok(Self { bits: mapped(address) & mask, mask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_of_the_chain_that_trusted_proxies_wrote_is_believed() {
        let trusted = TrustedProxies::parse(["10.0.0.0/8", "::1"]).unwrap();
        let check = |peer: &str, chain: &str, expected: &str| {
            let client = trusted.client(peer.parse().unwrap(), chain.split(','));
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{peer} {chain}");
        };
        check("10.1.1.1", "203.0.113.9", "203.0.113.9");
        check("10.1.1.1", "6.6.6.6, 203.0.113.9, 10.2.2.2", "203.0.113.9");
        check("203.0.113.1", "6.6.6.6", "203.0.113.1");
        check("10.1.1.1", "nonsense", "10.1.1.1");
        check("10.1.1.1", "6.6.6.6, unknown, 10.9.9.9", "10.9.9.9");
        check("::1", "[2001:db8::1]:99", "2001:db8::1");
        check("::ffff:10.1.1.1", "203.0.113.9:80", "203.0.113.9");
    }

    #[test]
    fn networks_are_read_strictly() {
        for bad in ["", "10.0.0.0/33", "::/129", "example.org", "10.0.0.0/x"] {
            assert!(TrustedProxies::parse([bad]).is_err(), "{bad}");
        }
        assert!(TrustedProxies::parse(["0.0.0.0/0"]).unwrap().contains([9, 9, 9, 9].into()));
        assert!(!TrustedProxies::default().contains([127, 0, 0, 1].into()));
    }
}
