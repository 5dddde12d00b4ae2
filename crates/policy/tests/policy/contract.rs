//! What is refused before it runs, and in which words.

use serde_json::json;
use tempfile::TempDir;
use tidegate_policy::{PluginSource, PluginSpec};

use crate::stage::{
    authenticate, component_file, granted, host, hostile, plugin_name, problem, request, resolve,
};

fn spec(path: std::path::PathBuf) -> PluginSpec {
    PluginSpec::new(plugin_name("gate"), PluginSource::File(path))
}

fn check(wat: &str, expected: &str) {
    let dir = TempDir::new().expect("a directory");
    let told = problem(spec(component_file(dir.path(), "p.wasm", wat)));
    assert!(told.starts_with("plugin `gate`: ") && told.contains(expected), "{told}");
}

#[test]
fn a_component_that_breaks_the_contract_is_refused_in_plain_words() {
    check("(component)", "doesn't export `tidegate:policy/plugin@0.2.0`");
    check("(module)", "is a core WASM module, not a WASM component; turn it into one");
    check(
        r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#,
        "it imports `wasi:cli/environment@0.2.0`, which no plugin gets; build it without WASI",
    );
    check(
        r#"(component (import "tidegate:host/http@0.1.0" (instance)))"#,
        "0.1.0 never offered HTTP calls",
    );
    check(
        r#"(component (instance $i) (export "tidegate:policy/plugin@9.0.0" (instance $i)))"#,
        "in version 9.0.0, which isn't served; build it for version 0.2.0 or 0.1.0",
    );
    check(
        r#"(component (import "tidegate:host/log@0.3.0" (instance)))"#,
        "in version 0.3.0, which isn't served",
    );
    let describing = |more: &str| {
        format!(
            r#"(component
                (core module $m (func (export "f")))
                (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i "f")))
                (instance $plugin (export "describe" (func $f)) (export "configure" (func $f)))
                (instance $empty)
                (export "tidegate:policy/plugin@0.2.0" (instance $plugin))
                {more})"#
        )
    };
    check(&describing(""), "it serves no hook");
    check(
        &describing(r#"(export "tidegate:policy/billing@0.2.0" (instance $empty))"#),
        "it serves `billing`, which this version doesn't ask",
    );
    check(
        &describing(r#"(export "tidegate:policy/resolve@0.2.0" (instance $empty))"#),
        "its `resolve` has another form than the contract's",
    );
    check(
        &describing(
            r#"(instance $other (export "resolve" (func $f)))
            (export "tidegate:policy/resolve@0.2.0" (instance $other))"#,
        ),
        "can't be started",
    );
}

#[test]
fn what_is_not_there_or_not_wasm_is_said_so() {
    let dir = TempDir::new().expect("a directory");
    let missing = dir.path().join("missing.wasm");
    let told = problem(spec(missing));
    assert!(told.contains("there is no file `"), "{told}");
    let text = dir.path().join("text.wasm");
    std::fs::write(&text, "not wasm").expect("writable");
    let told = problem(spec(text));
    assert!(told.contains("is something else, not a WASM component"), "{told}");
    let told = problem(spec(dir.path().to_owned()));
    assert!(told.contains("isn't a file"), "{told}");
}

#[test]
fn bounds_that_make_no_sense_are_refused() {
    let told = problem(PluginSpec { memory: 0, ..hostile(json!({})) });
    assert!(told.contains("memory bound of 0 bytes"), "{told}");
    let told = problem(PluginSpec { memory: 64 << 10, ..hostile(json!({})) });
    assert!(told.contains("can't be started"), "{told}");
    let told = problem(PluginSpec { deadline: std::time::Duration::ZERO, ..hostile(json!({})) });
    assert!(told.contains("deadline"), "{told}");
}

#[test]
fn a_component_of_the_version_before_keeps_working() {
    let since = |name: &str, config| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/since-v0.1.0/");
        let source = PluginSource::File(format!("{path}{name}.wasm").into());
        PluginSpec { config, ..PluginSpec::new(plugin_name(name), source) }
    };
    let holder = json!({ "secret": "ALICE_TOKEN", "subject": "alice", "tenant": "demo" });
    let place = json!({ "template": "hello", "port": 80, "sandbox": "box-{subject}" });
    let host = host(vec![since("token", json!({ "tokens": [holder] })), since("per-user", place)]);
    let facts = request("GET http://h/", &[("authorization", "Bearer alice-token")]);
    assert_eq!(granted(authenticate(&host, &facts)).identity.subject.as_str(), "alice");
    assert_eq!(granted(resolve(&host, &facts, "alice")).sandbox.as_str(), "box-alice");
}
