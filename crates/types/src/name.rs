//! Names and ids: every map's keys, each a type of its own.
//!
//! A name that a person or a plugin typed is *parsed* once, at the edge, and is
//! valid from then on. Limits are bytes of UTF-8.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// Why a name was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a {kind}: {expected}")]
pub struct BadName {
    /// What was being named: `tenant`, `sandbox name`.
    pub kind: &'static str,
    /// The offending value, cut to 80 characters and with control characters replaced.
    pub value: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

impl BadName {
    pub(crate) fn new(kind: &'static str, value: &str, expected: &'static str) -> Self {
        let value =
            value.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Self { kind, value, expected }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $valid:path, $expected:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts `value` as it stands.
            ///
            /// # Errors
            /// [`BadName`] when it is outside the allowed form.
            pub fn new(value: &str) -> Result<Self, BadName> {
                if $valid(value) {
                    Ok(Self(Arc::from(value)))
                } else {
                    Err(BadName::new($kind, value, $expected))
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(value: &str) -> Result<Self, BadName> {
                Self::new(value)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

const LABEL: &str = "1 to 63 characters of a-z, 0-9 and -";
const OPAQUE: &str = "1 to 256 bytes without control characters";

fn is_label(value: &str) -> bool {
    (1..=63).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_opaque(value: &str) -> bool {
    (1..=256).contains(&value.len()) && !value.chars().any(char::is_control)
}

name! {
    /// The unit of isolation and billing; keys in every map begin with it.
    TenantId, "tenant", is_opaque, OPAQUE
}
name! {
    /// A user or service within a tenant.
    SubjectId, "subject", is_opaque, OPAQUE
}
name! {
    /// What a sandbox is called within its tenant. See [`SandboxName::normalise`].
    SandboxName, "sandbox name", is_label, LABEL
}
name! {
    /// A template of the operator's configuration.
    TemplateName, "template name", is_label, LABEL
}
name! {
    /// A plugin of the operator's configuration.
    PluginName, "plugin name", is_label, LABEL
}
name! {
    /// An upstream of the operator's configuration; reachable in sandboxes as
    /// `http://NAME.upstream.internal/`.
    UpstreamName, "upstream name", is_label, LABEL
}

/// Characters of the digest at the end of a normalised name: 26 × 5 bits.
const DIGEST_LEN: usize = 26;

impl SandboxName {
    /// Turns what a plugin called a sandbox into a name, such that different
    /// inputs never share one.
    ///
    /// A value that is a valid name already stays as it is: `user-42`. Anything
    /// else becomes what is legible of it, `--`, and 130 bits of its SHA-256 in
    /// base 32: `user-Ann@x.org` → `user-ann-x-org--mpwh6ocrbdrkvpli2b4inn53oh…`. A valid name that
    /// *looks like* such a result is treated as "anything else", so that nobody
    /// can choose a name that another's is turned into.
    ///
    /// # Errors
    /// [`BadName`] for an empty value, one of more than 256 bytes, or one with
    /// control characters.
    pub fn normalise(value: &str) -> Result<Self, BadName> {
        if !is_opaque(value) {
            return Err(BadName::new("sandbox name", value, OPAQUE));
        }
        Ok(Self(Arc::from(normalise(value))))
    }
}

impl TenantId {
    /// The tenant as one component of a path or host name, by the rule of
    /// [`SandboxName::normalise`].
    #[must_use]
    pub fn path_component(&self) -> String {
        normalise(&self.0)
    }
}

fn normalise(value: &str) -> String {
    if is_label(value) && !looks_digested(value) {
        return value.to_owned();
    }
    // 63 = legible part + "--" + digest.
    const LEGIBLE: usize = 63 - 2 - DIGEST_LEN;
    let legible: String = value
        .chars()
        .take(LEGIBLE)
        .map(|c| {
            let c = c.to_ascii_lowercase();
            if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }
        })
        .collect();
    let mut name = legible;
    name.push_str("--");
    name.push_str(&base32(&Sha256::digest(value.as_bytes())));
    name
}

fn looks_digested(value: &str) -> bool {
    let Some(split) = value.len().checked_sub(DIGEST_LEN + 2) else { return false };
    let (head, digest) = value.as_bytes().split_at(split);
    let _ = head;
    digest.starts_with(b"--") && digest[2..].iter().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
}

fn base32(digest: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    (0..DIGEST_LEN)
        .map(|i| {
            let bit = i * 5;
            let pair = u16::from(digest[bit / 8]) << 8 | u16::from(digest[bit / 8 + 1]);
            let index = (pair >> (11 - bit % 8)) & 31;
            char::from(ALPHABET[usize::from(index)])
        })
        .collect()
}

/// Which sandbox: its tenant and its name. At most one exists at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SandboxKey {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which of theirs.
    pub name: SandboxName,
}

impl fmt::Display for SandboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.name)
    }
}

/// A number that grows each time a sandbox is created anew; fences stale calls.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one request's decisions in answers, logs and the decision log: 64 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecisionId(u64);

impl DecisionId {
    /// A new id.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d-{:016x}", self.0)
    }
}

impl fmt::Debug for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_name_is_kept_and_any_other_is_digested() {
        let check = |input: &str, expected: &str| {
            assert_eq!(SandboxName::normalise(input).expect(input).as_str(), expected);
        };
        check("user-42", "user-42");
        check("user-ann@x.org", "user-ann-x-org--mpwh6ocrbdrkvpli2b4inn53oh");
    }

    #[test]
    fn names_that_differ_only_in_what_is_replaced_stay_different() {
        let inputs = ["a.b", "a-b", "a_b", "A.b", "a b", "ä", "ö", "a--b"];
        let names: std::collections::HashSet<_> =
            inputs.iter().map(|i| SandboxName::normalise(i).expect(i)).collect();
        assert_eq!(names.len(), inputs.len());
    }

    #[test]
    fn nobody_can_choose_a_name_that_anothers_is_turned_into() {
        let victim = SandboxName::normalise("ann@x.org").expect("opaque");
        let attacker = SandboxName::normalise(victim.as_str()).expect("opaque");
        assert_ne!(victim, attacker);
    }

    #[test]
    fn every_normalised_name_is_a_valid_name() {
        for input in ["x".repeat(256), "ü".repeat(100), "/../..".into(), "-".into(), "a".repeat(64)]
        {
            let name = SandboxName::normalise(&input).expect("opaque");
            assert!(SandboxName::new(name.as_str()).is_ok(), "{name}");
        }
    }

    #[test]
    fn empty_long_and_control_characters_are_refused() {
        for input in [String::new(), "a".repeat(257), "a\nb".into(), "a\0".into()] {
            assert!(SandboxName::normalise(&input).is_err());
            assert!(TenantId::new(&input).is_err());
        }
    }
}
