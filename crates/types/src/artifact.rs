//! What a component is pinned to, and where one lies in a registry: digests and
//! OCI references, parsed once.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::name::BadName;

/// A SHA-256 digest. Written as 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256Digest {
    type Err = BadName;

    /// Takes 64 hexadecimal digits of either case, with or without `sha256:`
    /// before them.
    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName::new("SHA-256 digest", text, "64 hexadecimal digits");
        let digits = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        if digits.len() != 64 {
            return Err(bad());
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| {
                let digit = pair.get(at).copied().map(char::from).and_then(|c| c.to_digit(16));
                digit.and_then(|digit| u8::try_from(digit).ok()).ok_or_else(bad)
            };
            *byte = digit(0)? << 4 | digit(1)?;
        }
        Ok(Self(digest))
    }
}

/// Where an artifact lies in an OCI registry: `registry.example.org/team/policy:1`,
/// or `…@sha256:HEX`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OciReference {
    registry: String,
    repository: String,
    version: OciVersion,
}

/// Which version of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OciVersion {
    /// Whatever the tag points to: it may move.
    Tag(String),
    /// The manifest with this digest: always the same.
    Digest(Sha256Digest),
}

const OCI_FORM: &str = "HOST[:PORT]/NAME:TAG or HOST[:PORT]/NAME@sha256:HEX";

impl OciReference {
    /// `HOST` or `HOST:PORT`; lower case.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The host of the registry, without brackets and port.
    #[must_use]
    pub fn host(&self) -> &str {
        host(&self.registry)
    }

    /// `team/policy`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag or digest.
    #[must_use]
    pub fn version(&self) -> &OciVersion {
        &self.version
    }

    /// Whether the registry is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }
}

impl FromStr for OciReference {
    type Err = BadName;

    /// Takes what stands after `oci://`. A reference without tag and digest means
    /// the tag `latest`; one with both means the digest.
    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName::new("OCI reference", text, OCI_FORM);
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) if digest.starts_with("sha256:") => {
                (name, Some(digest.parse::<Sha256Digest>().map_err(|_| bad())?))
            }
            Some(_) => return Err(bad()),
            None => (text, None),
        };
        let (registry, path) = name.split_once('/').ok_or_else(bad)?;
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        let registry = registry.to_ascii_lowercase();
        let fine = is_registry(&registry)
            && repository.len() <= 255
            && repository.split('/').all(is_path_component)
            && tag.is_none_or(is_tag);
        if !fine {
            return Err(bad());
        }
        let version = match digest {
            Some(digest) => OciVersion::Digest(digest),
            None => OciVersion::Tag(tag.unwrap_or("latest").to_owned()),
        };
        Ok(Self { registry, repository: repository.to_owned(), version })
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match &self.version {
            OciVersion::Tag(tag) => write!(f, ":{tag}"),
            OciVersion::Digest(digest) => write!(f, "@sha256:{digest}"),
        }
    }
}

fn host(registry: &str) -> &str {
    if let Some(rest) = registry.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    registry.split(':').next().unwrap_or(registry)
}

fn is_registry(text: &str) -> bool {
    let after_host = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((ip, after)) if ip.parse::<std::net::Ipv6Addr>().is_ok() => after,
            _ => return false,
        },
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (name, after) = text.split_at(end);
            let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
            if !(1..=253).contains(&name.len()) || !name.bytes().all(fine) {
                return false;
            }
            after
        }
    };
    after_host.is_empty()
        || after_host
            .strip_prefix(':')
            .and_then(|port| port.parse::<u16>().ok())
            .is_some_and(|port| port != 0)
}

/// As the distribution specification has it: letters and digits, with separators
/// between them only.
fn is_path_component(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(plain)
        && bytes.last().copied().is_some_and(plain)
        && bytes.iter().all(|b| plain(*b) || matches!(b, b'.' | b'_' | b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_written_in_lower_case_and_read_in_either() {
        assert_eq!(Sha256Digest::of(b"").to_string(), HEX);
        for text in [HEX, &HEX.to_uppercase(), &format!("sha256:{HEX}")] {
            assert_eq!(text.parse(), Ok(Sha256Digest::of(b"")), "{text}");
        }
        for text in ["", &HEX[1..], &format!("{HEX}0"), &HEX.replace('e', "g"), "é"] {
            assert!(text.parse::<Sha256Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_reference_names_registry_repository_and_version() {
        let check = |text: &str, shown: &str, loopback: bool| {
            let reference: OciReference = text.parse().expect(text);
            assert_eq!(reference.to_string(), shown);
            assert_eq!(reference.is_loopback(), loopback, "{text}");
        };
        check("ghcr.io/a/b:1.2", "ghcr.io/a/b:1.2", false);
        check("Localhost:5000/a", "localhost:5000/a:latest", true);
        check("127.0.0.1:5000/a-b/c_d:v1", "127.0.0.1:5000/a-b/c_d:v1", true);
        check("[::1]:5000/a", "[::1]:5000/a:latest", true);
        let digest = format!("ghcr.io/a@sha256:{HEX}");
        check(&digest, &digest, false);
        check(&format!("ghcr.io/a:1@sha256:{HEX}"), &digest, false);
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            "a",
            "/a",
            "ghcr.io/",
            "ghcr.io/A",
            "ghcr.io/a//b",
            "ghcr.io/../a",
            "ghcr.io/a:",
            "ghcr.io/a:.x",
            "ghcr.io:0/a",
            "ghcr.io:x/a",
            "user@ghcr.io/a",
            "ghcr.io/a@md5:0",
            "ghcr.io/a@sha256:0",
            "[::1/a",
            "a b/c",
        ] {
            assert!(text.parse::<OciReference>().is_err(), "{text}");
        }
    }
}
