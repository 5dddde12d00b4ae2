//! `builtin:token`: static tokens, each naming a subject and a tenant. The tokens
//! themselves stay with the host: the configuration holds names of secrets.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_plugin::host::secrets;
use tidegate_plugin::prelude::*;
use tidegate_plugin::sign_in::{Found, Places};

struct Token(Config);

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
        Ok(Self(config))
    }
}

impl Authenticate for Token {
    fn authenticate(&self, request: &Request) -> Result<Authenticated, Failure> {
        let Config { tokens, places, required } = &self.0;
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
        // Every one is compared, so that the time taken doesn't tell which matched.
        let mut holder = None;
        for candidate in tokens {
            if secrets::matches(&candidate.secret, &token) {
                holder = Some(candidate);
            }
        }
        let Some(holder) = holder else {
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

tidegate_plugin::export!(Token: authenticate);
