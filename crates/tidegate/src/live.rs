//! What a reload replaces, as one: the request path takes it once per request.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_config::Config;
use tidegate_policy::Generation;
use tidegate_relay::TrustedProxies;
use tidegate_types::secret::fill_in;
use tidegate_types::{Secret, SecretName, Template, TemplateName};

/// One configuration with the plugins that were loaded for it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) policy: Arc<Generation>,
    pub(crate) loaded: Arc<Loaded>,
}

/// One loaded configuration with its secrets.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) templates: BTreeMap<TemplateName, Arc<Template>>,
    pub(crate) secrets: BTreeMap<SecretName, Secret>,
    pub(crate) trusted: TrustedProxies,
}

impl Loaded {
    /// Reads the secrets of `config`; blocks for as long as their commands take.
    ///
    /// # Errors
    /// Everything that is wrong, a line each.
    pub(crate) fn of(config: Config) -> Result<Self, Vec<String>> {
        let secrets = config
            .read_secrets()
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let proxies: Vec<_> =
            config.server.trusted_proxies.iter().map(ToString::to_string).collect();
        let trusted = TrustedProxies::parse(proxies.iter().map(String::as_str))
            .map_err(|error| vec![error.to_string()])?;
        Ok(Self { templates: config.templates.clone(), secrets, trusted, config })
    }

    /// `text` with the value of each `secret:NAME` in its place.
    ///
    /// # Errors
    /// The first name that is unknown.
    pub(crate) fn fill(&self, text: &str) -> Result<Secret, SecretName> {
        fill_in(text, |name| self.secrets.get(&SecretName::new(name)))
    }
}
