//! `builtin:access`: requests that come through Cloudflare Access, which signs who
//! is asking into every one of them. Signature and time are the host's to verify,
//! against the key set that the team publishes; whose token it is and what for is
//! looked at here: one team's keys sign for all of its applications.

use serde::Deserialize;
use tidegate_plugin::claims::{Claims, Naming, refusal};
use tidegate_plugin::cookies::cookies;
use tidegate_plugin::host::tokens;
use tidegate_plugin::prelude::*;

const HEADER: &str = "cf-access-jwt-assertion";
const COOKIE: &str = "CF_Authorization";

struct Access(Config);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    key_set: String,
    /// `https://TEAM.cloudflareaccess.com`, what `iss` must be.
    team: String,
    /// The application's audience tag.
    audience: String,
    #[serde(flatten)]
    naming: Naming,
    /// Whether a request without a token is refused here.
    #[serde(default)]
    required: bool,
}

impl Plugin for Access {
    type Config = Config;

    fn manifest() -> Manifest {
        let version = env!("CARGO_PKG_VERSION");
        let about = "Requests that come through Cloudflare Access.";
        manifest("access", version, about, include_str!("../config.schema.json"))
    }

    fn new(mut config: Config) -> Result<Self, ConfigError> {
        config.team.truncate(config.team.trim_end_matches('/').len());
        Ok(Self(config))
    }
}

impl Authenticate for Access {
    fn authenticate(&self, request: &Request) -> Result<Authenticated, Failure> {
        let token = match self.token(request) {
            Ok(Some(token)) => token,
            Ok(None) => return Ok(Authenticated::Abstain),
            Err(denial) => return Ok(Authenticated::Denied(denial)),
        };
        let claims = match tokens::verify_jwt(&self.0.key_set, &token) {
            Ok(claims) => claims.json,
            Err(invalid) => {
                let (code, message) = refusal(&invalid);
                return Ok(Authenticated::Denied(denial(401, code, message)));
            }
        };
        Ok(match self.principal(&claims) {
            Ok(principal) => Authenticated::Authenticated(principal),
            Err(denial) => Authenticated::Denied(denial),
        })
    }
}

impl Access {
    /// The token, from the header field before the cookie: Cloudflare sets the field
    /// itself, from the cookie that it has checked.
    fn token(&self, request: &Request) -> Result<Option<String>, Denial> {
        let fields = request.header_values(HEADER);
        let fields: Vec<_> =
            fields.into_iter().filter_map(|value| String::from_utf8(value).ok()).collect();
        let cookies = || cookies(request, |name| name == COOKIE).into_iter().map(|(_, it)| it);
        let found = if fields.is_empty() { cookies().collect() } else { fields };
        match found.as_slice() {
            [] if self.0.required => {
                let message = "This is reached through Cloudflare Access.";
                Err(denial(401, "token-missing", message))
            }
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            // Which is meant can't be known; one may have been planted.
            _ => Err(denial(401, "token-ambiguous", "There is more than one token.")),
        }
    }

    fn principal(&self, claims: &str) -> Result<Principal, Denial> {
        let Config { team, audience, naming, .. } = &self.0;
        let refuse = |code: &str, message: &str| Err(denial(401, code, message));
        let Some(claims) = Claims::parse(claims) else {
            return refuse("token-malformed", "The token's claims are not an object.");
        };
        if claims.text("iss").as_ref() != Some(team) {
            return refuse("token-wrong-issuer", "The token is another team's.");
        }
        if !claims.items("aud").contains(audience) {
            return refuse("token-wrong-audience", "The token is for another application.");
        }
        // People have an address; services have the name of their token.
        let Some(mut principal) = naming.principal(&claims, &["email", "common_name", "sub"])
        else {
            return refuse("token-incomplete", "The token doesn't say who it is for.");
        };
        // A person's browser sends the cookie with whatever any page asks for, and
        // Cloudflare makes the header field of it: the word of either counts from the
        // gateway's own pages alone. A service sends neither unasked.
        let service = claims.text("common_name").is_some_and(|name| !name.is_empty());
        principal.used = Some(match service {
            true => Credential::Header(HEADER.into()),
            false => Credential::Cookie(COOKIE.into()),
        });
        principal.consumed =
            vec![Credential::Header(HEADER.into()), Credential::Cookie(COOKIE.into())];
        Ok(principal)
    }
}

tidegate_plugin::export!(Access: authenticate);
