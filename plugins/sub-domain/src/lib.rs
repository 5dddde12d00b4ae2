//! `builtin:sub-domain`: the first label of the host names the sandbox, and a
//! subject may use the label that is called as they are, or that a claim lists.

use serde::Deserialize;
use tidegate_plugin::placing::{Pattern, Placeholder, Recipe, Values};
use tidegate_plugin::prelude::*;

struct SubDomain(Config);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    base: String,
    #[serde(default = "the_label")]
    sandbox: Pattern,
    claim: Option<String>,
    #[serde(flatten)]
    recipe: Recipe,
}

fn the_label() -> Pattern {
    Pattern::parse("{label}").expect("is well-formed")
}

impl Plugin for SubDomain {
    type Config = Config;

    fn manifest() -> Manifest {
        let version = env!("CARGO_PKG_VERSION");
        let about = "The first label of the host names the sandbox.";
        manifest("sub-domain", version, about, include_str!("../config.schema.json"))
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        if !config.sandbox.uses(Placeholder::Label) {
            let message = "must contain `{label}`, or all hosts would share one sandbox";
            return Err(ConfigError { path: "/sandbox".into(), message: message.into() });
        }
        Ok(Self(config))
    }
}

impl Resolve for SubDomain {
    fn resolve(&self, request: &Request, who: &Identity) -> Result<Resolved, Failure> {
        let Config { base, sandbox, claim, recipe } = &self.0;
        let host = request.host();
        let Some(label) = host.strip_suffix(base.as_str()).and_then(|h| h.strip_suffix('.')) else {
            return Ok(Resolved::Abstain);
        };
        // A dot would make one sandbox of two hosts' worth of cookies.
        if label.is_empty() || label.contains('.') {
            return Ok(Resolved::Denied(denial(404, "no-such-address", "Nothing is here.")));
        }
        let subject = who.subject();
        let listed = || {
            let claim = claim.as_ref().and_then(|name| who.claim(name)).unwrap_or_default();
            claim.split([' ', ',']).any(|listed| listed == label)
        };
        if subject != label && !listed() {
            let message = "You are signed in, but this address isn't yours to use.";
            return Ok(Resolved::Denied(denial(403, "not-your-address", message)));
        }
        let tenant = who.tenant();
        let values = Values { subject: &subject, tenant: &tenant, label };
        Ok(Resolved::Place(recipe.place(sandbox.name(&values), &values)))
    }
}

tidegate_plugin::export!(SubDomain: resolve);
