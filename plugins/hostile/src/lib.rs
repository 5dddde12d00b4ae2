//! Never shipped: everything a plugin can do wrong, chosen by its configuration.
//! The host's tests load it.

use std::cell::RefCell;
use std::hint::black_box;

use serde::Deserialize;
use tidegate_plugin::placing::Values;
use tidegate_plugin::prelude::*;

struct Hostile(Config);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    /// What happens in `authenticate`, if the request's header `x-attack` names
    /// nothing else.
    #[serde(default)]
    attack: String,
    /// What a nonsensical answer consists of.
    #[serde(default)]
    with: String,
}

thread_local! {
    static HOARD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Plugin for Hostile {
    type Config = Config;

    fn manifest() -> Manifest {
        let schema = r#"{"type": "object", "properties": {"attack": {"type": "string"}}}"#;
        manifest("hostile", env!("CARGO_PKG_VERSION"), "Does everything wrong.", schema)
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        match config.attack.as_str() {
            "refuse-configuration" => {
                Err(ConfigError { path: "/attack".into(), message: "is not to my taste".into() })
            }
            "loop-in-configure" => forever(),
            _ => Ok(Self(config)),
        }
    }
}

impl Authenticate for Hostile {
    fn authenticate(&self, request: &Request) -> Result<Authenticated, Failure> {
        let attack = request.header("x-attack").unwrap_or_else(|| self.0.attack.clone());
        let with = request.header("x-with").unwrap_or_else(|| self.0.with.clone());
        let answered = |p| Ok(Authenticated::Authenticated(p));
        let me = principal("mallory", "m");
        match attack.as_str() {
            "loop" => forever(),
            "trap" => std::process::abort(),
            "overflow-the-stack" => {
                black_box(deeper(0));
                Ok(Authenticated::Abstain)
            }
            "eat-memory" => {
                let mut eaten: Vec<Vec<u8>> = Vec::new();
                loop {
                    eaten.push(black_box(vec![1; 1 << 20]));
                }
            }
            "long-answer" => answered(principal(&"m".repeat(with.parse().unwrap_or(1 << 20)), "m")),
            "hoard" => {
                let before = HOARD.with_borrow_mut(|hoard| {
                    hoard.push(with);
                    hoard.join(",")
                });
                answered(Principal { claims: vec![("hoard".into(), before)], ..me })
            }
            "log" => {
                for _ in 0..10_000 {
                    let text = "x".repeat(8_192);
                    tidegate_plugin::host::log::log(
                        tidegate_plugin::host::log::Level::Error,
                        &text,
                    );
                }
                answered(me)
            }
            "count" => {
                let count = tidegate_plugin::host::counters::add(&with, 1, 60_000);
                answered(Principal { claims: vec![("count".into(), count.to_string())], ..me })
            }
            "fail" => Err(failure("no-idea", "could not decide")),
            "deny-with-status" => {
                let status = with.parse().unwrap_or_default();
                Ok(Authenticated::Denied(denial(status, "no", "No.")))
            }
            "deny-with-header" => {
                let (name, value) = with.split_once('=').unwrap_or_default();
                let headers = vec![(name.into(), value.into())];
                Ok(Authenticated::Denied(Denial { headers, ..denial(403, "no", "No.") }))
            }
            "subject" => answered(principal(&with, "m")),
            "tenant" => answered(principal("mallory", &with)),
            "edit-header" => {
                let edit = HeaderEdit::Set((with, "1".into()));
                answered(Principal { response_headers: vec![edit], ..me })
            }
            "consume" => {
                let consumed = vec![Credential::Header(with)];
                answered(Principal { consumed, ..me })
            }
            _ => answered(me),
        }
    }
}

impl Resolve for Hostile {
    fn resolve(&self, request: &Request, who: &Identity) -> Result<Resolved, Failure> {
        let attack = request.header("x-attack").unwrap_or_default();
        let with = request.header("x-with").unwrap_or_default();
        let (subject, tenant) = (who.subject(), who.tenant());
        let values = Values { subject: &subject, tenant: &tenant, label: "" };
        let recipe = r#"{"template": "hello", "port": 80}"#;
        let recipe: tidegate_plugin::placing::Recipe =
            tidegate_plugin::serde_json::from_str(recipe)
                .map_err(|e| failure("recipe", &e.to_string()))?;
        let mut placement = recipe.place("box".into(), &values);
        match attack.as_str() {
            "hoard" => {
                let before = HOARD.with_borrow_mut(|hoard| {
                    hoard.push(with);
                    hoard.join(",")
                });
                placement.labels.push(("hoard".into(), before));
            }
            "port" => placement.port = with.parse().unwrap_or_default(),
            "template" => placement.template = with,
            "sandbox" => placement.sandbox = with,
            "path" => placement.path = Some(with),
            "env" => placement.env.push((with, "1".into())),
            "env-value" => placement.env.push(("A".into(), "a\0b".into())),
            "edit-request-header" => {
                placement.request_headers.push(HeaderEdit::Remove(with));
            }
            "loop" => forever(),
            _ => {}
        }
        Ok(Resolved::Place(placement))
    }
}

fn forever() -> ! {
    loop {
        black_box(());
    }
}

/// No tail call, and nothing that lives in linear memory: it is the host's stack
/// that this eats.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == u64::MAX { 0 } else { deeper(depth + 1).rotate_left(3) ^ depth }
}

tidegate_plugin::export!(Hostile: authenticate, resolve);
