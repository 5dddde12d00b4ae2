//! `builtin:closed`: can't decide anything, so that the gateway refuses everything
//! with 503. The host puts it in place of a plugin that can't be had
//! (`on-missing = "closed"`); an operator may do so for an hour of maintenance.
//!
//! INVARIANT: it serves every hook that is asked. One that it didn't serve would
//! be answered as if nobody had a say in it.

use serde::Deserialize;
use tidegate_plugin::prelude::*;

struct Closed(Config);

#[derive(Deserialize)]
struct Config {
    #[serde(default = "by_the_operator")]
    reason: String,
}

fn by_the_operator() -> String {
    "closed by the operator".to_owned()
}

impl Closed {
    fn fail<T>(&self) -> Result<T, Failure> {
        Err(failure("closed", &self.0.reason))
    }
}

impl Plugin for Closed {
    type Config = Config;

    fn manifest() -> Manifest {
        let version = env!("CARGO_PKG_VERSION");
        let about = "Can't decide anything: everything is refused with 503.";
        manifest("closed", version, about, include_str!("../config.schema.json"))
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self(config))
    }
}

impl Authenticate for Closed {
    fn authenticate(&self, _: &Request) -> Result<Authenticated, Failure> {
        self.fail()
    }
}

impl Quota for Closed {
    fn limits(&self, _: &Identity) -> Result<Vec<Limit>, Failure> {
        self.fail()
    }
}

impl Resolve for Closed {
    fn resolve(&self, _: &Request, _: &Identity) -> Result<Resolved, Failure> {
        self.fail()
    }
}

impl Activity for Closed {
    fn classify(&self, _: &Request, _: &Sandbox) -> Result<Meaning, Failure> {
        self.fail()
    }
}

impl Messages for Closed {
    fn on_message(
        &self,
        _: &Identity,
        _: &Sandbox,
        _: Direction,
        _: Payload,
    ) -> Result<Judged, Failure> {
        self.fail()
    }
}

impl Mounts for Closed {
    fn mounts(&self, _: &Sandbox) -> Result<Vec<Mount>, Failure> {
        self.fail()
    }
}

impl Objects for Closed {
    fn authorize_object(&self, _: &Sandbox, _: Operation) -> Result<Verdict, Failure> {
        self.fail()
    }
}

impl Egress for Closed {
    fn authorize_egress(&self, _: &Sandbox, _: Destination) -> Result<Connected, Failure> {
        self.fail()
    }
}

tidegate_plugin::export!(
    Closed: authenticate, quota, resolve, activity, messages, mounts, objects, egress
);
