//! The keys that the operator trusts under one name.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tidegate_types::Secret;

use super::verified::Verified;

/// The keys that the operator trusts under one name, and what a token signed by
/// one of them must say. Clones are the same set: what replaces the keys of one
/// replaces those of all.
#[derive(Debug, Clone)]
pub struct KeySet {
    held: Arc<Held>,
    pub(super) rules: Arc<ClaimRules>,
}

struct Held {
    trusted: ArcSwap<Trusted>,
    unknown: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.trusted.load().keys.fmt(f)
    }
}

/// Keys, and the tokens that they were found to have signed: whoever replaces the
/// keys forgets those too.
pub(super) struct Trusted {
    pub(super) keys: Keys,
    pub(super) verified: Verified,
}

#[derive(Debug, Clone)]
pub(super) enum Keys {
    /// Public keys. A token names one by `kid`; the name may be missing on both sides
    /// when there is only one key.
    Public(Vec<PublicKey>),
    /// HS256 with this value. Never mixed with public keys: that
    /// mixture is what algorithm confusion lives on.
    Shared(Secret),
}

#[derive(Clone)]
pub(super) struct PublicKey {
    pub(super) id: Option<String>,
    /// Said by the key, never by the token.
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({:?}, {:?})", self.id, self.algorithm)
    }
}

/// What a token must say beside being signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRules {
    /// `iss` must be this.
    pub issuer: Option<String>,
    /// `aud` must be, or contain, one of these; empty: not looked at.
    pub audience: Vec<String>,
    /// How far the issuer's clock may be from ours, for `exp` and `nbf`.
    pub leeway: Duration,
}

impl Default for ClaimRules {
    fn default() -> Self {
        Self { issuer: None, audience: Vec::new(), leeway: Duration::from_secs(60) }
    }
}

/// Why a key set was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum BadKeySet {
    /// The file could not be read.
    #[error("can't read the key set `{}`", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not a JWK set (RFC 7517 §5).
    #[error("not a JWK set: {0}")]
    NotJwks(String),
    /// It holds no key that can verify a signature.
    #[error("the key set holds no RS256, ES256 or EdDSA signing key")]
    Empty,
    /// A key is broken or of a kind that isn't accepted.
    #[error("key {index} (`{id}`) {problem}")]
    BadKey {
        /// Its place in the set, counted from 0.
        index: usize,
        /// Its `kid`, or nothing.
        id: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two keys share a `kid`: which one verifies would be chance.
    #[error("two keys are called `{0}`")]
    DuplicateId(String),
    /// Several keys, one of them without a `kid`: no token could name it.
    #[error("key {0} has no `kid`, which it needs beside other keys")]
    Nameless(usize),
}

impl KeySet {
    /// Reads a JWK set: RSA keys (RS256), P-256 keys (ES256) and Ed25519 keys
    /// (EdDSA). Keys for encryption are passed over; keys with secret or private
    /// parts are refused, since such a file should not be here.
    ///
    /// # Errors
    /// [`BadKeySet`], naming the key.
    pub fn from_jwks_json(json: &str) -> Result<Self, BadKeySet> {
        refuse_private_parts(json)?;
        let set: JwkSet =
            serde_json::from_str(json).map_err(|e| BadKeySet::NotJwks(e.to_string()))?;
        let mut keys = Vec::new();
        for (index, jwk) in set.keys.iter().enumerate() {
            if let Some(key) = public_key(index, jwk)? {
                keys.push((index, key));
            }
        }
        for (at, (index, key)) in keys.iter().enumerate() {
            match &key.id {
                None if keys.len() > 1 => return Err(BadKeySet::Nameless(*index)),
                Some(id) if keys.iter().skip(at + 1).any(|(_, k)| k.id.as_ref() == Some(id)) => {
                    return Err(BadKeySet::DuplicateId(id.clone()));
                }
                _ => {}
            }
        }
        if keys.is_empty() {
            return Err(BadKeySet::Empty);
        }
        let keys = keys.into_iter().map(|(_, key)| key).collect();
        Ok(Self::of(Keys::Public(keys), ClaimRules::default()))
    }

