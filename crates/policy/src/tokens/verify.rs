//! Verifies one signed token (JWS compact form, RFC 7515 and 7519).
//!
//! The *key* decides how it is verified; what a token says about itself is only
//! ever compared with that. So `none`, and a public key used as a shared secret,
//! aren't special cases that must be remembered: there is no way to ask for them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::key_set::{ClaimRules, KeySet, Keys, PublicKey};
use super::verified::{Accepted, Digest};

/// Bytes of a token. Cookies and header fields are smaller.
const MAX_TOKEN: usize = 16 << 10;

/// Why a token was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadToken {
    Malformed,
    /// The `kid` that nobody here is called; empty when there was none.
    UnknownKey(String),
    BadSignature,
    Expired,
    NotYetValid,
    WrongIssuer,
    WrongAudience,
    ForbiddenAlgorithm,
}

/// What of a token's header is looked at. A header that says one of them twice is
/// malformed (serde refuses it), as is one that demands extensions (`crit`).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// The claims of `token`, as JSON, if one of `keys` signed it and they obey the
/// set's rules at `now` (Unix seconds). A token that was accepted before is found
/// again by its digest; only time can have changed what it is worth.
pub(crate) fn verify(keys: &KeySet, token: &str, now: u64) -> Result<String, BadToken> {
    if token.len() > MAX_TOKEN {
        return Err(BadToken::Malformed);
    }
    let (trusted, digest) = (keys.trusted(), Digest::of(token));
    if let Some(accepted) = trusted.verified.get(&digest) {
        accepted.times.check(&keys.rules, now)?;
        return Ok(accepted.claims.as_ref().into());
    }
    let accepted = verify_anew(&trusted.keys, &keys.rules, token, now);
    if let Err(BadToken::UnknownKey(_)) = &accepted {
        keys.tell_unknown();
    }
    let (claims, times) = accepted?;
    let remembered = Accepted { claims: claims.as_str().into(), times };
    trusted.verified.put(digest, remembered);
    Ok(claims)
}

fn verify_anew(
    keys: &Keys,
    rules: &ClaimRules,
    token: &str,
    now: u64,
) -> Result<(String, Times), BadToken> {
    let (message, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(BadToken::Malformed)?;
    if claims.contains('.') {
        return Err(BadToken::Malformed);
    }
    let header: Header =
        serde_json::from_slice(&decode(header)?).map_err(|_| BadToken::Malformed)?;
    let claims = String::from_utf8(decode(claims)?).map_err(|_| BadToken::Malformed)?;
    let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
    let kind = kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
    if header.crit.is_some() || !matches!(kind, None | Some("jwt" | "at+jwt")) {
        return Err(BadToken::Malformed);
    }
    check_signature(keys, &header, message, signature)?;
    let parsed: Map<String, Value> =
        serde_json::from_str(&claims).map_err(|_| BadToken::Malformed)?;
    let times = check_claims(rules, &parsed, now)?;
    Ok((claims, times))
}

fn decode(part: &str) -> Result<Vec<u8>, BadToken> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| BadToken::Malformed)
}

fn check_signature(
    keys: &Keys,
    header: &Header,
    message: &str,
    signature: &str,
) -> Result<(), BadToken> {
    let shared;
    let (key, algorithm) = match keys {
        Keys::Public(keys) => {
            let key = choose(keys, header.kid.as_deref())?;
            (&key.key, key.algorithm)
        }
        Keys::Shared(secret) => {
            shared = DecodingKey::from_secret(secret.reveal().as_bytes());
            (&shared, Algorithm::HS256)
        }
    };
    if header.alg != name(algorithm) {
        return Err(BadToken::ForbiddenAlgorithm);
    }
    decode(signature)?;
    match jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, algorithm) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(BadToken::BadSignature),
    }
}

/// The key that a token names, or the only one when it names none.
fn choose<'k>(keys: &'k [PublicKey], id: Option<&str>) -> Result<&'k PublicKey, BadToken> {
    let key = match (id, keys) {
        (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    key.ok_or_else(|| BadToken::UnknownKey(id.unwrap_or_default().chars().take(80).collect()))
}

/// As RFC 7518 §3.1 and RFC 8037 spell it.
fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        Algorithm::HS256 => "HS256",
        // No key set holds a key for another; no token is called this.
        _ => "",
    }
}

/// When a token is valid, in Unix seconds; a NumericDate may have a fraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    expires: f64,
    begins: Option<f64>,
}

impl Times {
    fn of(claims: &Map<String, Value>) -> Result<Self, BadToken> {
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(BadToken::Malformed),
        };
        // A token that is valid for ever can't be taken back: `exp` is required.
        Ok(Self { expires: time("exp")?.ok_or(BadToken::Malformed)?, begins: time("nbf")? })
    }

    #[cfg(test)]
    pub(super) const fn for_ever() -> Self {
        Self { expires: f64::INFINITY, begins: None }
    }

    fn check(self, rules: &ClaimRules, now: u64) -> Result<(), BadToken> {
        // Exact for the next hundred million years.
        let (now, leeway) = (now as f64, rules.leeway.as_secs_f64());
        if now >= self.expires + leeway {
            return Err(BadToken::Expired);
        }
        if self.begins.is_some_and(|begins| now + leeway < begins) {
            return Err(BadToken::NotYetValid);
        }
        Ok(())
    }
}

