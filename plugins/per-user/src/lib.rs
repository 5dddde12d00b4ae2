//! `builtin:per-user`: every subject has a sandbox of their own.

use serde::Deserialize;
use tidegate_plugin::placing::{Pattern, Placeholder, Recipe, Values};
use tidegate_plugin::prelude::*;

struct PerUser {
    config: Config,
    /// Whether the tenant occurs in anything; the host isn't asked for it otherwise.
    names_tenant: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    #[serde(default = "user_subject")]
    sandbox: Pattern,
    /// What the request's host must be, without its port. Ties a browser's origin
    /// to one subject, so that no other's pages or cookies have a say in it.
    host: Option<Pattern>,
    #[serde(flatten)]
    recipe: Recipe,
}

fn user_subject() -> Pattern {
    Pattern::parse("user-{subject}").expect("is well-formed")
}

impl Plugin for PerUser {
    type Config = Config;

    fn manifest() -> Manifest {
        let version = env!("CARGO_PKG_VERSION");
        let about = "Every subject has a sandbox of their own.";
        manifest("per-user", version, about, include_str!("../config.schema.json"))
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        if !config.sandbox.uses(Placeholder::Subject) {
            let message = "must contain `{subject}`, or all subjects would share one sandbox";
            return Err(ConfigError { path: "/sandbox".into(), message: message.into() });
        }
        let Config { sandbox, host, recipe } = &config;
        let mut patterns = std::iter::once(sandbox).chain(host);
        let names_tenant =
            patterns.any(|p| p.uses(Placeholder::Tenant)) || recipe.uses(Placeholder::Tenant);
        Ok(Self { config, names_tenant })
    }
}

impl Resolve for PerUser {
    fn resolve(&self, request: &Request, who: &Identity) -> Result<Resolved, Failure> {
        let Config { sandbox, host, recipe } = &self.config;
        let subject = who.subject();
        let tenant = if self.names_tenant { who.tenant() } else { String::new() };
        let values = Values { subject: &subject, tenant: &tenant, label: "" };
        if let Some(host) = host
            && request.host() != host.expand(&values).to_ascii_lowercase()
        {
            let message = "You are signed in, but not as the one whom this address belongs to.";
            return Ok(Resolved::Denied(denial(403, "not-your-address", message)));
        }
        Ok(Resolved::Place(recipe.place(sandbox.name(&values), &values)))
    }
}

tidegate_plugin::export!(PerUser: resolve);
