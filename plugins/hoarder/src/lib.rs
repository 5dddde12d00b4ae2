//! Never shipped: a plugin that serves every hook, remembers whatever it is told and
//! tells it to whoever asks next, and dies when it is asked to. The host's tests load
//! it to see what it gets to remember, and what its deaths do to others.
//!
//! What it hoards are the tenants of its calls; in each hook it answers how many of
//! others it knows, in the only way in which that hook can.

use std::cell::{Cell, RefCell};
use std::hint::black_box;

use serde::Deserialize;
use tidegate_plugin::host::{counters, tokens};
use tidegate_plugin::placing::{Recipe, Values};
use tidegate_plugin::prelude::*;

struct Hoarder;

#[derive(Deserialize)]
struct Config {}

thread_local! {
    static HOARD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// What an attacker left behind: every later call of this instance dies.
    static CURSED: Cell<bool> = const { Cell::new(false) };
}

/// Remembers `tenant`; how many others are known.
fn hoard(tenant: String) -> usize {
    HOARD.with_borrow_mut(|hoard| {
        if !hoard.contains(&tenant) {
            hoard.push(tenant);
        }
        hoard.len() - 1
    })
}

fn die(how: Option<String>) {
    match how.as_deref() {
        Some("trap") => std::process::abort(),
        Some("loop") => loop {
            black_box(());
        },
        Some("overflow") => {
            black_box(deeper(0));
        }
        Some("eat") => {
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                eaten.push(black_box(vec![1; 1 << 20]));
            }
        }
        // Depends on more than the request.
        Some("count-and-trap") => {
            counters::add("deaths", 1, 60_000);
            std::process::abort();
        }
        Some("hash-in-a-row") => hash_in_a_row(),
        _ => {}
    }
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == u64::MAX { 0 } else { deeper(depth + 1).rotate_left(3) ^ depth }
}

macro_rules! times_8 {
    ($($what:tt)*) => {
        $($what)*; $($what)*; $($what)*; $($what)*;
        $($what)*; $($what)*; $($what)*; $($what)*;
    };
}

/// Long calls into the host, one after the other, without a loop: nowhere in here
/// does the engine look at the clock.
fn hash_in_a_row() {
    let message = vec![7; 1 << 20];
    macro_rules! one {
        () => {
            counters::add("hashed", 1, 60_000);
            black_box(tokens::sha256(&message));
        };
    }
    times_8!(times_8!(times_8!(one!())));
}

impl Plugin for Hoarder {
    type Config = Config;

    fn manifest() -> Manifest {
        let schema = r#"{"type": "object"}"#;
        manifest("hoarder", env!("CARGO_PKG_VERSION"), "Remembers everything.", schema)
    }

    fn new(_: Config) -> Result<Self, ConfigError> {
        Ok(Self)
    }
}

impl Authenticate for Hoarder {
    fn authenticate(&self, request: &Request) -> Result<Authenticated, Failure> {
        let tenant = request.header("x-tenant").unwrap_or_else(|| "nobody".into());
        die(request.header("x-die"));
        let known = hoard(tenant.clone());
        let counted = |key: &str| counters::add(key, 0, 60_000).to_string();
        Ok(Authenticated::Authenticated(Principal {
            claims: vec![
                ("known".into(), known.to_string()),
                ("observed".into(), counted("observed")),
                ("hashed".into(), counted("hashed")),
            ],
            ..principal("user", &tenant)
        }))
    }
}

impl Quota for Hoarder {
    fn limits(&self, who: &Identity) -> Result<Vec<Limit>, Failure> {
        die(who.claim("die"));
        let amount = hoard(who.tenant()) as u64;
        let scope = Scope::Tenant;
        Ok(vec![Limit { meter: Meter::Processes, amount, per_ms: None, burst: None, scope }])
    }
}

impl Resolve for Hoarder {
    fn resolve(&self, request: &Request, who: &Identity) -> Result<Resolved, Failure> {
        let path = request.path();
        if CURSED.get() {
            std::process::abort();
        }
        match request.cookie("attack").as_deref() {
            Some("curse") => CURSED.set(true),
            Some(how) => die(Some(how.to_owned())),
            None => {}
        }
        let known = hoard(who.tenant());
        let recipe: Recipe =
            tidegate_plugin::serde_json::from_str(r#"{"template": "hello", "port": 80}"#)
                .map_err(|error| failure("recipe", &error.to_string()))?;
        let values = Values { subject: "user", tenant: "t", label: "" };
        let mut placement = recipe.place("box".into(), &values);
        placement.labels = vec![("known".into(), known.to_string()), ("path".into(), path)];
        Ok(Resolved::Place(placement))
    }
}

impl Activity for Hoarder {
    fn classify(&self, request: &Request, target: &Sandbox) -> Result<Meaning, Failure> {
        die(request.header("x-die"));
        Ok(if hoard(target.tenant()) == 0 { Meaning::Active } else { Meaning::Passive })
    }
}

impl Messages for Hoarder {
    fn on_message(
        &self,
        who: &Identity,
        _: &Sandbox,
        _: Direction,
        message: Payload,
    ) -> Result<Judged, Failure> {
        if let Payload::Text(text) = message {
            die(Some(text));
        }
        Ok(Judged::Replace(Payload::Text(hoard(who.tenant()).to_string())))
    }
}

impl Mounts for Hoarder {
    fn mounts(&self, target: &Sandbox) -> Result<Vec<Mount>, Failure> {
        die(target.label("die"));
        Ok(vec![Mount {
            bucket: "b".into(),
            prefix: format!("{}/", hoard(target.tenant())),
            path: "/data".into(),
            mode: MountMode::Endpoint,
            read_only: true,
            max_bytes: None,
            max_objects: None,
        }])
    }
}

impl Objects for Hoarder {
    fn authorize_object(&self, who: &Sandbox, operation: Operation) -> Result<Verdict, Failure> {
        die(Some(operation.key));
        let known = hoard(who.tenant());
        Ok(Verdict::Deny(denial(403, &format!("known-{known}"), "No.")))
    }
}

impl Egress for Hoarder {
    fn authorize_egress(&self, who: &Sandbox, to: Destination) -> Result<Connected, Failure> {
        die(Some(to.host));
        let known = hoard(who.tenant());
        Ok(Connected::Denied(denial(403, &format!("known-{known}"), "No.")))
    }
}

impl Observe for Hoarder {
    fn on_events(&self, events: Vec<Event>) -> Result<(), Failure> {
        for event in events {
            counters::add("observed", hoard(event.tenant) as i64, 60_000);
        }
        Ok(())
    }
}

tidegate_plugin::export!(
    Hoarder: authenticate, quota, resolve, activity, messages, mounts, objects, egress, observe
);
