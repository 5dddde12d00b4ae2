//! Never shipped: serves every hook, and ruins the one that it is told to in the way
//! that it is told to. The tests of host and gateway load it.
//!
//! An order is `HOOK HOW WITH`: `mounts prefix ../x/`. It stands in the configuration,
//! or in the header field, claim or label `sabotage` of what a call is about. Without
//! one it does nothing: it abstains, and limits, mounts and changes nothing.

mod answers;
mod ruin;

use serde::Deserialize;
use tidegate_plugin::prelude::*;

struct Saboteur(Config);

#[derive(Deserialize)]
struct Config {
    /// The order for whatever a call is about.
    #[serde(default)]
    always: String,
}

/// How one call is to be ruined, and with what.
struct Order {
    how: String,
    with: String,
}

impl Saboteur {
    /// The order for a call of `hook`, if there is one; doesn't return where the order
    /// is to die.
    fn order(&self, hook: &str, told: Option<String>) -> Result<Option<Order>, Failure> {
        let order = told.unwrap_or_else(|| self.0.always.clone());
        let mut words = order.splitn(3, ' ');
        if words.next() != Some(hook) {
            return Ok(None);
        }
        let mut word = || words.next().unwrap_or_default().to_owned();
        let order = Order { how: word(), with: word() };
        ruin::ruin(&order.how)?;
        Ok(Some(order))
    }
}

impl Plugin for Saboteur {
    type Config = Config;

    fn manifest() -> Manifest {
        let schema = r#"{"type": "object", "properties": {"always": {"type": "string"}}}"#;
        manifest("saboteur", env!("CARGO_PKG_VERSION"), "Ruins what it is told to.", schema)
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        if let Some(how) = config.always.strip_prefix("configure ") {
            let message = |failure: Failure| failure.detail;
            ruin::ruin(how)
                .map_err(|why| ConfigError { path: String::new(), message: message(why) })?;
        }
        Ok(Self(config))
    }
}

impl Authenticate for Saboteur {
    fn authenticate(&self, request: &Request) -> Result<Authenticated, Failure> {
        let order = self.order("authenticate", request.header("sabotage"))?;
        Ok(order.map_or(Authenticated::Abstain, answers::authenticated))
    }
}

impl Quota for Saboteur {
    fn limits(&self, who: &Identity) -> Result<Vec<Limit>, Failure> {
        let order = self.order("quota", who.claim("sabotage"))?;
        Ok(order.map_or_else(Vec::new, answers::limits))
    }
}

impl Resolve for Saboteur {
    fn resolve(&self, request: &Request, _: &Identity) -> Result<Resolved, Failure> {
        let order = self.order("resolve", request.header("sabotage"))?;
        Ok(order.map_or(Resolved::Abstain, answers::resolved))
    }
}

impl Activity for Saboteur {
    fn classify(&self, request: &Request, _: &Sandbox) -> Result<Meaning, Failure> {
        self.order("activity", request.header("sabotage"))?;
        Ok(Meaning::Active)
    }
}

impl Messages for Saboteur {
    fn on_message(
        &self,
        who: &Identity,
        _: &Sandbox,
        _: Direction,
        _: Payload,
    ) -> Result<Judged, Failure> {
        let order = self.order("messages", who.claim("sabotage"))?;
        Ok(order.map_or(Judged::Forward, answers::judged))
    }
}

impl Mounts for Saboteur {
    fn mounts(&self, target: &Sandbox) -> Result<Vec<Mount>, Failure> {
        let order = self.order("mounts", target.label("sabotage"))?;
        Ok(order.map_or_else(Vec::new, answers::mounts))
    }
}

impl Objects for Saboteur {
    fn authorize_object(&self, who: &Sandbox, _: Operation) -> Result<Verdict, Failure> {
        let order = self.order("objects", who.label("sabotage"))?;
        Ok(order.map_or(Verdict::Abstain, |order| Verdict::Deny(answers::refused(&order))))
    }
}

impl Egress for Saboteur {
    fn authorize_egress(&self, who: &Sandbox, _: Destination) -> Result<Connected, Failure> {
        let order = self.order("egress", who.label("sabotage"))?;
        Ok(order.map_or(Connected::Abstain, answers::connected))
    }
}

impl Observe for Saboteur {
    fn on_events(&self, _: Vec<Event>) -> Result<(), Failure> {
        self.order("observe", None).map(drop)
    }
}

tidegate_plugin::export!(
    Saboteur: authenticate, quota, resolve, activity, messages, mounts, objects, egress, observe
);
