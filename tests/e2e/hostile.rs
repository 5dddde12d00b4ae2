//! Twenty plugins that are up to no good, one after another, under load: each is
//! refused, or fails alone; the gateway answers throughout.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_testkit::gateway::{Gateway, Setup};

use crate::built;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a component is, and what becomes of it.
enum Hostile {
    /// It is refused at load, and these words say why.
    Refused { component: Vec<u8>, says: &'static str },
    /// It is loaded, and its calls of `hook` fail for this reason; requests are
    /// answered with this status meanwhile.
    Fails { order: &'static str, hook: &'static str, reason: &'static str, status: u16 },
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("well-formed")
}

/// A component that looks like a plugin, with this in a core module that is started.
fn starting(core: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            (core module $start {core})
            (core instance (instantiate $start))
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $plugin (export "describe" (func $f)) (export "configure" (func $f)))
            (instance $hook (export "authenticate" (func $f)))
            (export "tidegate:policy/plugin@0.2.0" (instance $plugin))
            (export "tidegate:policy/authenticate@0.2.0" (instance $hook)))"#
    ))
}

fn twenty() -> Vec<Hostile> {
    let good = tidegate_builtin::component("per-user").expect("it is embedded");
    let refused = |component: Vec<u8>, says| Hostile::Refused { component, says };
    let fails = |order, hook, reason, status| Hostile::Fails { order, hook, reason, status };
    vec![
        refused(b"this is no component".to_vec(), "something else, not a WASM component"),
        refused(Vec::new(), "something else, not a WASM component"),
        refused(good[..good.len() / 2].to_vec(), "can't be compiled"),
        refused(wat("(module)"), "a core WASM module"),
        refused(wat("(component)"), "doesn't export"),
        refused(
            wat(r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#),
            "which no plugin gets",
        ),
        refused(
            wat(
                r#"(component (instance $i) (export "tidegate:policy/plugin@9.0.0" (instance $i)))"#,
            ),
            "which isn't served",
        ),
        refused(starting("(func $f (loop (br 0))) (start $f)"), "can't be started"),
        refused(starting("(func $f (call $f)) (start $f)"), "can't be started"),
        refused(starting("(func $f unreachable) (start $f)"), "can't be started"),
        refused(
            starting(
                "(memory 1) (func $f (loop (br_if 0 (i32.ne (memory.grow (i32.const 16))
                    (i32.const -1)))) unreachable) (start $f)",
            ),
            "can't be started",
        ),
        refused(starting("(memory 2048)"), "can't be started"),
        fails("authenticate trap", "authenticate", "trap", 503),
        fails("authenticate loop", "authenticate", "timed-out", 503),
        fails("authenticate eat-memory", "authenticate", "out-of-memory", 503),
        fails("authenticate overflow-the-stack", "authenticate", "stack-overflow", 503),
        fails("resolve port 0", "resolve", "nonsense", 503),
        fails("quota many 70000", "quota", "nonsense", 503),
        fails("authenticate status 200", "authenticate", "nonsense", 503),
        fails("observe loop", "observe", "timed-out", 200),
    ]
}

/// The hooks that one of the plugins serves and another doesn't.
const HOOKS: &str = r#"["authenticate", "quota", "resolve", "activity", "messages", "mounts", "objects", "egress", "observe"]"#;

/// A gateway whose first plugin is a file, which begins as one that does nothing.
async fn gateway(file: &Path) -> Gateway {
    std::fs::copy(built::component("saboteur"), file).expect("it is written");
    let source = format!("source = {:?}", file.display().to_string());
    // Asked before everybody else: what it does, it does to every request.
    let first = format!(
        "[[plugin]]\nname = \"guest\"\n{source}\nallow = {HOOKS}\n\
         [plugin.config]\nalways = \"\"\n\n[[plugin]]\nname = \"sign-in\""
    );
    Gateway::start(Setup::hello().replacing("[[plugin]]\nname = \"sign-in\"", &first)).await
}

async fn plugin(gateway: &Gateway, name: &str) -> Value {
    let (_, body) = gateway.control(Method::GET, "/v1/plugins").await;
    let listing: Value = serde_json::from_str(&body).expect("JSON");
    let plugins = listing["plugins"].as_array().cloned().expect("a list");
    plugins.into_iter().find(|it| it["name"] == name).expect("it is listed")
}

