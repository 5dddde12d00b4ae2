//! Claim: authenticate and resolve together take less than 10 µs when warm, with
//! a static token and no signature to check.
//!
//! Beside it the bare baseline: one call of a component that does nothing, in the
//! same engine. What lies between is what two questions with real answers cost:
//! the strings both ways, a dozen getters, the plausibility checks.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tidegate_policy::{Decision, HostConfig, PluginSource, PluginSpec, PolicyHost, Secrets};
use tidegate_types::{DecisionId, PluginName, RequestFacts, Secret, TemplateName};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

fn spec(name: &str, config: Value) -> PluginSpec {
    let component = tidegate_builtin::component(name).expect("first-party").into();
    let source = PluginSource::Builtin { name: name.into(), component };
    PluginSpec { config, ..PluginSpec::new(PluginName::new(name).expect("a name"), source) }
}

fn host() -> PolicyHost {
    let config = HostConfig {
        secrets: Arc::new(Secrets::from_iter([
            ("ALICE".to_owned(), Secret::new("a-token-of-usual-length-0123456789".into())),
            ("BOB".to_owned(), Secret::new("another-one-of-about-that-length".into())),
        ])),
        known_templates: [TemplateName::new("app").expect("a name")].into(),
        ..HostConfig::default()
    };
    let tokens = json!({
        "tokens": [
            { "secret": "ALICE", "subject": "alice", "tenant": "demo" },
            { "secret": "BOB", "subject": "bob", "tenant": "demo" },
        ],
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
        ("cookie", "theme=dark; tidegate=a-token-of-usual-length-0123456789"),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
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

fn policy_decision_warm(c: &mut Criterion) {
    let (host, facts) = (host(), request());
    let decide = || {
        let (generation, id) = (host.current(), DecisionId::random());
        let Decision::Granted { value: principal, .. } = generation.authenticate(&facts, id) else {
            panic!("not authenticated")
        };
        let who = Arc::new(principal.identity);
        let Decision::Granted { value: placement, .. } = generation.resolve(&facts, &who, id)
        else {
            panic!("not placed")
        };
        placement
    };
    c.bench_function("policy_decision_warm", |b| b.iter(|| black_box(decide())));
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
