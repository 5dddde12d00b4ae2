//! `builtin:jwt`: signed tokens. The host verifies signature, time, issuer and
//! audience against a key set of the operator's; this plugin decides where a
//! token may stand and which claims say who it is.

use serde::Deserialize;
use serde_json::{Map, Value};
use tidegate_plugin::host::clock;
use tidegate_plugin::host::tokens::{self, Invalid};
use tidegate_plugin::prelude::*;
use tidegate_plugin::sign_in::{Found, Places};

struct Jwt(Config);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    key_set: String,
    #[serde(default = "sub")]
    subject_claim: String,
    /// The claim that holds the tenant; otherwise `tenant` is everybody's.
    tenant_claim: Option<String>,
    tenant: Option<String>,
    /// Claims that resolvers and templates may see.
    #[serde(default)]
    claims: Vec<String>,
    #[serde(flatten)]
    places: Places,
    #[serde(default)]
    required: bool,
}

fn sub() -> String {
    "sub".into()
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
        let Config { key_set, places, required, .. } = &self.0;
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
        let Ok(claims) = serde_json::from_str::<Map<String, Value>>(&claims) else {
            return deny("token-malformed", "The token's claims are not an object.");
        };
        let Some(mut principal) = self.principal(&claims) else {
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

impl Jwt {
    fn principal(&self, claims: &Map<String, Value>) -> Option<Principal> {
        let config = &self.0;
        let claim = |name: &str| claims.get(name).and_then(text);
        let tenant = match &config.tenant_claim {
            Some(name) => claim(name)?,
            None => config.tenant.clone()?,
        };
        let passed_on = config.claims.iter();
        Some(Principal {
            claims: passed_on.filter_map(|name| Some((name.clone(), claim(name)?))).collect(),
            expires_at_ms: claims.get("exp").and_then(milliseconds),
            ..principal(&claim(&config.subject_claim)?, &tenant)
        })
    }
}

/// A claim as text; a list becomes its items with spaces between.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        Value::Array(items) => {
            items.iter().map(text).collect::<Option<Vec<_>>>().map(|items| items.join(" "))
        }
        _ => None,
    }
}

/// RFC 7519's NumericDate, seconds with or without a fraction.
fn milliseconds(date: &Value) -> Option<u64> {
    let seconds = date.as_f64().filter(|s| (0.0..1e15).contains(s))?;
    // In range by the line above.
    Some((seconds * 1_000.0) as u64)
}

fn refusal(invalid: &Invalid) -> (&'static str, &'static str) {
    match invalid {
        Invalid::Malformed => ("token-malformed", "That isn't a token this gateway can read."),
        Invalid::UnknownKey(_) => ("token-unknown-key", "The token's key isn't known here."),
        Invalid::BadSignature => ("token-bad-signature", "The token's signature is wrong."),
        Invalid::Expired => ("token-expired", "The token has expired."),
        Invalid::NotYetValid => ("token-not-yet-valid", "The token isn't valid yet."),
        Invalid::WrongIssuer => ("token-wrong-issuer", "The token was issued by somebody else."),
        Invalid::WrongAudience => ("token-wrong-audience", "The token is meant for somebody else."),
        Invalid::ForbiddenAlgorithm => {
            ("token-forbidden-algorithm", "The token is signed in a way that isn't accepted.")
        }
    }
}

tidegate_plugin::export!(Jwt: authenticate);
