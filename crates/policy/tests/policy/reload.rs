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

/// The plugin `gate`, which is another component from one configuration to the next.
fn gate(is: PluginSpec, allow: &[&str]) -> PluginSpec {
    let allow = allow.iter().map(|it| (*it).to_owned()).collect();
    PluginSpec { name: plugin_name("gate"), allow, ..is }
}

fn token() -> PluginSpec {
    pair("old").remove(0)
}

#[test]
fn a_reload_that_adds_hooks_or_imports_is_refused_unless_they_are_allowed() {
    let host = host(vec![gate(token(), &[])]);
    let refused = |allow: &[&str]| {
        let problems = host.reload(config(), vec![gate(hostile(json!({})), allow)]);
        problems.map_err(|problems| problems[0].clone())
    };
    let problem = refused(&[]).expect_err("it adds something");
    let text = problem.to_string();
    assert!(text.contains("does what the version that runs does not: `resolve`"), "{text}");
    assert!(text.contains(r#"write `allow = ["resolve", "#), "{text}");
    assert_eq!(problem.candidate.expect("looked at").sha256.len(), 64);
    assert_eq!(host.status()[0].hooks.len(), 1);
    // What was said to be written is enough, and less isn't.
    let list = text.split_once("allow = [").and_then(|(_, rest)| rest.split_once(']'));
    let allow: Vec<_> =
        list.expect("a list").0.split(", ").map(|it| it.trim_matches('"')).collect();
    let (all, first) = (allow.as_slice(), &allow[..1]);
    if first.len() < all.len() {
        let text = refused(first).expect_err("not enough").to_string();
        assert!(!text.contains("`resolve`"), "{text}");
    }
    refused(all).expect("allowed");
    assert_eq!(host.status()[0].hooks.len(), 2);
    // What the running version does needs no leave any more.
    refused(&[]).expect("the same");
}

#[test]
fn a_reload_that_drops_a_hook_is_refused_unless_it_is_allowed() {
    let host = host(vec![gate(hostile(json!({})), &[])]);
    let served = || host.status()[0].hooks.len();
    let before = served();
    let swap = |allow: &[&str]| host.reload(config(), vec![gate(token(), allow)]);
    let text = swap(&["authenticate", "secrets", "tokens", "log"]).expect_err("it drops a hook");
    let text = text[0].to_string();
    assert!(text.contains("no longer") && text.contains("`resolve`"), "{text}");
    assert_eq!(served(), before);
    swap(&["resolve", "secrets", "tokens", "log"]).expect("allowed");
    assert_eq!(served(), 1);
}

#[test]
fn what_runs_already_is_not_compiled_again() {
    let dir = TempDir::new().expect("a directory");
    let (cache, file) = (dir.path().join("compiled"), dir.path().join("p.wasm"));
    let config = || HostConfig { cache_dir: Some(cache.clone()), ..config() };
    std::fs::write(&file, built("hostile")).expect("writable");
    let spec = || PluginSpec::new(plugin_name("p"), PluginSource::File(file.clone()));
    let host = PolicyHost::new(config(), vec![spec()]).expect("good");
    std::fs::remove_dir_all(&cache).expect("made");
    host.reload(config(), vec![spec(), hostile(json!({}))]).expect("good");
    let compiled = std::fs::read_dir(&cache).expect("made").count();
    assert_eq!((compiled, host.current().number()), (0, 2));
    granted(authenticate(&host, &request("GET http://h/", &[])));
}

#[test]
fn nothing_of_a_thousand_generations_is_left_but_the_last() {
    let host = host(pair("old"));
    let facts = request("GET http://h/", &[("authorization", "Bearer alice-token")]);
    let mut before = Vec::new();
    for n in 0..1_000 {
        let current = host.current();
        granted(at_once(current.authenticate(&facts, DecisionId::random())));
        before.push(std::sync::Arc::downgrade(&current));
        host.reload(config(), pair(if n % 2 == 0 { "new" } else { "old" })).expect("good");
    }
    assert!(before.iter().all(|generation| generation.upgrade().is_none()));
    let status = host.status();
    assert_eq!(status[0].generation, 1_001);
    assert!(status.iter().all(|plugin| plugin.instances.leased == 0));
    assert!(status.iter().all(|plugin| plugin.instances.idle <= 1));
}
