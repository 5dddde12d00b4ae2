//! `builtin:token`: static tokens, each naming a subject and a tenant. The tokens
//! themselves stay with the host: the configuration holds names of secrets.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_plugin::host::{secrets, tokens};
use tidegate_plugin::prelude::*;
use tidegate_plugin::sign_in::{Found, Places};

/// Longer ones aren't remembered; the host hashes no message of any length.
const MAX_REMEMBERED: usize = 4 << 10;

struct Token {
    config: Config,
    /// Of the secrets of `config.tokens`, in their order.
    secrets: Vec<String>,
    /// SHA-256 of each token that matched, and whose it is: an index in `tokens`.
    /// Asking the host about every secret again takes a call for each. What secrets
    /// there are doesn't change in the life of an instance.
    matched: RefCell<BTreeMap<Vec<u8>, usize>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    tokens: Vec<Holder>,
    #[serde(flatten)]
    places: Places,
    /// Whether a request without a credential is refused here, or left to the
    /// next authenticator.
    #[serde(default)]
    required: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Holder {
    /// Name of the secret that holds the token.
    secret: String,
    subject: String,
    tenant: String,
    #[serde(default)]
    claims: BTreeMap<String, String>,
}

impl Plugin for Token {
    type Config = Config;

    fn manifest() -> Manifest {
        let version = env!("CARGO_PKG_VERSION");
        let about = "Static tokens, each naming a subject and a tenant.";
        manifest("token", version, about, include_str!("../config.schema.json"))
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        let secrets = config.tokens.iter().map(|holder| holder.secret.clone()).collect();
        Ok(Self { config, secrets, matched: RefCell::default() })
    }
}

impl Authenticate for Token {
    fn authenticate(&self, request: &Request) -> Result<Authenticated, Failure> {
        let Config { places, required, .. } = &self.config;
        let request = &Remembered::new(request);
        let (token, place) = match places.find(request) {
            Found::One { token, place } => (token, place),
            Found::Ambiguous(why) => {
                return Ok(Authenticated::Denied(places.unauthorized("token-ambiguous", why)));
            }
            Found::Nothing if *required => {
                let refusal = places.unauthorized("token-missing", "This needs a token.");
                return Ok(Authenticated::Denied(refusal));
            }
            Found::Nothing => return Ok(Authenticated::Abstain),
        };
        let Some(holder) = self.holder(&token) else {
            let refusal = places.unauthorized("token-invalid", "That token isn't valid.");
            return Ok(Authenticated::Denied(refusal));
        };
        if let Some(redirect) = places.redirect(request, place, &token, None) {
            return Ok(Authenticated::Denied(redirect));
        }
        Ok(Authenticated::Authenticated(Principal {
            claims: holder.claims.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            used: places.used(place, request),
            consumed: places.consumed(),
            ..principal(&holder.subject, &holder.tenant)
        }))
    }
}

impl Token {
    /// Whose token this is. The time taken tells whether it is somebody's, as the
    /// answer does, and nothing about any other: digests are looked up.
    fn holder(&self, token: &str) -> Option<&Holder> {
        let digest = (token.len() <= MAX_REMEMBERED).then(|| tokens::sha256(token.as_bytes()));
        let known = digest.as_ref().and_then(|digest| self.matched.borrow().get(digest).copied());
        let at = known.or_else(|| {
            let at = secrets::which(&self.secrets, token);
            let at = at.and_then(|at| usize::try_from(at).ok());
            self.matched.borrow_mut().extend(digest.zip(at));
            at
        })?;
        self.config.tokens.get(at)
    }
}

tidegate_plugin::export!(Token: authenticate);
