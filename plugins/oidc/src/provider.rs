//! The provider: its addresses, and the tokens that it gives.

use std::cell::RefCell;

use serde::Deserialize;
use tidegate_plugin::claims::Claims;
use tidegate_plugin::host::http::{self, Error, Outgoing};
use tidegate_plugin::host::tokens::{self, Invalid};
use tidegate_plugin::prelude::*;
use tidegate_plugin::text::percent_encode;

use crate::config::Config;

/// How long an instance goes by the discovery document that it has.
const KNOWN_MS: u64 = 3_600_000;

/// What this plugin needs of the discovery document (OpenID Connect Discovery §3).
#[derive(Clone, Deserialize)]
pub(crate) struct Addresses {
    issuer: String,
    pub(crate) authorization_endpoint: String,
    token_endpoint: String,
    pub(crate) end_session_endpoint: Option<String>,
}

/// What the token endpoint gives.
#[derive(Deserialize)]
pub(crate) struct Tokens {
    pub(crate) id_token: Option<String>,
    pub(crate) refresh_token: Option<String>,
    /// Seconds.
    pub(crate) expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Why there are no tokens, or none that count.
pub(crate) enum NoTokens {
    /// The provider refuses: its error code (RFC 6749 §5.2).
    Refused(String),
    /// Signed by a key that isn't known yet.
    UnknownKey,
    /// What it gave isn't good: why.
    NotGood(&'static str, &'static str),
    /// It couldn't be asked, or made no sense.
    Failed(Failure),
}

pub(crate) struct Provider {
    issuer: String,
    client_id: String,
    client_secret: Option<String>,
    key_set: String,
    known: RefCell<Option<(u64, Addresses)>>,
}

impl Provider {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            issuer: config.issuer.clone(),
            client_id: config.client_id.clone(),
            client_secret: config.client_secret.clone(),
            key_set: config.key_set.clone(),
            known: RefCell::new(None),
        }
    }

    /// Where things are, as of the last hour.
    pub(crate) fn addresses(&self, now_ms: u64) -> Result<Addresses, Failure> {
        if let Some((until, known)) = &*self.known.borrow()
            && now_ms < *until
        {
            return Ok(known.clone());
        }
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let answer = send("GET", &url, Vec::new())?;
        if answer.status != 200 {
            return Err(unavailable(&format!("{url} answers {}", answer.status)));
        }
        let found: Addresses = serde_json::from_slice(&answer.body)
            .map_err(|e| unavailable(&format!("{url} is no discovery document: {e}")))?;
        // Discovery §4.3: or somebody else's document would be believed.
        if found.issuer != self.issuer {
            let found: String = found.issuer.chars().take(200).collect();
            let what = format!("{url} is `{found}`'s, not `{}`'s", self.issuer);
            return Err(failure("wrong-issuer", &what));
        }
        let as_safe = |url: &str| {
            url.starts_with("https://")
                || self.issuer.starts_with("http://") && url.starts_with("http://")
        };
        if !as_safe(&found.authorization_endpoint)
            || !as_safe(&found.token_endpoint)
            || found.end_session_endpoint.as_ref().is_some_and(|it| !as_safe(it))
        {
            return Err(failure("unsafe-endpoint", "the provider names an endpoint without TLS"));
        }
        let known = Some((now_ms.saturating_add(KNOWN_MS), found.clone()));
        *self.known.borrow_mut() = known;
        Ok(found)
    }

    /// Exchanges a code or a refresh token: `form` is what RFC 6749 asks for, without
    /// the client's own fields.
    pub(crate) fn tokens(&self, form: &[(&str, &str)], now_ms: u64) -> Result<Tokens, NoTokens> {
        let addresses = self.addresses(now_ms).map_err(NoTokens::Failed)?;
        let mut body = format!("client_id={}", percent_encode(&self.client_id));
        for (name, value) in form {
            body.push_str(&format!("&{name}={}", percent_encode(value)));
        }
        if let Some(name) = &self.client_secret {
            // The host puts the value in: see `http` in the contract.
            body.push_str(&format!("&client_secret=secret:{name}"));
        }
        let answer =
            send("POST", &addresses.token_endpoint, body.into_bytes()).map_err(NoTokens::Failed)?;
        match answer.status {
            200 => serde_json::from_slice(&answer.body).map_err(|e| {
                NoTokens::Failed(unavailable(&format!("the token endpoint's answer: {e}")))
            }),
            400..=499 if answer.status != 429 => {
                let said = serde_json::from_slice::<Refusal>(&answer.body);
                let error = said.map_or_else(|_| "refused".into(), |it| it.error);
                let error: String = error.chars().filter(char::is_ascii_graphic).take(60).collect();
                // Ours to put right, not the person's who signs in.
                if matches!(error.as_str(), "invalid_client" | "unauthorized_client") {
                    let what = format!("the provider refuses this client: {error}");
                    return Err(NoTokens::Failed(failure("client-refused", &what)));
                }
                Err(NoTokens::Refused(error))
            }
            status => {
                let what = format!("the token endpoint answers {status}");
                Err(NoTokens::Failed(unavailable(&what)))
            }
        }
    }

    /// The claims of an ID token that is good (OpenID Connect Core §3.1.3.7). `nonce`
    /// is the flow's; a renewed token needn't have one.
    pub(crate) fn claims(&self, token: &str, nonce: Option<&str>) -> Result<Claims, NoTokens> {
        let claims = match tokens::verify_jwt(&self.key_set, token) {
            Ok(claims) => claims.json,
            Err(Invalid::UnknownKey(_)) => return Err(NoTokens::UnknownKey),
            Err(invalid) => {
                let (code, message) = tidegate_plugin::claims::refusal(&invalid);
                return Err(NoTokens::NotGood(code, message));
            }
        };
        let Some(claims) = Claims::parse(&claims) else {
            return Err(NoTokens::NotGood("token-malformed", "The ID token is no object."));
        };
        if claims.text("iss").as_ref() != Some(&self.issuer) {
            return Err(NoTokens::NotGood("token-wrong-issuer", "The ID token is another's."));
        }
        let audience = claims.items("aud");
        let presented_by_us = match claims.text("azp") {
            Some(party) => party == self.client_id,
            None => audience.len() == 1,
        };
        if !audience.contains(&self.client_id) || !presented_by_us {
            let message = "The ID token is for somebody else.";
            return Err(NoTokens::NotGood("token-wrong-audience", message));
        }
        if let Some(nonce) = nonce {
            let theirs = claims.text("nonce").unwrap_or_default();
            if !tokens::equal(theirs.as_bytes(), nonce.as_bytes()) {
                let message = "The ID token is of another sign-in.";
                return Err(NoTokens::NotGood("token-wrong-nonce", message));
            }
        }
        Ok(claims)
    }
}

fn send(method: &str, url: &str, body: Vec<u8>) -> Result<http::Incoming, Failure> {
    let mut headers = vec![("accept".into(), "application/json".into())];
    if !body.is_empty() {
        headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
    }
    let asked = Outgoing { method: method.into(), url: url.into(), headers, body, timeout_ms: 0 };
    http::send(&asked).map_err(|error| match error {
        Error::NotAllowed(why) => failure("http-not-allowed", &format!("{url}: {why}")),
        Error::TimedOut => unavailable(&format!("{url} didn't answer in time")),
        Error::TooLarge => unavailable(&format!("{url} answered too much")),
        Error::Unreachable(why) => unavailable(&format!("{url}: {why}")),
    })
}

/// A failure that may be over in a moment.
fn unavailable(detail: &str) -> Failure {
    Failure { retryable: true, ..failure("provider-unavailable", detail) }
}
