//! What a request asks of policy, without anything around it: who, how much, where.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tidegate_policy::{
    ClaimRules, Decision, HostConfig, Isolation, KeySet, PluginSource, PluginSpec, PolicyHost,
};
use tidegate_types::{
    DecisionId, Identity, Limit, Placement, PluginName, Principal, RequestFacts, Secret, SubjectId,
    TemplateName, TenantId,
};

const TOKEN: &str = "a-token-of-usual-length-0123456789";

/// A host with three plugins, and a request for it.
#[derive(Debug)]
pub struct Decisions {
    host: PolicyHost,
    facts: Arc<RequestFacts>,
}

/// How a signed token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// ECDSA with P-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Decisions {
    /// With so many static tokens, the first of which the request bears.
    ///
    /// # Panics
    /// When the first-party plugins don't load.
    #[must_use]
    pub fn by_token(tokens: usize, isolation: Isolation) -> Self {
        Self::by_token_among(tokens, isolation, HostConfig::DEFAULT_MAX_INSTANCES)
    }

    /// As [`by_token`](Self::by_token), in an engine with room for so many instances: a
    /// profiler that follows every address can't follow as many as there usually are.
    ///
    /// # Panics
    /// When the first-party plugins don't load.
    #[must_use]
    pub fn by_token_among(tokens: usize, isolation: Isolation, instances: u32) -> Self {
        let secret = |n: usize| {
            let value =
                if n == 0 { TOKEN.into() } else { format!("another-one-of-that-length-{n}") };
            (format!("TOKEN_{n}"), Secret::new(value))
        };
        let holder = |n: usize| {
            let subject = if n == 0 { "alice".into() } else { format!("user-{n}") };
            json!({ "secret": format!("TOKEN_{n}"), "subject": subject, "tenant": "demo" })
        };
        let config = HostConfig {
            secrets: Arc::new((0..tokens).map(secret).collect()),
            ..config(instances)
        };
        let token = json!({
            "tokens": (0..tokens).map(holder).collect::<Vec<_>>(),
            "query-param": "token",
            "cookie": "tidegate",
        });
        let plugins = [spec("token", token), tiers(), per_user()]
            .map(|spec| PluginSpec { isolation, ..spec });
        let host = PolicyHost::new(config, plugins.into()).expect("loads");
        let cookie = format!("theme=dark; tidegate={TOKEN}");
        Self { host, facts: request(("cookie", &cookie)) }
    }

    /// With a signed token, verified by the host.
    ///
    /// # Panics
    /// When the first-party plugins don't load.
    #[must_use]
    pub fn by_signature(signed: Signed) -> Self {
        Self::by_signature_among(signed, HostConfig::DEFAULT_MAX_INSTANCES)
    }

    /// As [`by_token_among`](Self::by_token_among), with a signed token.
    ///
    /// # Panics
    /// When the first-party plugins don't load.
    #[must_use]
    pub fn by_signature_among(signed: Signed, instances: u32) -> Self {
        let (jwk, token) = signed.key_and_token();
        let keys = KeySet::from_jwks_json(&json!({ "keys": [jwk] }).to_string()).expect("good");
        let audience = vec!["tidegate".into()];
        let keys = keys.with_rules(ClaimRules { audience, ..ClaimRules::default() });
        let config = HostConfig { key_sets: [("main".into(), keys)].into(), ..config(instances) };
        let jwt = json!({ "key-set": "main", "tenant-claim": "org" });
        let host = PolicyHost::new(config, vec![spec("jwt", jwt), tiers(), per_user()]);
        let bearer = format!("Bearer {token}");
        Self { host: host.expect("loads"), facts: request(("authorization", &bearer)) }
    }

    /// Asks all three.
    #[must_use]
    pub fn decide(&self) -> (Vec<Limit>, Placement) {
        self.decide_about(&self.facts)
    }

    /// A request of one's own: what threads share they wait for.
    #[must_use]
    pub fn another_request(&self) -> Arc<RequestFacts> {
        Arc::new(RequestFacts::clone(&self.facts))
    }

    /// Asks all three about that request.
    #[must_use]
    pub fn decide_about(&self, facts: &Arc<RequestFacts>) -> (Vec<Limit>, Placement) {
        let (generation, id) = (self.host.current(), DecisionId::random());
        let principal = granted(at_once(generation.authenticate(facts, id)));
        let who = Arc::new(principal.identity);
        let limits = at_once(generation.limits(&who, id)).expect("limits");
        (limits, granted(at_once(generation.resolve(facts, &who, id))))
    }

    /// Asks who alone.
    #[must_use]
    pub fn authenticate(&self) -> Principal {
        granted(at_once(self.host.current().authenticate(&self.facts, DecisionId::random())))
    }

    /// Asks how much and where, of `who`.
    #[must_use]
    pub fn place(&self, who: &Arc<Identity>) -> (Vec<Limit>, Placement) {
        let (generation, id) = (self.host.current(), DecisionId::random());
        let limits = at_once(generation.limits(who, id)).expect("limits");
        (limits, granted(at_once(generation.resolve(&self.facts, who, id))))
    }
}

