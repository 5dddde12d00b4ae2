//! From the configuration to what the policy host is told.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use tidegate_config::KeySetSource;
use tidegate_policy::{
    ClaimRules, HostConfig, HttpGrant, Isolation, JournalGrant, KeySet, Outgoing, PluginProblem,
    PluginSource, PluginSpec, Secrets,
};
use tidegate_types::{Secret, SecretName};

use super::components::{Gathered, Had};
use super::key_sets::Published;
use crate::live::Loaded;

/// Where plugins write lines, in the state directory.
const JOURNALS: &str = "journals";

/// All that the policy host is told, at the start and at each reload.
pub(crate) struct PolicyInput {
    pub(crate) host: HostConfig,
    pub(crate) plugins: Vec<PluginSpec>,
}

/// What the policy host is told beside the configuration.
pub(crate) struct Means<'a> {
    /// Where compiled plugins and journals are kept.
    pub(crate) state_dir: &'a Path,
    /// What makes the calls of plugins.
    pub(crate) outgoing: Arc<dyn Outgoing>,
    /// The key sets that are fetched.
    pub(crate) published: &'a Published,
    /// The components that are fetched.
    pub(crate) components: Gathered,
}

/// Collects plugins, key sets and secrets.
///
/// # Errors
/// Every plugin that is not embedded though its source says so, and every key
/// set that cannot be read.
pub(crate) fn input(loaded: &Loaded, mut means: Means<'_>) -> Result<PolicyInput, Vec<String>> {
    let (config, secrets) = (&loaded.config, &loaded.secrets);
    let mut problems = Vec::new();
    let plugins = config
        .plugins
        .iter()
        .filter_map(|plugin| {
            spec(plugin, means.components.remove(&plugin.name), means.state_dir)
                .map_err(|problem| problems.push(format!("plugin `{}`: {problem}", plugin.name)))
                .ok()
        })
        .collect();
    let mut key_sets = HashMap::new();
    for (name, set) in &config.key_sets {
        match key_set(name, set, secrets, means.published) {
            Ok(keys) => {
                key_sets.insert(name.clone(), keys);
            }
            Err(problem) => problems.push(format!("key set `{name}`: {problem}")),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let secrets: Secrets =
        secrets.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone())).collect();
    let host = HostConfig {
        cache_dir: Some(means.state_dir.join("cache")),
        secrets: Arc::new(secrets),
        key_sets,
        known_templates: config.templates.keys().cloned().collect(),
        outgoing: Some(means.outgoing),
        max_component: config.server.max_component,
        ..HostConfig::default()
    };
    Ok(PolicyInput { host, plugins })
}

/// One line per problem, each naming its plugin.
pub(crate) fn describe(problems: &[PluginProblem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn spec(
    plugin: &tidegate_config::Plugin,
    had: Option<Had>,
    state_dir: &Path,
) -> Result<PluginSpec, String> {
    let from = || match &plugin.source {
        tidegate_config::PluginSource::Builtin(name) => format!("builtin:{name}"),
        tidegate_config::PluginSource::File(path) => path.display().to_string(),
        tidegate_config::PluginSource::Https(url) => url.to_string(),
        tidegate_config::PluginSource::Oci(reference) => format!("oci://{reference}"),
    };
    let mut config = plugin.config.clone();
    let source = match (&plugin.source, had) {
        (tidegate_config::PluginSource::Builtin(name), _) => {
            PluginSource::Builtin { name: name.clone(), component: embedded(name)? }
        }
        (_, Some(Had::Component(it))) => {
            PluginSource::Fetched { from: from(), component: it.bytes }
        }
        (_, Some(Had::Nothing(why))) => {
            config = serde_json::json!({ "reason": why.to_string() });
            PluginSource::StandIn { from: from(), component: embedded("closed")? }
        }
        (_, None) => return Err("its component was not fetched".to_owned()),
    };
    Ok(PluginSpec {
        config,
        deadline: plugin.deadline,
        memory: plugin.memory,
        isolation: match plugin.isolation {
            tidegate_config::Isolation::Call => Isolation::Call,
            tidegate_config::Isolation::Tenant => Isolation::Tenant,
            tidegate_config::Isolation::Shared => Isolation::Shared,
        },
        instances: plugin.instances,
        allow: plugin.allow.clone(),
        http: plugin.http.as_ref().map(|grant| HttpGrant {
            hosts: grant.hosts.clone(),
            secrets: grant.secrets.iter().map(|name| name.as_str().to_owned()).collect(),
            timeout: grant.timeout,
            max_body: grant.max_body,
        }),
        journal: plugin.journal.as_ref().map(|grant| JournalGrant {
            path: state_dir.join(JOURNALS).join(&grant.file),
            max_bytes: grant.max_size,
            keep: grant.keep,
        }),
        ..PluginSpec::new(plugin.name.clone(), source)
    })
}

fn embedded(name: &str) -> Result<Cow<'static, [u8]>, String> {
    tidegate_builtin::component(name).map(Cow::Borrowed).ok_or_else(|| {
        let known: Vec<_> = tidegate_builtin::names().map(|n| format!("`builtin:{n}`")).collect();
        format!("there is no `builtin:{name}`; there are {}", known.join(", "))
    })
}

fn key_set(
    name: &str,
    set: &tidegate_config::KeySet,
    secrets: &BTreeMap<SecretName, Secret>,
    published: &Published,
) -> Result<KeySet, String> {
    let keys = match &set.source {
        KeySetSource::File(path) => KeySet::from_jwks_file(path),
        KeySetSource::Inline(text) => KeySet::from_jwks_json(text),
        // Under its rules already: what is fetched again goes into this very set.
        KeySetSource::Url { url, .. } => {
            return published.get(name).ok_or_else(|| format!("{url} was not fetched"));
        }
        KeySetSource::Hs256(name) => {
            let secret = secrets.get(name).ok_or_else(|| format!("secret `{name}` is unknown"))?;
            Ok(KeySet::from_shared_secret(secret.reveal()))
        }
    };
    keys.map(|keys| keys.with_rules(rules(set))).map_err(|error| error.to_string())
}

/// What a token of that key set must say.
pub(super) fn rules(set: &tidegate_config::KeySet) -> ClaimRules {
    ClaimRules {
        issuer: set.issuer.clone(),
        audience: set.audience.iter().cloned().collect(),
        leeway: set.skew,
    }
}
