//! What is refused before it runs, and in which words.

use serde_json::json;
use tempfile::TempDir;
use tidegate_policy::{PluginSource, PluginSpec};

use crate::stage::{component_file, hostile, plugin_name, problem};

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
    check("(component)", "doesn't export `tidegate:policy/plugin@0.1.0`");
    check("(module)", "is a core WASM module, not a WASM component; turn it into one");
    check(
        r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#,
        "it imports `wasi:cli/environment@0.2.0`, which no plugin gets; build it without WASI",
    );
    check(
        r#"(component (import "tidegate:host/http@0.1.0" (instance)))"#,
        "plugins can't make HTTP calls in this version",
    );
    check(
        r#"(component (instance $i) (export "tidegate:policy/plugin@9.0.0" (instance $i)))"#,
        "in version 9.0.0, which isn't served; build it for version 0.1.0",
    );
    check(
        r#"(component (import "tidegate:host/log@0.2.0" (instance)))"#,
        "in version 0.2.0, which isn't served",
    );
    check(
        r#"(component (instance $i) (export "tidegate:policy/plugin@0.1.0" (instance $i)))"#,
        "it serves no hook",
    );
    check(
        r#"(component (instance $i)
            (export "tidegate:policy/plugin@0.1.0" (instance $i))
            (export "tidegate:policy/quota@0.1.0" (instance $i)))"#,
        "it serves `quota`, which this version doesn't ask",
    );
    check(
        r#"(component (instance $i)
            (export "tidegate:policy/plugin@0.1.0" (instance $i))
            (export "tidegate:policy/resolve@0.1.0" (instance $i)))"#,
        "an export has another form than the contract's",
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
