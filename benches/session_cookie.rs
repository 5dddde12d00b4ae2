//! Claim, warm and in one process: a request of somebody who signed in at an OpenID
//! provider costs less than 15 µs to authenticate, and calls nobody.
//!
//! `builtin:oidc` imports `http`, so it is asked on a stack of its own; what that costs
//! shows beside `policy_decision_es256_who` of `policy_decision`, whose plugin is asked
//! on the caller's.

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use serde_json::json;
use tidegate_policy::{
    Decision, HostConfig, HttpGrant, KeySet, Outgoing, PluginSource, PluginSpec, PolicyHost,
    Secrets, SendError, Sending,
};
use tidegate_types::{DecisionId, Denial, PluginName, Principal, RequestFacts, Secret};

const ISSUER: &str = "https://id.example.org";
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A provider that gives one token.
#[derive(Debug, Default)]
struct Provider(Mutex<String>);

impl Outgoing for Provider {
    fn send(&self, request: Request<bytes::Bytes>, _: Duration, _: usize) -> Sending<'_> {
        Box::pin(async move {
            let answer = match request.uri().path() {
                "/token" => json!({ "id_token": *self.0.lock().expect("not poisoned") }),
                _ => json!({
                    "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/authorize"),
                    "token_endpoint": format!("{ISSUER}/token"),
                }),
            };
            Ok::<_, SendError>(Response::new(answer.to_string().into()))
        })
    }
}

fn host(provider: &Arc<Provider>) -> PolicyHost {
    let component = tidegate_builtin::component("oidc").expect("a first-party plugin");
    let source = PluginSource::Builtin { name: "oidc".into(), component: component.into() };
    let spec = PluginSpec {
        config: json!({
            "issuer": ISSUER, "client-id": "us", "key-set": "k", "session-secret": "SEAL",
            "tenant": "demo", "claims": ["email"],
        }),
        http: Some(HttpGrant {
            hosts: vec!["id.example.org".into()],
            secrets: std::collections::BTreeSet::new(),
            timeout: Duration::from_secs(5),
            max_body: 1 << 20,
        }),
        ..PluginSpec::new(PluginName::new("oidc").expect("a name"), source)
    };
    let seal = ("SEAL".to_owned(), Secret::new("a secret of thirty-two bytes or more".into()));
    let config = HostConfig {
        secrets: Arc::new(Secrets::from_iter([seal])),
        key_sets: [("k".to_owned(), KeySet::from_shared_secret(KEY))].into(),
        outgoing: Some(Arc::clone(provider) as Arc<dyn Outgoing>),
        ..HostConfig::default()
    };
    PolicyHost::new(config, vec![spec]).expect("loads")
}

fn request(path: &str, query: Option<&str>, cookie: &str) -> Arc<RequestFacts> {
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("text/html"));
    headers.insert("cookie", HeaderValue::from_str(cookie).expect("a value"));
    Arc::new(RequestFacts {
        method: Method::GET,
        https: true,
        authority: "a.example.org".into(),
        path: path.into(),
        query: query.map(Into::into),
        headers,
        client: [192, 0, 2, 7].into(),
        websocket: false,
        client_certificate_subject: None,
    })
}

fn asked(host: &PolicyHost, facts: &Arc<RequestFacts>) -> Decision<Principal> {
    let generation = host.current();
    generation
        .authenticate(facts, DecisionId::random())
        .now_or_never()
        .expect("nothing to wait for")
}

fn denied(decision: Decision<Principal>) -> Denial {
    match decision {
        Decision::Denied { denial, .. } => denial,
        other => panic!("{other:?}"),
    }
}

fn header(denial: &Denial, name: &str) -> String {
    let found = denial.headers.iter().find(|(known, _)| known == name);
    found.and_then(|(_, value)| value.to_str().ok()).expect("the field").to_owned()
}

fn cookie(denial: &Denial) -> String {
    header(denial, "set-cookie").split(';').next().expect("a pair").to_owned()
}

fn param(url: &str, name: &str) -> String {
    let pairs = url.split(['?', '&']).filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).expect("the parameter").1.to_owned()
}

fn token(nonce: &str) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": "us", "sub": "alice", "nonce": nonce, "exp": 4_000_000_000_u64,
        "email": "alice@example.org",
    });
    let parts = [r#"{"alg":"HS256"}"#.to_owned(), claims.to_string()];
    let message = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, KEY.as_bytes());
    let signature = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn session(c: &mut Criterion) {
    let provider = Arc::new(Provider::default());
    let host = host(&provider);
    let sent = denied(asked(&host, &request("/", None, "")));
    let url = header(&sent, "location");
    *provider.0.lock().expect("not poisoned") = token(&param(&url, "nonce"));
    let query = format!("code=c&state={}", param(&url, "state"));
    let back = request("/.tidegate/sign-in", Some(&query), &cookie(&sent));
    let signed_in = denied(asked(&host, &back));
    let facts = request("/", None, &format!("theme=dark; {}", cookie(&signed_in)));
    assert!(matches!(asked(&host, &facts), Decision::Granted { .. }));
    c.bench_function("session_cookie_who", |b| b.iter(|| black_box(asked(&host, &facts))));
}

criterion_group!(benches, session);
criterion_main!(benches);
