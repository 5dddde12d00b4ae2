//! What a plugin hands to a client and wants back unread and unchanged.
//!
//! | bytes | are |
//! |---|---|
//! | 1 | the version of this table: 1 |
//! | 12 | the nonce, random |
//! | as many as the message has | AES-256-GCM of the message |
//! | 16 | its tag, which covers the context too |
//!
//! The key is HKDF-SHA256 (RFC 5869) of the secret's value, with the plugin's name
//! in `info`: no plugin opens what another sealed, though both name the same secret.
//!
//! What it doesn't stop: handing in the same sealed bytes twice. Random nonces are
//! good for some four thousand million messages under one secret (NIST SP 800-38D
//! §8.3); who seals more sets another secret in between.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, Salt};
use tidegate_types::{PluginName, Secret};

const VERSION: u8 = 1;
/// RFC 5869 leaves the strength to the secret: a word of a dictionary would be
/// found from any cookie.
const MIN_SECRET: usize = 32;

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsealable {
    #[error("has {0} bytes: set it to at least {MIN_SECRET} random ones")]
    Weak(usize),
    #[error("cannot be used as a key")]
    Cipher,
}

/// Seals `message` for `plugin`.
pub(crate) fn seal(
    secret: &Secret,
    plugin: &PluginName,
    context: &str,
    message: &[u8],
) -> Result<Vec<u8>, Unsealable> {
    let secret = secret.reveal().as_bytes();
    if secret.len() < MIN_SECRET {
        return Err(Unsealable::Weak(secret.len()));
    }
    let key = key(secret, plugin).map_err(|_| Unsealable::Cipher)?;
    let nonce: [u8; NONCE_LEN] = rand::random();
    let mut sealed = Vec::with_capacity(1 + NONCE_LEN + message.len() + AES_256_GCM.tag_len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&nonce);
    let mut text = message.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(context), &mut text)
        .map_err(|_| Unsealable::Cipher)?;
    sealed.append(&mut text);
    Ok(sealed)
}

/// What `plugin` sealed under the same secret and context.
pub(crate) fn open(
    secret: &Secret,
    plugin: &PluginName,
    context: &str,
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let (&VERSION, rest) = sealed.split_first()? else { return None };
    let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
    let secret = secret.reveal().as_bytes();
    if secret.len() < MIN_SECRET {
        return None;
    }
    let key = key(secret, plugin).ok()?;
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = key.open_in_place(nonce, Aad::from(context), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

fn key(secret: &[u8], plugin: &PluginName) -> Result<LessSafeKey, Unspecified> {
    let info = [b"tidegate seal 1 ".as_slice(), plugin.as_str().as_bytes()];
    let derived = Salt::new(HKDF_SHA256, &[]).extract(secret);
    let key = UnboundKey::from(derived.expand(&info, &AES_256_GCM)?);
    Ok(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &str) -> Secret {
        Secret::new(value.repeat(4))
    }

    fn plugin(name: &str) -> PluginName {
        PluginName::new(name).expect("a name")
    }

    #[test]
    fn what_was_sealed_opens_for_the_same_plugin_secret_and_context_alone() {
        let (ours, theirs) = (secret("0123456789"), secret("abcdefghij"));
        let (oidc, other) = (plugin("oidc"), plugin("other"));
        let sealed = seal(&ours, &oidc, "session", b"who").expect("sealed");
        assert_eq!(open(&ours, &oidc, "session", &sealed).as_deref(), Some(b"who".as_slice()));
        assert_eq!(open(&theirs, &oidc, "session", &sealed), None);
        assert_eq!(open(&ours, &other, "session", &sealed), None);
        assert_eq!(open(&ours, &oidc, "state", &sealed), None);
    }

    #[test]
    fn no_bit_of_it_can_be_changed_and_none_left_out() {
        let (secret, plugin) = (secret("0123456789"), plugin("oidc"));
        let sealed = seal(&secret, &plugin, "session", b"who").expect("sealed");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&secret, &plugin, "session", &changed), None, "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(open(&secret, &plugin, "session", &sealed[..length]), None, "{length}");
        }
    }

    #[test]
    fn the_same_message_looks_different_each_time_and_an_empty_one_is_one_too() {
        let (secret, plugin) = (secret("0123456789"), plugin("oidc"));
        let seal = || seal(&secret, &plugin, "", b"").expect("sealed");
        assert_ne!(seal(), seal());
        assert_eq!(open(&secret, &plugin, "", &seal()).as_deref(), Some(b"".as_slice()));
    }

    #[test]
    fn a_secret_that_could_be_guessed_seals_nothing() {
        let weak = Secret::new("hunter2".into());
        assert_eq!(seal(&weak, &plugin("oidc"), "", b"who"), Err(Unsealable::Weak(7)));
        assert_eq!(open(&weak, &plugin("oidc"), "", &[1; 40]), None);
    }
}
