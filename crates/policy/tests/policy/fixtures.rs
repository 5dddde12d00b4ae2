//! Expectations in a component are asked before it may serve.

use serde_json::{Value, json};
use tidegate_policy::fixtures::SECTION;
use tidegate_policy::{PluginSource, PluginSpec, inspect};
use tidegate_types::component::with_custom_section;

use crate::stage::{config, host, plugin_name, problem, told};

/// The plugin `per-user`, with these expectations in place of its own.
fn expecting(fixtures: &[Value]) -> PluginSpec {
    let component = tidegate_builtin::component("per-user").expect("it is embedded");
    let fixtures = serde_json::to_vec(fixtures).expect("JSON");
    let component = with_custom_section(component, SECTION, &fixtures).into();
    let source = PluginSource::Fetched { from: "p.wasm".into(), component };
    let config = json!({ "template": "hello", "port": 80 });
    PluginSpec { config, ..PluginSpec::new(plugin_name("rooms"), source) }
}

fn resolves(expect: Value) -> Value {
    json!({ "name": "alice has a room", "hook": "resolve", "expect": expect })
}

#[test]
fn first_party_plugins_bring_expectations_that_hold() {
    for name in ["token", "per-user"] {
        let component = tidegate_builtin::component(name).expect("it is embedded").into();
        let found = inspect(PluginSource::Builtin { name: name.into(), component });
        assert!(found.expect("a plugin").fixtures > 1, "{name}");
    }
}

#[test]
fn one_that_holds_in_the_operators_world_lets_the_plugin_serve() {
    let spec = expecting(&[resolves(json!({ "sandbox": "user-alice", "port": 80 }))]);
    assert_eq!(host(vec![spec]).status()[0].hooks.iter().map(|it| it.calls).sum::<u64>(), 0);
}

#[test]
fn one_that_fails_refuses_the_generation_and_says_what_was_expected_and_what_came() {
    let spec = expecting(&[resolves(json!({ "sandbox": "user-bob" }))]);
    let problem = problem(spec);
    for part in ["fixture `alice has a room` fails", "\"user-bob\"", "\"user-alice\""] {
        assert!(problem.contains(part), "{problem}");
    }
    let good = host(vec![expecting(&[])]);
    let refused = good.reload(config(), vec![expecting(&[resolves(json!({ "port": 81 }))])]);
    assert!(told(&refused.expect_err("refused")).contains("fails"));
    assert_eq!(good.current().number(), 1);
}

#[test]
fn one_with_a_configuration_of_its_own_does_not_depend_on_the_operators() {
    let own = json!({
        "name": "elsewhere", "hook": "resolve",
        "config": { "template": "unknown-here", "port": 9 }, "templates": ["unknown-here"],
        "expect": { "template": "unknown-here", "port": 9 },
    });
    drop(host(vec![expecting(&[own])]));
    let contradictory = json!({
        "name": "elsewhere", "hook": "resolve",
        "config": { "template": "unknown-here", "port": 9 }, "expect": {},
    });
    assert!(problem(expecting(&[contradictory])).contains("there is no template"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (fixture, says) in [
        (json!({ "name": "x" }), "missing field `hook`"),
        (json!({ "name": "x", "hook": "y", "expect": {} }), "`y` is no hook"),
        (json!({ "name": "x", "hook": "resolve", "typo": 1, "expect": {} }), "unknown field"),
        (
            json!({ "name": "x", "hook": "resolve", "request": { "url": "a b" }, "expect": {} }),
            "is no URL",
        ),
        // A hook that it doesn't serve is nobody's to answer.
        (
            json!({ "name": "x", "hook": "authenticate", "expect": { "outcome": "denied" } }),
            "\"abstain\"",
        ),
    ] {
        let problem = problem(expecting(&[fixture]));
        assert!(problem.contains(says), "{problem}");
    }
    let two_thousand: Vec<_> = (0..2_000).map(|_| resolves(json!({}))).collect();
    assert!(problem(expecting(&two_thousand)).contains("more than 256"));
}
