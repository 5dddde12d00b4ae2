//! Keys that sign tokens, and what a key set says of them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

/// Made for tests and used nowhere else; making one takes seconds.
const RSA: [&str; 2] =
    [include_str!("rsa-1-for-tests.der.b64"), include_str!("rsa-2-for-tests.der.b64")];

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA; two different keys there are, which alternate.
    Rs256,
    /// P-256; a new key each time.
    Es256,
}

/// One key.
pub(super) struct SigningKey {
    id: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl SigningKey {
    /// The `number`-th key of a provider.
    pub(super) fn new(algorithm: Algorithm, number: usize) -> Self {
        let pair = match algorithm {
            Algorithm::Rs256 => {
                let text: String = RSA[number % RSA.len()].split_whitespace().collect();
                let der = STANDARD.decode(text).expect("base 64");
                Pair::Rsa(RsaKeyPair::from_der(&der).expect("a key"))
            }
            Algorithm::Es256 => {
                let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
                let document = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
                let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random);
                Pair::Ec(pair.expect("its own key"))
            }
        };
        Self { id: format!("key-{number}"), pair }
    }

    /// `claims` as a signed token.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let alg = match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
        };
        let header = json!({ "alg": alg, "kid": self.id, "typ": "JWT" });
        let message = [header.to_string(), claims.to_string()].map(base64).join(".");
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)
                    .expect("signs");
                signature
            }
            Pair::Ec(pair) => {
                pair.sign(&random, message.as_bytes()).expect("signs").as_ref().to_vec()
            }
        };
        format!("{message}.{}", base64(signature))
    }

    /// The key as a JWK.
    pub(super) fn public(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let PublicKeyComponents { n, e } =
                    PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({
                    "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id,
                    "n": base64(n), "e": base64(e),
                })
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
                    "x": base64(x), "y": base64(y),
                })
            }
        }
    }
}

pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
