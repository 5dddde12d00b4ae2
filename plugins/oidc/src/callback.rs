//! A person comes back from the provider.

use tidegate_plugin::claims::Claims;
use tidegate_plugin::cookies::clear_cookie;
use tidegate_plugin::host::tokens;
use tidegate_plugin::prelude::*;
use tidegate_plugin::text::{Form, percent_decode};

use crate::flow::{FIRST, Flow};
use crate::provider::{NoTokens, Tokens};
use crate::session::{Found, Renewal, Session};
use crate::{Asked, Oidc, redirect};

impl Oidc {
    /// A session for whoever brings a code of a flow that was begun here.
    pub(crate) fn callback(&self, asked: &Asked<'_>) -> Result<Denial, Failure> {
        let query = asked.request.query().unwrap_or_default();
        let state = param(&query, "state").unwrap_or_default();
        let Some(flow) = self.flow(asked, &state) else {
            // Somebody went back in the browser's history.
            if let Found::One(_) = Session::of(asked) {
                return Ok(redirect("signed-in", "/".into(), Vec::new()));
            }
            let message = "This sign-in wasn't begun in this browser, or took too long. \
                           Open the page again.";
            return Ok(denial(400, "sign-in-unknown", message));
        };
        let over = clear_cookie(&asked.jar.flow_name(&state));
        let mut answer = self.signed_in(asked, &query, flow)?;
        answer.headers.push(over);
        Ok(answer)
    }

    fn signed_in(&self, asked: &Asked<'_>, query: &str, flow: Flow) -> Result<Denial, Failure> {
        if let Some(error) = param(query, "error") {
            let error: String = error.chars().filter(char::is_ascii_graphic).take(60).collect();
            let message = format!("The provider did not sign you in: {error}.");
            return Ok(denial(403, "sign-in-refused", &message));
        }
        let Some(code) = param(query, "code") else {
            return Ok(denial(400, "sign-in-incomplete", "The provider sent no code."));
        };
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &self.redirect_uri(asked)),
            ("code_verifier", &flow.verifier),
        ];
        let given = self.provider.tokens(&form, asked.now_ms).and_then(|given| {
            let Some(token) = &given.id_token else {
                return Err(NoTokens::NotGood("token-missing", "The provider sent no ID token."));
            };
            let claims = self.provider.claims(token, Some(&flow.nonce))?;
            Ok((given, claims))
        });
        let (given, claims) = match given {
            Ok(given) => given,
            Err(NoTokens::Refused(error)) => {
                let message = format!("The provider refused this sign-in: {error}. Try again.");
                return Ok(denial(400, "sign-in-refused", &message));
            }
            // The key set is being fetched by now; the provider remembers the person.
            Err(NoTokens::UnknownKey) if flow.attempt == FIRST => {
                return self.begin_towards(asked, flow.to, flow.attempt + 1);
            }
            Err(NoTokens::UnknownKey) => {
                let detail = "the provider signs with a key that isn't in its key set";
                return Err(Failure { retryable: true, ..failure("unknown-key", detail) });
            }
            Err(NoTokens::NotGood(code, message)) => return Ok(denial(403, code, message)),
            Err(NoTokens::Failed(failure)) => return Err(failure),
        };
        if !self.config.allows(&claims) {
            let message = "This account isn't allowed here.";
            return Ok(denial(403, "account-not-allowed", message));
        }
        let ends_ms = asked.now_ms.saturating_add(self.config.session.0);
        let renewal = self.renewal(given, &claims, asked.now_ms);
        let Some(session) = Session::begun(&self.config, &claims, renewal, ends_ms) else {
            let message = "The ID token doesn't say who it is for.";
            return Ok(denial(403, "token-incomplete", message));
        };
        let Some(mut cookies) = session.kept(asked)? else {
            let message = "The session is too long for cookies: fewer `claims` help.";
            return Ok(denial(403, "session-too-long", message));
        };
        // Pieces of a longer session that was here before.
        let dropped = asked.jar.drop_session();
        let replaced = |gone: &(String, String)| {
            let name = |cookie: &str| cookie.split('=').next().unwrap_or_default().to_owned();
            cookies.iter().any(|kept| name(&kept.1) == name(&gone.1))
        };
        let left_over: Vec<_> = dropped.into_iter().filter(|gone| !replaced(gone)).collect();
        cookies.extend(left_over);
        Ok(redirect("signed-in", flow.to, cookies))
    }

    /// How a session with these tokens is renewed.
    pub(crate) fn renewal(&self, given: Tokens, claims: &Claims, now_ms: u64) -> Option<Renewal> {
        let token = given.refresh_token.filter(|_| self.config.renew)?;
        let lives_ms = given.expires_in.map(|seconds| seconds.saturating_mul(1_000));
        let lives_ms = lives_ms.or_else(|| Some(claims.time_ms("exp")?.saturating_sub(now_ms)))?;
        Some(Renewal::new(token, lives_ms, now_ms))
    }

    fn flow(&self, asked: &Asked<'_>, state: &str) -> Option<Flow> {
        let flow: Flow = serde_json::from_slice(&asked.jar.flow(state)?).ok()?;
        let same = tokens::equal(flow.state.as_bytes(), state.as_bytes());
        (same && asked.now_ms < flow.ends_ms).then_some(flow)
    }
}

/// The first value of a parameter.
fn param(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    percent_decode(value, Form::Query)
}
