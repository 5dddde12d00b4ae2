//! A plugin that does everything wrong: each wrong has a name, none has a
//! consequence for the next call.

use std::time::Duration;

use serde_json::json;
use tidegate_policy::{Isolation, PluginSpec, PolicyHost};
use tidegate_types::DecisionId;

use crate::stage::{
    at_once, authenticate, failed, granted, host, hostile, problem, request, resolve, who,
};

fn attack(host: &PolicyHost, attack: &str, with: &str) -> String {
    let facts = request("GET http://h/", &[("x-attack", attack), ("x-with", with)]);
    failed(authenticate(host, &facts))
}

fn next_call_is_fine(host: &PolicyHost) {
    let principal = granted(authenticate(host, &request("GET http://h/", &[])));
    assert_eq!(principal.identity.subject.as_str(), "mallory");
}

#[test]
fn what_a_plugin_dies_of_has_a_name_and_the_next_call_is_fine() {
    let host = host(vec![hostile(json!({}))]);
    for (how, reason) in [
        ("trap", "trap: "),
        ("loop", "timed-out: "),
        ("overflow-the-stack", "stack-overflow: "),
        ("eat-memory", "out-of-memory: "),
        ("fail", "declared: `no-idea`: could not decide"),
        ("long-answer", "nonsense: "),
    ] {
        let told = attack(&host, how, "");
        assert!(told.starts_with(reason), "{how}: {told}");
        next_call_is_fine(&host);
    }
    let status = host.status();
    let hook = &status[0].hooks[0];
    assert_eq!((hook.calls, hook.failures.len()), (12, 6));
}

#[test]
fn an_answer_that_would_cost_the_host_much_memory_is_not_copied() {
    let host = host(vec![hostile(json!({}))]);
    // Within what the plugin may have, beyond what the host copies.
    let told = attack(&host, "long-answer", "5000000");
    assert_eq!(told, "nonsense: more than 4194304 bytes passed between it and the host");
    next_call_is_fine(&host);
}

#[test]
fn an_implausible_answer_is_a_failure_and_not_a_decision() {
    let host = host(vec![hostile(json!({}))]);
    for (how, with) in [
        ("deny-with-status", "200"),
        ("deny-with-status", "503"),
        ("deny-with-status", "302"),
        ("deny-with-header", "a b=1"),
        ("deny-with-header", "content-length=0"),
        ("deny-with-header", "transfer-encoding=chunked"),
        ("subject", ""),
        ("tenant", ""),
        ("edit-header", "connection"),
        ("edit-header", "sec-websocket-accept"),
        ("consume", "host"),
        ("consume", "upgrade"),
    ] {
        let told = attack(&host, how, with);
        assert!(told.starts_with("nonsense: "), "{how} with {with}: {told}");
    }
    let placed = |how: &str, with: &str| {
        let facts = request("GET http://h/", &[("x-attack", how), ("x-with", with)]);
        resolve(&host, &facts, "alice")
    };
    for (how, with) in [
        ("port", "0"),
        ("template", "unknown"),
        ("template", "../x"),
        ("sandbox", ""),
        ("sandbox", "../../etc"),
        ("path", "no-slash"),
        ("path", "/a b"),
        ("env", "A=B"),
        ("env", ""),
        ("env-value", ""),
        ("edit-request-header", "transfer-encoding"),
        ("edit-request-header", "host"),
    ] {
        let told = failed(placed(how, with));
        assert!(told.starts_with("nonsense: "), "{how} with {with}: {told}");
    }
    // Odd, but no nonsense: it becomes a name that nobody else can have.
    let placement = granted(placed("sandbox", "Ann@x.org"));
    assert!(placement.sandbox.as_str().starts_with("ann-x-org--"));
}

#[test]
fn every_hook_has_a_deadline() {
    let spec = PluginSpec { deadline: Duration::from_millis(50), ..hostile(json!({})) };
    let host = host(vec![spec]);
    assert!(attack(&host, "loop", "").starts_with("timed-out"));
    let facts = request("GET http://h/", &[("x-attack", "loop")]);
    assert!(failed(resolve(&host, &facts, "alice")).starts_with("timed-out"));
}

