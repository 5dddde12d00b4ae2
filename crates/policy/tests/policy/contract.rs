//! What is refused before it runs, and in which words.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tidegate_policy::{HostConfig, PluginSource, PluginSpec, PolicyHost};

use crate::stage::{
    authenticate, component_file, config, granted, host, hostile, plugin_name, problem, request,
    resolve, told,
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

#[test]
fn a_frozen_version_of_the_contract_never_changes() {
    let frozen = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/since-v0.1.0/");
    for (file, sha256) in [
        ("policy.wit", "9f8f83fcf21e9eefa6ae6ec974905b1d7d530ac8354037c68dbff1a276e380c1"),
        ("deps/host/host.wit", "8c27253bae75ab471cccb460287a8905e4747bc07ed853436b9e0167592c47c3"),
    ] {
        let text = std::fs::read(format!("{frozen}{file}")).expect("readable");
        let digest: String = Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(digest, sha256, "{file}: components were built for it as it was");
    }
}

/// A component that serves `authenticate` as far as a look at its form goes.
fn serving(more: &str) -> String {
    format!(
        r#"(component
            {more}
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $plugin (export "describe" (func $f)) (export "configure" (func $f)))
            (instance $hook (export "authenticate" (func $f)))
            (export "tidegate:policy/plugin@0.2.0" (instance $plugin))
            (export "tidegate:policy/authenticate@0.2.0" (instance $hook)))"#
    )
}

#[test]
fn what_needs_a_grant_is_not_loaded_without_one() {
    check(
        &serving(r#"(import "tidegate:host/http@0.2.0" (instance))"#),
        "it calls HTTP services, and none is granted to it; name the hosts in `http = {",
    );
    check(
        &serving(r#"(import "tidegate:host/journal@0.2.0" (instance))"#),
        "it writes a journal, and none is granted to it; name a file in `journal = {",
    );
}

#[test]
fn features_that_no_compiler_needs_are_not_there() {
    let core = |body: &str| format!("(component (core module {body}))");
    for body in [
        "(memory i64 1)",
        "(memory 1) (memory 1)",
        "(memory 1 1 shared)",
        "(func (param v128 v128 v128) (result v128)
            local.get 0 local.get 1 local.get 2 f32x4.relaxed_madd)",
        "(func (param i64 i64 i64 i64) (result i64 i64)
            local.get 0 local.get 1 local.get 2 local.get 3 i64.add128)",
        "(type (struct (field i32)))",
    ] {
        check(&core(body), "can't be compiled");
    }
}

#[test]
fn a_component_that_is_too_large_is_not_even_compiled() {
    let dir = TempDir::new().expect("a directory");
    let path = component_file(dir.path(), "p.wasm", &serving(""));
    let config = HostConfig { max_component: 100, ..config() };
    let problems = PolicyHost::new(config, vec![spec(path)]).expect_err("too large");
    assert!(told(&problems).contains("has more than 100 bytes"), "{}", told(&problems));
}

#[test]
fn what_misbehaves_while_it_is_loaded_is_refused_and_the_others_are_told_too() {
    // Each in its start function, as early as anything can run.
    let starting = |core: &str| {
        serving(&format!("(core module $start {core}) (core instance (instantiate $start))"))
    };
    let dir = TempDir::new().expect("a directory");
    let bad = [
        ("loops", "(func $f (loop (br 0))) (start $f)", "interrupt"),
        ("recurses", "(func $f (call $f)) (start $f)", "call stack exhausted"),
        (
            "allocates",
            "(memory 1) (func $f (loop (br_if 0 (i32.ne (memory.grow (i32.const 16))
                (i32.const -1)))) unreachable) (start $f)",
            "unreachable",
        ),
        ("is-large", "(memory 512)", "memory minimum size"),
        ("is-larger", "(memory 32768)", "can't be compiled"),
        ("has-large-tables", "(table 100000 funcref)", "can't be compiled"),
    ];
    let mut specs: Vec<_> = bad
        .iter()
        .map(|(name, core, _)| {
            let path = component_file(dir.path(), name, &starting(core));
            PluginSpec::new(plugin_name(name), PluginSource::File(path))
        })
        .collect();
    specs.push(hostile(json!({})));
    let problems = PolicyHost::new(config(), specs).expect_err("bad");
    assert_eq!(problems.len(), bad.len(), "{}", told(&problems));
    for (problem, (name, _, why)) in problems.iter().zip(bad) {
        let text = problem.to_string();
        assert!(text.starts_with(&format!("plugin `{name}`: ")), "{text}");
        assert!(text.contains(why), "{text}");
        assert!(problem.candidate.as_ref().is_some_and(|it| it.sha256.len() == 64));
    }
}