/// Asks until the plugin called `guest` is as wanted.
async fn until(gateway: &Gateway, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let guest = plugin(gateway, "guest").await;
        if wanted(&guest) {
            return guest;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: still {guest:#}");
        // The API has no way to be told; asking is free.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn swap(file: &Path, component: &[u8]) {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, component).expect("it is written");
    std::fs::rename(&fresh, file).expect("it is put in place");
}

fn order(gateway: &Gateway, before: &str, after: &str) {
    let text = std::fs::read_to_string(gateway.config()).expect("the configuration");
    let (before, after) = (format!("always = {before:?}"), format!("always = {after:?}"));
    assert!(text.contains(&before), "`{before}` isn't in it:\n{text}");
    let fresh = gateway.config().with_extension("new");
    std::fs::write(&fresh, text.replacen(&before, &after, 1)).expect("it is written");
    std::fs::rename(&fresh, gateway.config()).expect("it is put in place");
    gateway.reload();
}

/// What requests were answered while something went on.
#[derive(Default)]
struct Load {
    answered: Vec<(StatusCode, Duration)>,
}

impl Load {
    /// Asks as Bob, two at a time, until told to stop. Every request is answered.
    async fn run(gateway: &Gateway, stop: &AtomicBool) -> Self {
        let one = || async {
            let mut answered = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let answer = gateway.get("bob", "/api/whoami").await;
                answered.push((answer.status, begun.elapsed()));
            }
            answered
        };
        let (mut first, second) = tokio::join!(one(), one());
        first.extend(second);
        Self { answered: first }
    }

    fn p99(&self) -> Duration {
        let mut times: Vec<_> = self.answered.iter().map(|(_, took)| *took).collect();
        times.sort();
        times.get(times.len() * 99 / 100).copied().unwrap_or_default()
    }

    fn only(&self, allowed: &[u16], what: &str) {
        assert!(!self.answered.is_empty(), "{what}: nothing was asked");
        for (status, _) in &self.answered {
            assert!(allowed.contains(&status.as_u16()), "{what}: {status}");
        }
    }
}

/// Puts load on the gateway for as long as `work` takes.
async fn under_load<T>(gateway: &Gateway, work: impl Future<Output = T>) -> (Load, T) {
    let stop = AtomicBool::new(false);
    let work = async {
        let done = work.await;
        stop.store(true, Ordering::Relaxed);
        done
    };
    tokio::join!(Load::run(gateway, &stop), work)
}

#[tokio::test]
async fn twenty_hostile_plugins_one_after_another_and_the_gateway_answers_throughout() {
    let directory = tempfile::tempdir().expect("a directory");
    let file: PathBuf = directory.path().join("guest.wasm");
    let gateway = gateway(&file).await;
    assert_eq!(gateway.get("bob", "/api/whoami").await.status, StatusCode::OK);
    let good = std::fs::read(&file).expect("the component");

    let quiet = async {
        for _ in 0..50 {
            gateway.get("alice", "/api/whoami").await;
        }
    };
    let (before, ()) = under_load(&gateway, quiet).await;
    before.only(&[200], "before");

    let hostile = twenty();
    assert_eq!(hostile.len(), 20);
    let mut slowest = Duration::ZERO;
    for (index, hostile) in hostile.into_iter().enumerate() {
        match hostile {
            Hostile::Refused { component, says } => {
                let work = async {
                    swap(&file, &component);
                    let problem = |it: &Value| it["problem"].to_string().contains(says);
                    until(&gateway, says, problem).await;
                    swap(&file, &good);
                    until(&gateway, "the good one again", |it| it["problem"].is_null()).await;
                };
                let (load, ()) = under_load(&gateway, work).await;
                // Nobody notices: the last good one serves on.
                load.only(&[200], &format!("{index}: {says}"));
                slowest = slowest.max(load.p99());
            }
            Hostile::Fails { order: told, hook, reason, status } => {
                let failures = |it: &Value| it["failures"][reason].as_u64().unwrap_or_default();
                let so_far = failures(&plugin(&gateway, "guest").await);
                let work = async {
                    order(&gateway, "", told);
                    until(&gateway, told, |it| failures(it) > so_far).await;
                    let during = gateway.get("alice", "/api/whoami").await;
                    assert_eq!(during.status.as_u16(), status, "{told}: {}", during.text());
                    order(&gateway, told, "");
                    let begun = Instant::now();
                    while gateway.get("alice", "/api/whoami").await.status != StatusCode::OK {
                        assert!(begun.elapsed() < PATIENCE, "{told}: it never recovers");
                    }
                };
                let (load, ()) = under_load(&gateway, work).await;
                // Refused with a reason, never anything else; and no decision was made
                // up: a failure is neither 401 nor 403.
                load.only(&[200, status], &format!("{index}: {told}"));
                slowest = slowest.max(load.p99());
                let guest = plugin(&gateway, "guest").await;
                assert!(failures(&guest) > so_far, "{told} at {hook}: {guest:#}");
            }
        }
    }
    // Nothing of it rubbed off on the others.
    for name in ["sign-in", "rooms"] {
        let failures = plugin(&gateway, name).await["failures"].clone();
        assert_eq!(failures, json!({}), "{name}");
    }
    let (after, ()) = under_load(&gateway, async {
        for _ in 0..50 {
            gateway.get("alice", "/api/whoami").await;
        }
    })
    .await;
    after.only(&[200], "after");
    // Reported, not judged: what else this machine does is not known here.
    println!(
        "p99 of a request before {:?}, at worst {slowest:?} while a hostile plugin was there, \
         after {:?}",
        before.p99(),
        after.p99()
    );
}