fn hoarded(host: &PolicyHost, subject: &str, what: &str) -> String {
    hoarded_in(host, "demo", subject, what)
}

fn hoarded_in(host: &PolicyHost, tenant: &str, subject: &str, what: &str) -> String {
    let facts = request("GET http://h/", &[("x-attack", "hoard"), ("x-with", what)]);
    let who = who(tenant, subject);
    let placement = granted(at_once(host.current().resolve(&facts, &who, DecisionId::random())));
    placement.labels.into_iter().find(|(name, _)| name == "hoard").expect("hoard").1
}

#[test]
fn what_an_instance_remembers_stays_within_its_isolation() {
    let host_with = |isolation| host(vec![PluginSpec { isolation, ..hostile(json!({})) }]);
    let shared = host_with(Isolation::Shared);
    assert_eq!(hoarded(&shared, "alice", "a"), "a");
    assert_eq!(hoarded(&shared, "bob", "b"), "a,b");

    let call = host_with(Isolation::Call);
    assert_eq!(hoarded(&call, "alice", "a"), "a");
    assert_eq!(hoarded(&call, "alice", "b"), "b");

    let tenant = host_with(Isolation::Tenant);
    assert_eq!(hoarded(&tenant, "alice", "a"), "a");
    assert_eq!(hoarded(&tenant, "bob", "b"), "a,b");
    assert_eq!(hoarded_in(&tenant, "other", "bob", "x"), "x");
    assert_eq!(hoarded(&tenant, "bob", "c"), "a,b,c");
    // Nobody's tenant is known yet when it is asked who asks.
    let facts = request("GET http://h/", &[("x-attack", "hoard"), ("x-with", "d")]);
    let principal = granted(authenticate(&tenant, &facts));
    assert_eq!(principal.identity.claim("hoard"), Some("d"));
}

#[test]
fn an_instance_that_failed_is_never_asked_again() {
    let host = host(vec![hostile(json!({}))]);
    assert_eq!(hoarded(&host, "alice", "a"), "a");
    assert!(attack(&host, "trap", "").starts_with("trap"));
    assert_eq!(hoarded(&host, "alice", "b"), "b");
}

#[test]
fn instances_share_counters_whatever_their_isolation() {
    let host = host(vec![PluginSpec { isolation: Isolation::Call, ..hostile(json!({})) }]);
    let facts = request("GET http://h/", &[("x-attack", "count"), ("x-with", "k")]);
    let counted =
        || granted(authenticate(&host, &facts)).identity.claim("count").expect("count").to_owned();
    assert_eq!([counted(), counted(), counted()], ["1", "2", "3"]);
}

#[test]
fn a_flood_of_log_lines_is_no_failure() {
    let spec = PluginSpec { deadline: Duration::from_secs(20), ..hostile(json!({})) };
    granted(authenticate(&host(vec![spec]), &request("GET http://h/", &[("x-attack", "log")])));
}

#[test]
fn many_threads_are_answered_while_one_plugin_call_loops() {
    let host =
        host(vec![PluginSpec { deadline: Duration::from_millis(200), ..hostile(json!({})) }]);
    std::thread::scope(|threads| {
        let looping = threads.spawn(|| attack(&host, "loop", ""));
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..100 {
                    next_call_is_fine(&host);
                }
            });
        }
        assert!(looping.join().expect("no panic").starts_with("timed-out"));
    });
}

#[test]
fn a_plugin_that_refuses_its_configuration_or_never_ends_configuring_is_not_loaded() {
    let told = problem(hostile(json!({ "attack": "refuse-configuration" })));
    assert!(told.contains("`/attack`: is not to my taste"), "{told}");
    let told = problem(hostile(json!({ "attack": "loop-in-configure" })));
    assert!(told.contains("`configure` failed"), "{told}");
}
