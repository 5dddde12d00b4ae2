//! Requests, plugins and a host, in as few words as a test wants to use.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use serde_json::Value;
use tidegate_policy::{
    Decision, HostConfig, PluginProblem, PluginSource, PluginSpec, PolicyHost, Secrets,
};
use tidegate_types::{
    DecisionId, Denial, Identity, Placement, PluginName, Principal, RequestFacts, Secret,
    SubjectId, TemplateName, TenantId,
};

pub(crate) fn builtin(name: &str, config: Value) -> PluginSpec {
    let component = tidegate_builtin::component(name).expect("a first-party plugin");
    let source = PluginSource::Builtin { name: name.into(), component: component.into() };
    PluginSpec { config, ..PluginSpec::new(plugin_name(name), source) }
}

/// The plugin that does everything wrong.
pub(crate) fn hostile(config: Value) -> PluginSpec {
    test_plugin("hostile", config)
}

/// A plugin of `plugins/` that is there for tests.
pub(crate) fn test_plugin(name: &'static str, config: Value) -> PluginSpec {
    let source = PluginSource::Builtin { name: name.into(), component: built(name).into() };
    PluginSpec { config, ..PluginSpec::new(plugin_name(name), source) }
}

/// Its component, built once per run.
pub(crate) fn built(name: &'static str) -> &'static [u8] {
    static BUILT: LazyLock<Mutex<HashMap<&str, &[u8]>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().expect("nobody panics while building");
    built.entry(name).or_insert_with(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../plugins");
        let toolchain = tidegate_plugin_build::toolchain().expect("a compiler for WASM");
        let components =
            tidegate_plugin_build::build(&toolchain, &root.join("plugins"), &scratch, &[name]);
        components.expect("builds").remove(0).leak()
    })
}

pub(crate) fn plugin_name(name: &str) -> PluginName {
    PluginName::new(name).expect("a plugin name")
}

pub(crate) fn config() -> HostConfig {
    let secret = |name: &str, value: &str| (name.to_owned(), Secret::new(value.into()));
    HostConfig {
        secrets: Arc::new(Secrets::from_iter([
            secret("ALICE_TOKEN", "alice-token"),
            secret("BOB_TOKEN", "bob-token"),
            secret("EMPTY", ""),
        ])),
        known_templates: [TemplateName::new("hello").expect("a template name")].into(),
        ..HostConfig::default()
    }
}

pub(crate) fn host(specs: Vec<PluginSpec>) -> PolicyHost {
    PolicyHost::new(config(), specs).unwrap_or_else(|problems| panic!("{}", told(&problems)))
}

/// The one problem that loading `spec` has.
pub(crate) fn problem(spec: PluginSpec) -> String {
    match PolicyHost::new(config(), vec![spec]) {
        Ok(_) => panic!("it was loaded"),
        Err(problems) => told(&problems),
    }
}

pub(crate) fn told(problems: &[PluginProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// `METHOD scheme://authority/path?query`, with header fields.
pub(crate) fn request(line: &str, headers: &[(&str, &str)]) -> Arc<RequestFacts> {
    let (method, uri) = line.split_once(' ').expect("a method and a URI");
    let (scheme, rest) = uri.split_once("://").expect("a scheme");
    let (authority, path) = rest.split_once('/').expect("a path");
    let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
    let mut fields = http_headers();
    for (name, value) in headers {
        fields.append(
            http::HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            http::HeaderValue::from_str(value).expect("a value"),
        );
    }
    Arc::new(RequestFacts {
        method: method.parse().expect("a method"),
        https: scheme == "https",
        authority: authority.into(),
        path: format!("/{path}"),
        query: query.map(Into::into),
        headers: fields,
        client: [192, 0, 2, 7].into(),
        websocket: false,
        client_certificate_subject: None,
    })
}

fn http_headers() -> http::HeaderMap {
    http::HeaderMap::new()
}

pub(crate) fn who(tenant: &str, subject: &str) -> Arc<Identity> {
    Arc::new(Identity {
        subject: SubjectId::new(subject).expect("a subject"),
        tenant: TenantId::new(tenant).expect("a tenant"),
        claims: vec![("teams".into(), "blue green".into())],
    })
}

pub(crate) fn authenticate(host: &PolicyHost, facts: &Arc<RequestFacts>) -> Decision<Principal> {
    at_once(host.current().authenticate(facts, DecisionId::random()))
}

pub(crate) fn resolve(
    host: &PolicyHost,
    facts: &Arc<RequestFacts>,
    subject: &str,
) -> Decision<Placement> {
    at_once(host.current().resolve(facts, &who("demo", subject), DecisionId::random()))
}

/// The result of asking plugins that don't call out: there is nothing to wait for.
pub(crate) fn at_once<T>(asked: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(asked).expect("it had nothing to wait for")
}

pub(crate) fn granted<T: std::fmt::Debug>(decision: Decision<T>) -> T {
    match decision {
        Decision::Granted { value, .. } => value,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn denied<T: std::fmt::Debug>(decision: Decision<T>) -> Denial {
    match decision {
        Decision::Denied { denial, .. } => denial,
        other => panic!("{other:?}"),
    }
}

/// `REASON: DETAIL`.
pub(crate) fn failed<T: std::fmt::Debug>(decision: Decision<T>) -> String {
    match decision {
        Decision::Failed(failure) => format!("{}: {}", failure.reason.as_str(), failure.detail),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn header<'d>(denial: &'d Denial, name: &str) -> &'d str {
    let field = denial.headers.iter().find(|(n, _)| n == name);
    field.unwrap_or_else(|| panic!("no {name} in {denial:?}")).1.to_str().expect("text")
}

/// A component from its text form, in a directory of the test's own.
pub(crate) fn component_file(dir: &Path, name: &str, wat: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, wat::parse_str(wat).expect("well-formed")).expect("writable");
    path
}