    /// Reads a JWK set that an issuer publishes. Keys that nothing here could be
    /// verified with (another algorithm, another use, broken, nameless beside
    /// others, a name that two have) are passed over: it isn't this operator's
    /// file to put right.
    ///
    /// # Errors
    /// [`BadKeySet`] when no key is left.
    pub fn from_published_jwks(json: &str) -> Result<Self, BadKeySet> {
        let value: serde_json::Value =
            serde_json::from_str(json).map_err(|e| BadKeySet::NotJwks(e.to_string()))?;
        let published = value.get("keys").and_then(serde_json::Value::as_array);
        let published =
            published.ok_or_else(|| BadKeySet::NotJwks("it has no array `keys`".into()))?;
        let keys: Vec<PublicKey> = published
            .iter()
            .take(MAX_PUBLISHED)
            .filter(|key| key.get("kty").and_then(serde_json::Value::as_str) != Some("oct"))
            .filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok())
            .enumerate()
            .filter_map(|(index, jwk)| public_key(index, &jwk).ok().flatten())
            .collect();
        let named = |id: &Option<String>| keys.iter().filter(|key| key.id == *id).count();
        let usable: Vec<_> = keys
            .iter()
            .filter(|key| keys.len() == 1 || key.id.is_some() && named(&key.id) == 1)
            .cloned()
            .collect();
        if usable.is_empty() {
            return Err(BadKeySet::Empty);
        }
        Ok(Self::of(Keys::Public(usable), ClaimRules::default()))
    }

    /// Reads a file that holds a JWK set.
    ///
    /// # Errors
    /// [`BadKeySet`], naming the file or the key.
    pub fn from_jwks_file(path: &Path) -> Result<Self, BadKeySet> {
        let json = std::fs::read_to_string(path)
            .map_err(|source| BadKeySet::Unreadable { path: path.to_owned(), source })?;
        Self::from_jwks_json(&json)
    }

    /// HS256 with `value`, the value of a secret: at least 32 bytes, or the host
    /// doesn't load. Public keys can't be added to such a set.
    #[must_use]
    pub fn from_shared_secret(value: &str) -> Self {
        Self::of(Keys::Shared(Secret::new(value.to_owned())), ClaimRules::default())
    }

    fn of(keys: Keys, rules: ClaimRules) -> Self {
        let trusted = ArcSwap::from_pointee(Trusted { keys, verified: Verified::default() });
        let held = Arc::new(Held { trusted, unknown: OnceLock::new() });
        Self { held, rules: Arc::new(rules) }
    }

    /// The value that this set verifies with, if it is of that kind.
    pub(crate) fn shared_secret(&self) -> Option<Secret> {
        match &self.held.trusted.load().keys {
            Keys::Shared(value) => Some(value.clone()),
            Keys::Public(_) => None,
        }
    }

    /// A set of its own, with the same keys under other rules.
    #[must_use]
    pub fn with_rules(&self, rules: ClaimRules) -> Self {
        Self::of(self.held.trusted.load().keys.clone(), rules)
    }

    /// Takes the keys of `fresh` from now on, under the rules that hold: the issuer
    /// has changed them. What an old key signed isn't accepted any more, whether it
    /// was before or not.
    pub fn replace_keys(&self, fresh: &Self) {
        let keys = fresh.held.trusted.load().keys.clone();
        self.held.trusted.store(Arc::new(Trusted { keys, verified: Verified::default() }));
    }

    /// Has `tell` called for each token that names a key which isn't here: the
    /// issuer may have a new one. It is called on a request's path, so it must only
    /// leave a note. The first one set stays.
    pub fn when_a_key_is_unknown(&self, tell: impl Fn() + Send + Sync + 'static) {
        let _ = self.held.unknown.set(Box::new(tell));
    }

    pub(super) fn trusted(&self) -> arc_swap::Guard<Arc<Trusted>> {
        self.held.trusted.load()
    }

    pub(super) fn tell_unknown(&self) {
        if let Some(tell) = self.held.unknown.get() {
            tell();
        }
    }
}

/// Keys of a published document that are looked at. Issuers have two to ten.
const MAX_PUBLISHED: usize = 100;

/// A private key in a JWK set would parse as its public half; that it lies in
/// the gateway's configuration at all is the accident to report.
fn refuse_private_parts(json: &str) -> Result<(), BadKeySet> {
    let value: serde_json::Value =
        serde_json::from_str(json).map_err(|e| BadKeySet::NotJwks(e.to_string()))?;
    let keys = value
        .get("keys")
        .and_then(serde_json::Value::as_array)
        .ok_or_else(|| BadKeySet::NotJwks("it has no array `keys`".into()))?;
    for (index, key) in keys.iter().enumerate() {
        let id = key.get("kid").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        if key.get("kty").and_then(serde_json::Value::as_str) == Some("oct") {
            let problem = "is a shared secret; name it as a secret instead";
            return Err(BadKeySet::BadKey { index, id, problem });
        }
        if key.get("d").is_some() {
            let problem = "contains its private part; keep that with the issuer";
            return Err(BadKeySet::BadKey { index, id, problem });
        }
    }
    Ok(())
}

fn public_key(index: usize, jwk: &Jwk) -> Result<Option<PublicKey>, BadKeySet> {
    let id = jwk.common.key_id.clone();
    let bad = |problem| BadKeySet::BadKey { index, id: id.clone().unwrap_or_default(), problem };
    if matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
        return Ok(None);
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return Err(bad("is neither RSA, P-256 nor Ed25519")),
    };
    if let Some(stated) = &jwk.common.key_algorithm
        && stated.to_string() != format!("{algorithm:?}")
    {
        return Err(bad("states an `alg` other than RS256, ES256 or EdDSA, or not its own"));
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|_| bad("is broken"))?;
    Ok(Some(PublicKey { id, algorithm, key }))
}
