//! `builtin:jwt`: signed tokens. The host verifies signature, time, issuer and
//! audience against a key set of the operator's; this plugin decides where a
//! token may stand and which claims say who it is.

use serde::Deserialize;
use tidegate_plugin::claims::{Claims, Naming, refusal};
use tidegate_plugin::host::{clock, tokens};
use tidegate_plugin::prelude::*;
use tidegate_plugin::sign_in::{Found, Places};

struct Jwt(Config);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    key_set: String,
    #[serde(flatten)]
    naming: Naming,
    #[serde(flatten)]
    places: Places,
    #[serde(default)]
    required: bool,
}

impl Plugin for Jwt {
    type Config = Config;

    fn manifest() -> Manifest {
        let version = env!("CARGO_PKG_VERSION");
        let about = "Signed tokens (JWT): RS256, ES256, EdDSA, HS256.";
        manifest("jwt", version, about, include_str!("../config.schema.json"))
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self(config))
    }
}

impl Authenticate for Jwt {
    fn authenticate(&self, request: &Request) -> Result<Authenticated, Failure> {
        let Config { key_set, naming, places, required } = &self.0;
        let deny = |code, message| Ok(Authenticated::Denied(places.unauthorized(code, message)));
        let request = &Remembered::new(request);
        let (token, place) = match places.find(request) {
            // Not even the shape of one: another authenticator's.
            Found::One { token, .. } if token.split('.').count() != 3 && !required => {
                return Ok(Authenticated::Abstain);
            }
            Found::One { token, place } => (token, place),
            Found::Ambiguous(why) => return deny("token-ambiguous", why),
            Found::Nothing if *required => return deny("token-missing", "This needs a token."),
            Found::Nothing => return Ok(Authenticated::Abstain),
        };
        let claims = match tokens::verify_jwt(key_set, &token) {
            Ok(claims) => claims.json,
            Err(invalid) => {
                let (code, message) = refusal(&invalid);
                return deny(code, message);
            }
        };
        let Some(claims) = Claims::parse(&claims) else {
            return deny("token-malformed", "The token's claims are not an object.");
        };
        let Some(mut principal) = naming.principal(&claims, &["sub"]) else {
            return deny("token-incomplete", "The token doesn't say who it is for.");
        };
        let lives_ms = principal.expires_at_ms.map(|at| at.saturating_sub(clock::now_ms()));
        if let Some(redirect) = places.redirect(request, place, &token, lives_ms) {
            return Ok(Authenticated::Denied(redirect));
        }
        principal.used = places.used(place, request);
        principal.consumed = places.consumed();
        Ok(Authenticated::Authenticated(principal))
    }
}

tidegate_plugin::export!(Jwt: authenticate);