fn check_claims(
    rules: &ClaimRules,
    claims: &Map<String, Value>,
    now: u64,
) -> Result<Times, BadToken> {
    let times = Times::of(claims)?;
    times.check(rules, now)?;
    if let Some(issuer) = &rules.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(BadToken::WrongIssuer);
    }
    if !rules.audience.is_empty() {
        let ours = |value: &Value| {
            value.as_str().is_some_and(|name| rules.audience.iter().any(|a| a == name))
        };
        let meant_for_us = match claims.get("aud") {
            Some(Value::Array(names)) => names.iter().any(ours),
            Some(name) => ours(name),
            None => false,
        };
        if !meant_for_us {
            return Err(BadToken::WrongAudience);
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::EncodingKey;
    use proptest::prelude::*;

    use super::*;

    const RSA: &str = include_str!("../../tests/policy/rsa-for-tests.jwk.json");

    fn shared() -> KeySet {
        KeySet::from_shared_secret("0123456789abcdef0123456789abcdef")
    }

    fn token() -> String {
        let message = [r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"exp":2000,"sub":"a"}"#]
            .map(|part| URL_SAFE_NO_PAD.encode(part))
            .join(".");
        let key = EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
        format!("{message}.{}", signature.expect("signs"))
    }

    #[test]
    fn a_token_is_valid_until_a_minute_after_it_says() {
        let keys = shared();
        let at = |now| verify(&keys, &token(), now).map(|_| ());
        assert_eq!([at(0), at(2_059)], [Ok(()), Ok(())]);
        assert_eq!(at(2_060), Err(BadToken::Expired));
    }

    #[test]
    fn a_token_that_was_accepted_before_expires_all_the_same() {
        let keys = shared();
        for (now, expected) in [(0, Ok(())), (2_059, Ok(())), (2_060, Err(BadToken::Expired))] {
            // Twice: the second answer comes from memory.
            for _ in 0..2 {
                assert_eq!(verify(&keys, &token(), now).map(|_| ()), expected, "{now}");
            }
        }
        // A clock that is put back doesn't make it another token.
        assert_eq!(verify(&keys, &token(), 0).map(|_| ()), Ok(()));
    }

    #[test]
    fn what_a_removed_key_signed_is_not_accepted_though_it_was() {
        let keys = shared();
        assert!(verify(&keys, &token(), 0).is_ok());
        keys.replace_keys(&KeySet::from_shared_secret("another-secret-another-secret-...."));
        assert_eq!(verify(&keys, &token(), 0), Err(BadToken::BadSignature));
        keys.replace_keys(&shared());
        assert!(verify(&keys, &token(), 0).is_ok());
    }

    #[test]
    fn a_set_under_other_rules_does_not_accept_what_the_first_did() {
        let keys = shared();
        assert!(verify(&keys, &token(), 0).is_ok());
        let issuer = Some("https://id.example.org".to_owned());
        let strict = keys.with_rules(ClaimRules { issuer, ..ClaimRules::default() });
        assert_eq!(verify(&strict, &token(), 0), Err(BadToken::WrongIssuer));
    }

    #[test]
    fn an_unknown_key_is_told_and_a_wrong_signature_is_not() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
        let rsa = KeySet::from_jwks_json(&format!(r#"{{"keys":[{RSA}]}}"#)).expect("good");
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        rsa.when_a_key_is_unknown(move || {
            count.fetch_add(1, Relaxed);
        });
        let signed_by = |kid: &str| {
            let header = format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#);
            let parts = [header.as_str(), r#"{"exp":2000}"#, "not a signature"];
            parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
        };
        let unknown = BadToken::UnknownKey("new".into());
        assert_eq!(verify(&rsa, &signed_by("new"), 0), Err(unknown));
        let known = rsa_name();
        assert_eq!(verify(&rsa, &signed_by(&known), 0), Err(BadToken::BadSignature));
        assert_eq!(told.load(Relaxed), 1);
    }

    fn rsa_name() -> String {
        let jwk: Value = serde_json::from_str(RSA).expect("JSON");
        jwk.get("kid").and_then(Value::as_str).expect("a name").to_owned()
    }

    #[test]
    fn a_header_that_says_something_twice_is_malformed() {
        let keys = shared();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","alg":"HS256"}"#);
        let rest = token();
        let (_, rest) = rest.split_once('.').expect("three parts");
        let told = verify(&keys, &format!("{header}.{rest}"), 0);
        assert_eq!(told, Err(BadToken::Malformed));
    }

    proptest! {
        #[test]
        fn no_text_is_a_token_and_none_makes_us_fall(text in "\\PC{0,200}") {
            let keys = shared();
            prop_assert!(verify(&keys, &text, 0).is_err());
        }

        #[test]
        fn no_part_is_ever_trusted_before_it_was_signed(
            header in prop_oneof![
                Just(r#"{"alg":"RS256","kid":"rsa"}"#.to_owned()),
                Just(r#"{"alg":"HS256","kid":"rsa"}"#.to_owned()),
                "\\PC{0,60}",
            ],
            claims in prop_oneof![Just(r#"{"exp":9e300}"#.to_owned()), "\\PC{0,60}"],
            signature in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let token = format!(
                "{}.{}.{}",
                URL_SAFE_NO_PAD.encode(header),
                URL_SAFE_NO_PAD.encode(claims),
                URL_SAFE_NO_PAD.encode(signature),
            );
            let rsa = KeySet::from_jwks_json(&format!(r#"{{"keys":[{RSA}]}}"#)).expect("good");
            let keys = shared();
            prop_assert!(verify(&rsa, &token, 0).is_err());
            prop_assert!(verify(&keys, &token, 0).is_err());
        }

        #[test]
        fn a_token_with_one_byte_changed_is_not_accepted(at in 0usize..130, by in 1u8..=255) {
            let keys = shared();
            let mut bytes = token().into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= by;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert!(verify(&keys, &changed, 0).is_err());
            }
        }
    }
}