/// The one whom the request is for, in a tenant of that number.
///
/// # Panics
/// Never: the names are good.
#[must_use]
pub fn of_tenant(number: usize) -> Arc<Identity> {
    Arc::new(Identity {
        subject: SubjectId::new("alice").expect("a subject"),
        tenant: TenantId::new(&format!("tenant-{number}")).expect("a tenant"),
        claims: vec![("plan".into(), "pro".into())],
    })
}

impl Signed {
    fn key_and_token(self) -> (Value, String) {
        let random = SystemRandom::new();
        let until = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let claims = json!({
            "iss": "https://id.example.org", "aud": "tidegate", "sub": "alice", "org": "demo",
            "email": "alice@example.org", "exp": until + 86_400,
        });
        let header = json!({ "alg": self.name(), "kid": "k", "typ": "JWT" });
        let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = parts.join(".");
        let (jwk, signature) = match self {
            Self::EdDsa => {
                let key = Ed25519KeyPair::generate_pkcs8(&random).expect("random");
                let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("a key");
                let x = URL_SAFE_NO_PAD.encode(key.public_key());
                let jwk = json!({ "kty": "OKP", "kid": "k", "crv": "Ed25519", "x": x });
                (jwk, key.sign(message.as_bytes()).as_ref().to_vec())
            }
            Self::Es256 => {
                let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let key = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("random");
                let key = EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random).expect("a key");
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
                let jwk = json!({ "kty": "EC", "kid": "k", "crv": "P-256", "x": x, "y": y });
                let signature = key.sign(&random, message.as_bytes()).expect("signs");
                (jwk, signature.as_ref().to_vec())
            }
        };
        (jwk, format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

fn config(max_instances: u32) -> HostConfig {
    HostConfig {
        known_templates: [TemplateName::new("app").expect("a name")].into(),
        max_instances,
        ..HostConfig::default()
    }
}

fn tiers() -> PluginSpec {
    let limits = json!([
        { "meter": "requests", "amount": 600, "per": "1m", "burst": 100 },
        { "meter": "sandboxes", "amount": 1 },
    ]);
    let config = json!({
        "claim": "plan", "default": "free", "tiers": { "free": { "limits": limits }, "pro": { "limits": limits } },
    });
    spec("tiers", config)
}

fn per_user() -> PluginSpec {
    let config = json!({
        "template": "app", "port": 18789, "host": "{subject}.localhost", "sleep-after": "10m",
        "request-headers": { "x-forwarded-user": "{subject}" },
    });
    spec("per-user", config)
}

fn spec(name: &str, config: Value) -> PluginSpec {
    let component = tidegate_builtin::component(name).expect("first-party").into();
    let source = PluginSource::Builtin { name: name.into(), component };
    let spec = PluginSpec::new(PluginName::new(name).expect("a name"), source);
    // Under a profiler everything takes fifty times as long.
    PluginSpec { config, deadline: Duration::from_secs(10), ..spec }
}

fn request(credential: (&'static str, &str)) -> Arc<RequestFacts> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in [
        ("host", "alice.localhost:8080"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        credential,
    ] {
        headers.insert(name, http::HeaderValue::from_str(value).expect("plain text"));
    }
    Arc::new(RequestFacts {
        method: http::Method::GET,
        https: false,
        authority: "alice.localhost:8080".into(),
        path: "/chat".into(),
        query: Some("session=main".into()),
        headers,
        client: [127, 0, 0, 1].into(),
        websocket: false,
        client_certificate_subject: None,
    })
}

/// These plugins don't call out: there is nothing to wait for.
fn at_once<T>(asked: impl Future<Output = T>) -> T {
    asked.now_or_never().expect("it had nothing to wait for")
}

fn granted<T: std::fmt::Debug>(decision: Decision<T>) -> T {
    match decision {
        Decision::Granted { value, .. } => value,
        other => panic!("{other:?}"),
    }
}
