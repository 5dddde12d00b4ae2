//! Claim: authenticate and resolve together take less than 10 µs when warm, with
//! a static token and no signature to check.
//!
//! Beside it the bare baseline: one call of a component that does nothing, in the
//! same engine. What lies between is what two questions with real answers cost:
//! the strings both ways, seven calls back into the host, the plausibility checks.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tidegate_policy::{Decision, HostConfig, PluginSource, PluginSpec, PolicyHost};
use tidegate_types::{DecisionId, PluginName, RequestFacts, Secret, TemplateName};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

const TOKEN: &str = "a-token-of-usual-length-0123456789";

fn spec(name: &str, config: Value) -> PluginSpec {
    let component = tidegate_builtin::component(name).expect("first-party").into();
    let source = PluginSource::Builtin { name: name.into(), component };
    PluginSpec { config, ..PluginSpec::new(PluginName::new(name).expect("a name"), source) }
}

/// With so many tokens; the first is the one that [`request`] bears.
fn host(tokens: usize) -> PolicyHost {
    let secret = |n: usize| {
        let value = if n == 0 { TOKEN.into() } else { format!("another-one-of-that-length-{n}") };
        (format!("TOKEN_{n}"), Secret::new(value))
    };
    let holder = |n: usize| {
        let subject = if n == 0 { "alice".into() } else { format!("user-{n}") };
        json!({ "secret": format!("TOKEN_{n}"), "subject": subject, "tenant": "demo" })
    };
    let config = HostConfig {
        secrets: Arc::new((0..tokens).map(secret).collect()),
        known_templates: [TemplateName::new("app").expect("a name")].into(),
        ..HostConfig::default()
    };
    let tokens = json!({
        "tokens": (0..tokens).map(holder).collect::<Vec<_>>(),
        "query-param": "token",
        "cookie": "tidegate",
    });
    let place = json!({
        "template": "app", "port": 18789, "host": "{subject}.localhost", "sleep-after": "10m",
        "request-headers": { "x-forwarded-user": "{subject}" },
    });
    PolicyHost::new(config, vec![spec("token", tokens), spec("per-user", place)]).expect("loads")
}

fn request() -> Arc<RequestFacts> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in [
        ("host", "alice.localhost:8080"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("cookie", &format!("theme=dark; tidegate={TOKEN}")),
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

fn policy_decision_warm(c: &mut Criterion) {
    let facts = request();
    let decide = |host: &PolicyHost| {
        let (generation, id) = (host.current(), DecisionId::random());
        let Decision::Granted { value: principal, .. } =
            at_once(generation.authenticate(&facts, id))
        else {
            panic!("not authenticated")
        };
        let who = Arc::new(principal.identity);
        let Decision::Granted { value: placement, .. } =
            at_once(generation.resolve(&facts, &who, id))
        else {
            panic!("not placed")
        };
        placement
    };
    // What a token costs doesn't grow with the number of tokens there are.
    for (name, tokens) in [("policy_decision_warm", 2), ("policy_decision_of_200_tokens", 200)] {
        let host = host(tokens);
        c.bench_function(name, |b| b.iter(|| black_box(decide(&host))));
    }
}

fn empty_component_call(c: &mut Criterion) {
    const EMPTY: &str = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config).expect("an engine");
    let component = Component::new(&engine, wat::parse_str(EMPTY).expect("well-formed"));
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1);
    let instance = Linker::new(&engine)
        .instantiate(&mut store, &component.expect("compiles"))
        .expect("instantiates");
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").expect("exported");
    c.bench_function("policy_decision_bare_call", |b| {
        b.iter(|| f.call(&mut store, ()).expect("returns"));
    });
}

criterion_group!(benches, policy_decision_warm, empty_component_call);
criterion_main!(benches);
