//! Generations: swapped whole, the last good one kept; and the compiled cache.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::json;
use tempfile::TempDir;
use tidegate_policy::{HostConfig, PluginSource, PluginSpec, PolicyHost};
use tidegate_types::DecisionId;

use crate::stage::{
    at_once, authenticate, built, builtin, config, granted, host, hostile, plugin_name, request,
    told, who,
};

fn pair(name: &str) -> Vec<PluginSpec> {
    let holder = json!({ "secret": "ALICE_TOKEN", "subject": name, "tenant": "demo" });
    let place =
        json!({ "template": "hello", "port": 80, "sandbox": format!("{name}-{{subject}}") });
    vec![builtin("token", json!({ "tokens": [holder] })), builtin("per-user", place)]
}

#[test]
fn a_reload_swaps_everything_and_what_is_under_way_ends_with_what_it_began_with() {
    let host = host(pair("old"));
    let facts = request("GET http://h/", &[("authorization", "Bearer alice-token")]);
    let under_way = host.current();
    host.reload(config(), pair("new")).expect("good");
    let id = DecisionId::random();
    let subject = granted(at_once(under_way.authenticate(&facts, id))).identity.subject;
    assert_eq!(subject.as_str(), "old");
    let sandbox = granted(at_once(under_way.resolve(&facts, &who("demo", "x"), id))).sandbox;
    assert_eq!(sandbox.as_str(), "old-x");
    assert_eq!(granted(authenticate(&host, &facts)).identity.subject.as_str(), "new");
    assert_eq!((under_way.number(), host.current().number()), (1, 2));
}

#[test]
fn no_request_sees_two_policies_at_once() {
    let host = host(pair("old"));
    let facts = request("GET http://h/", &[("authorization", "Bearer alice-token")]);
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !done.load(Relaxed) {
                    let generation = host.current();
                    let id = DecisionId::random();
                    let subject =
                        granted(at_once(generation.authenticate(&facts, id))).identity.subject;
                    let sandbox =
                        granted(at_once(generation.resolve(&facts, &who("demo", "x"), id))).sandbox;
                    assert_eq!(sandbox.as_str(), format!("{subject}-x"));
                }
            });
        }
        for name in ["new", "old", "new"] {
            host.reload(config(), pair(name)).expect("good");
        }
        done.store(true, Relaxed);
    });
}

#[test]
fn a_bad_reload_keeps_the_last_good_and_tells_every_problem() {
    let host = host(pair("old"));
    let mut specs = pair("new");
    specs[0].config = json!({});
    specs.push(PluginSpec::new(plugin_name("gone"), PluginSource::File("/nowhere/x".into())));
    let problems = host.reload(config(), specs).expect_err("bad");
    assert_eq!(problems.len(), 2, "{}", told(&problems));
    assert_eq!(host.problems(), problems);
    let status = host.status();
    assert!(status[0].last_problem.is_some() && status[1].last_problem.is_none());
    assert_eq!(status[0].generation, 1);
    let facts = request("GET http://h/", &[("authorization", "Bearer alice-token")]);
    assert_eq!(granted(authenticate(&host, &facts)).identity.subject.as_str(), "old");
    host.reload(config(), pair("new")).expect("good");
    assert!(host.problems().is_empty() && host.status()[0].last_problem.is_none());
}

#[test]
fn two_plugins_of_one_name_are_refused() {
    let twice = vec![hostile(json!({})), hostile(json!({}))];
    let problems = PolicyHost::new(config(), twice).expect_err("twice");
    assert!(told(&problems).contains("another plugin has the same name"));
}

#[test]
fn counters_and_meters_outlive_a_reload() {
    let host = host(vec![hostile(json!({}))]);
    let facts = request("GET http://h/", &[("x-attack", "count"), ("x-with", "k")]);
    let count = || granted(authenticate(&host, &facts)).identity.claim("count").map(str::to_owned);
    assert_eq!(count().as_deref(), Some("1"));
    host.reload(config(), vec![hostile(json!({}))]).expect("good");
    assert_eq!(count().as_deref(), Some("2"));
    assert_eq!(host.status()[0].hooks[0].calls, 2);
}

#[test]
fn what_was_compiled_is_found_again_and_a_damaged_entry_is_replaced() {
    let dir = TempDir::new().expect("a directory");
    let cache = dir.path().join("compiled");
    let start = || {
        let config = HostConfig { cache_dir: Some(cache.clone()), ..config() };
        PolicyHost::new(config, vec![hostile(json!({}))]).expect("good")
    };
    let entry = || {
        let files: Vec<_> =
            std::fs::read_dir(&cache).expect("made").map(|f| f.expect("readable").path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    };
    drop(start());
    assert_eq!(std::fs::metadata(&cache).expect("made").permissions().mode() & 0o777, 0o700);
    let whole = std::fs::read(entry()).expect("readable");
    assert!(whole.len() > built("hostile").len() / 2);

    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for content in [&damaged[..], &whole[..100], b""] {
        std::fs::write(entry(), content).expect("writable");
        granted(authenticate(&start(), &request("GET http://h/", &[])));
        assert_eq!(std::fs::read(entry()).expect("readable").len(), whole.len());
    }
}

#[test]
fn a_cache_that_others_may_write_is_not_used() {
    let dir = TempDir::new().expect("a directory");
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).expect("ours");
    let config = HostConfig { cache_dir: Some(dir.path().to_owned()), ..config() };
    drop(PolicyHost::new(config, vec![hostile(json!({}))]).expect("good"));
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
}
