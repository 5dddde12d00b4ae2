//! The relay with policy before it: bearer tokens and a sandbox for everyone, asked
//! in the order, and followed as far, as the gateway does.

use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use tidegate_policy::{Decision, HostConfig, PluginSource, PluginSpec, PolicyHost};
use tidegate_relay::{DECISION_HEADER, RelayBody, Route, problem};
use tidegate_types::{
    Credential, DecisionId, HeaderEdit, PluginName, RequestFacts, Secret, TemplateName,
};

use crate::relayed::Judge;

/// How many tokens there are.
pub const TOKENS: usize = 200;

/// Each token, and whose it is.
pub fn tokens() -> impl Iterator<Item = (String, String)> {
    (0..TOKENS).map(|n| (format!("a-token-of-usual-length-{n:010}"), format!("user-{n}")))
}

/// `builtin:token` and `builtin:per-user`.
#[derive(Debug)]
pub struct Policy(PolicyHost);

impl Policy {
    /// With [`tokens`].
    ///
    /// # Panics
    /// When the first-party plugins don't load.
    #[must_use]
    pub fn bearer() -> Self {
        let name = |n: usize| format!("TOKEN_{n}");
        let secrets = tokens().enumerate().map(|(n, (token, _))| (name(n), Secret::new(token)));
        let config = HostConfig {
            secrets: Arc::new(secrets.collect()),
            known_templates: [TemplateName::new("app").expect("a name")].into(),
            ..HostConfig::default()
        };
        let holder = |(n, (_, subject)): (usize, (String, String))| json!({ "secret": name(n), "subject": subject, "tenant": "demo" });
        let token = json!({ "tokens": tokens().enumerate().map(holder).collect::<Vec<_>>() });
        let per_user = json!({
            "template": "app", "port": 18789, "sleep-after": "10m",
            "request-headers": { "x-forwarded-user": "{subject}" },
        });
        let plugins = vec![spec("token", token), spec("per-user", per_user)];
        Self(PolicyHost::new(config, plugins).expect("the first-party plugins load"))
    }
}

fn spec(name: &str, config: Value) -> PluginSpec {
    let component = tidegate_builtin::component(name).expect("first-party").into();
    let source = PluginSource::Builtin { name: name.into(), component };
    PluginSpec { config, ..PluginSpec::new(PluginName::new(name).expect("a name"), source) }
}

impl Judge for Policy {
    async fn judge(
        &self,
        facts: Arc<RequestFacts>,
        port: u16,
        id: DecisionId,
    ) -> Result<Route, Response<RelayBody>> {
        let generation = self.0.current();
        let principal = granted(generation.authenticate(&facts, id).await)
            .map_err(|refused| refused.answer(id))?;
        let who = Arc::new(principal.identity);
        let placement = granted(generation.resolve(&facts, &who, id).await)
            .map_err(|refused| refused.answer(id))?;
        let session_cookies = principal.consumed.iter().filter_map(|place| match place {
            Credential::Cookie(name) => Some(name.clone()),
            Credential::Header(_) | Credential::QueryParam(_) => None,
        });
        let session_cookies = session_cookies.collect();
        let mut response_headers = principal.response_headers;
        response_headers.extend(placement.response_headers);
        if let Ok(value) = HeaderValue::try_from(id.to_string()) {
            response_headers.push(HeaderEdit::Set(DECISION_HEADER, value));
        }
        Ok(Route {
            path: placement.path,
            strip: principal.consumed,
            request_headers: placement.request_headers,
            response_headers,
            session_cookies,
            expires_at: principal.expires_at,
            // Not the placement's: that is inside the sandbox, and there is none.
            ..Route::new(facts, port)
        })
    }
}

fn granted<T>(decision: Decision<T>) -> Result<T, Refused> {
    match decision {
        Decision::Granted { value, .. } => Ok(value),
        Decision::Denied { denial, .. } => Err(Refused(denial.status, denial.code)),
        Decision::Unanswered => Err(Refused(StatusCode::UNAUTHORIZED, "unauthenticated".into())),
        Decision::Failed(_) => {
            Err(Refused(StatusCode::SERVICE_UNAVAILABLE, "policy-failed".into()))
        }
    }
}

struct Refused(StatusCode, String);

impl Refused {
    fn answer(self, id: DecisionId) -> Response<RelayBody> {
        problem(self.0, &self.1, "The request was refused.", id)
    }
}
