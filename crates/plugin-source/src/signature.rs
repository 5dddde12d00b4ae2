//! Who vouches for a component: ed25519 (RFC 8032) over the ASCII text
//! `sha256:HEX` of its digest, written in base64.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, Signer as _};
use tidegate_types::{Secret, Sha256Digest};

/// The annotation of an OCI manifest that holds the signature.
pub const ANNOTATION: &str = "dev.tidegate.signature";
/// What is put behind the path of a file or URL to find its signature.
pub const SUFFIX: &str = ".sig";

/// Where the signature of the component in `path` stands.
#[must_use]
pub fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(SUFFIX);
    beside.into()
}

/// Why a text isn't a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an ed25519 key: 32 bytes in base64")]
pub struct BadKey;

/// A public key that signatures are checked with.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyKey(ed25519_dalek::VerifyingKey);

impl VerifyKey {
    /// A key from its 32 bytes.
    ///
    /// # Errors
    /// [`BadKey`] when they are no point of the curve, or a weak one.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, BadKey> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| BadKey)?;
        if key.is_weak() { Err(BadKey) } else { Ok(Self(key)) }
    }

    /// Whether `signature`, in base64, is this key's for a component with `digest`.
    #[must_use]
    pub fn verifies(&self, digest: &Sha256Digest, signature: &str) -> bool {
        let decoded = BASE64_STANDARD.decode(signature.trim()).ok();
        decoded
            .and_then(|bytes| Signature::from_slice(&bytes).ok())
            .is_some_and(|it| self.0.verify_strict(message(digest).as_bytes(), &it).is_ok())
    }
}

impl fmt::Display for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifyKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        Self::new(&thirty_two(text)?)
    }
}

/// A private key that signatures are made with. Its memory is overwritten when it
/// is dropped.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// A new key, of the operating system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&rand::random()))
    }

    /// The key in base64, to be kept where nobody else reads it.
    #[must_use]
    pub fn to_secret(&self) -> Secret {
        Secret::new(BASE64_STANDARD.encode(self.0.as_bytes()))
    }

    /// What others verify this key's signatures with.
    #[must_use]
    pub fn verify_key(&self) -> VerifyKey {
        VerifyKey(self.0.verifying_key())
    }

    /// The signature, in base64, of a component with `digest`.
    #[must_use]
    pub fn sign(&self, digest: &Sha256Digest) -> String {
        BASE64_STANDARD.encode(self.0.sign(message(digest).as_bytes()).to_bytes())
    }
}

impl FromStr for SigningKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&thirty_two(text)?)))
    }
}

fn message(digest: &Sha256Digest) -> String {
    format!("sha256:{digest}")
}

fn thirty_two(text: &str) -> Result<[u8; 32], BadKey> {
    let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| BadKey)?;
    bytes.try_into().map_err(|_| BadKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_keys_for_that_component_alone() {
        let (key, other) = (SigningKey::generate(), SigningKey::generate());
        let (digest, changed) = (Sha256Digest::of(b"a component"), Sha256Digest::of(b"another"));
        let signature = key.sign(&digest);
        let public = key.verify_key();
        assert!(public.verifies(&digest, &signature));
        assert!(public.verifies(&digest, &format!("{signature}\n")));
        assert!(!public.verifies(&changed, &signature));
        assert!(!other.verify_key().verifies(&digest, &signature));
        for nonsense in ["", "AAAA", "not base64", &signature[4..]] {
            assert!(!public.verifies(&digest, nonsense), "{nonsense}");
        }
    }

    #[test]
    fn keys_are_read_as_they_are_written_and_never_shown() {
        let key = SigningKey::generate();
        let again: SigningKey = key.to_secret().reveal().parse().expect("a key");
        assert_eq!(again.verify_key(), key.verify_key());
        assert_eq!(key.verify_key().to_string().parse(), Ok(key.verify_key()));
        assert_eq!(format!("{key:?}"), "SigningKey");
    }

    #[test]
    fn a_weak_key_is_none() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(VerifyKey::new(&neutral), Err(BadKey));
        assert_eq!("AAAA".parse::<VerifyKey>(), Err(BadKey));
    }
}
