//! What the operator asks for: which plugins, in which order, with which
//! configuration and bounds. Parsed elsewhere; everything here is already typed.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tidegate_types::{PluginName, Secret, TemplateName};

use crate::outgoing::Outgoing;
use crate::tokens::KeySet;

/// One plugin of the operator's configuration.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// Its name in the configuration: what logs, metrics and problems call it.
    pub name: PluginName,
    /// Where its component comes from.
    pub source: PluginSource,
    /// Its configuration; checked against the schema in its manifest.
    pub config: serde_json::Value,
    /// How long one hook call may compute. CPU time: a call that waits for a
    /// core isn't blamed for it, up to eight times this much on the clock, or a second.
    /// Doesn't bound a host call that blocks; none of those served now does.
    pub deadline: Duration,
    /// Bytes of linear memory that one instance may grow to. Doesn't count
    /// what the host keeps for it (tables, compiled code).
    pub memory: u64,
    /// What calls may share an instance.
    pub isolation: Isolation,
    /// Instances that there may be at once, those at work and those at rest; from 1
    /// to [`PluginSpec::MAX_INSTANCES`]. A call that finds them all at work fails.
    /// Counts for one generation: for as long as requests of the one before are
    /// under way, there are that one's too.
    pub instances: usize,
    /// Which HTTP services it may call; none where absent.
    pub http: Option<HttpGrant>,
    /// Where it may write lines; nowhere where absent.
    pub journal: Option<JournalGrant>,
    /// Hooks and host interfaces, by their plain names (`quota`, `http`), that a
    /// reload may add to what the running version serves and imports; and hooks that
    /// it may drop.
    pub allow: BTreeSet<String>,
}

/// Which HTTP services a plugin may call, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGrant {
    /// Hosts it may reach: `id.example.com`, `*.example.com`, with `:PORT` where it
    /// isn't the scheme's own; `http://` before it where it isn't encrypted.
    pub hosts: Vec<String>,
    /// The secrets that the host fills in where a call says `secret:NAME`. Every
    /// allowed host may be sent them, if the plugin wants that.
    pub secrets: BTreeSet<String>,
    /// How long one call may take.
    pub timeout: Duration,
    /// Bytes that the body of an answer may have.
    pub max_body: usize,
}

/// Where a plugin may write lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalGrant {
    /// The file; its directory is made where it isn't there.
    pub path: PathBuf,
    /// Bytes after which it is rotated.
    pub max_bytes: u64,
    /// How many rotated files are kept: `FILE.1` is the youngest.
    pub keep: u32,
}

impl PluginSpec {
    /// The deadline where the operator names none.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_millis(10);
    /// The memory bound where the operator names none.
    pub const DEFAULT_MEMORY: u64 = 16 << 20;
    /// The largest memory bound that may be granted.
    pub const MAX_MEMORY: u64 = 1 << 30;
    /// The bound on instances where the operator names none.
    pub const DEFAULT_INSTANCES: usize = 128;
    /// The largest bound on instances that may be granted: what there usually is for
    /// all plugins together.
    pub const MAX_INSTANCES: usize = 1_000;

    /// A plugin with the default bounds, shared instances and an empty configuration.
    #[must_use]
    pub fn new(name: PluginName, source: PluginSource) -> Self {
        Self {
            name,
            source,
            config: serde_json::Value::Object(serde_json::Map::new()),
            deadline: Self::DEFAULT_DEADLINE,
            memory: Self::DEFAULT_MEMORY,
            isolation: Isolation::Shared,
            instances: Self::DEFAULT_INSTANCES,
            http: None,
            journal: None,
            allow: BTreeSet::new(),
        }
    }
}

/// Where a component comes from.
#[derive(Clone)]
pub enum PluginSource {
    /// Embedded in the binary: `builtin:NAME`.
    Builtin {
        /// What it is called after `builtin:`.
        name: String,
        /// The component itself.
        component: Cow<'static, [u8]>,
    },
    /// A file, read at every load.
    File(PathBuf),
    /// Fetched and verified by somebody else.
    Fetched {
        /// From where, for people.
        from: String,
        /// The component itself.
        component: Bytes,
    },
    /// Stands in for a component that can't be had. What replaces it is judged as if
    /// nothing had been there before.
    StandIn {
        /// Where the component would have come from, for people.
        from: String,
        /// A component that fails whatever it is asked.
        component: Cow<'static, [u8]>,
    },
}

impl PluginSource {
    /// Whether both are one component of the binary itself, which nobody can change.
    pub(crate) fn is_embedded_as(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Builtin { component: Cow::Borrowed(one), .. },
                Self::Builtin { component: Cow::Borrowed(other), .. },
            ) => std::ptr::eq::<[u8]>(*one, *other),
            _ => false,
        }
    }

    /// Whether it stands in for something else.
    pub(crate) fn is_stand_in(&self) -> bool {
        matches!(self, Self::StandIn { .. })
    }
}

impl fmt::Display for PluginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin { name, .. } => write!(f, "builtin:{name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Fetched { from, .. } | Self::StandIn { from, .. } => f.write_str(from),
        }
    }
}

impl fmt::Debug for PluginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which calls may share an instance, and with it whatever a plugin remembers.
/// Granted by the operator, not chosen by the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Isolation {
    /// None: a fresh instance for every call.
    Call,
    /// Those of one tenant. Hooks that are asked before the tenant is known
    /// (`authenticate`) behave as under [`Isolation::Call`].
    Tenant,
    /// All.
    #[default]
    Shared,
}

impl Isolation {
    /// Stable name, as the configuration spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Tenant => "tenant",
            Self::Shared => "shared",
        }
    }
}

/// What a plugin host works with beside the plugins themselves.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Where compiled components are kept between starts. Must be writable by
    /// the gateway alone: what lies there is run as machine code. Absent:
    /// everything is compiled at every start.
    pub cache_dir: Option<PathBuf>,
    /// What `secrets.matches` and `tokens.hmac-sha256` look up.
    pub secrets: Arc<Secrets>,
    /// What `tokens.verify-jwt` verifies against, by name.
    pub key_sets: HashMap<String, KeySet>,
    /// The templates that a placement may name; any other is a plugin failure.
    pub known_templates: HashSet<TemplateName>,
    /// What makes the HTTP calls of plugins; without it none is made.
    pub outgoing: Option<Arc<dyn Outgoing>>,
    /// Bytes that a component may have. A compilation can't be interrupted, and its
    /// time and memory grow with the component: this is what bounds them.
    pub max_component: u64,
    /// Instances of all plugins and generations together, idle ones included. Each
    /// reserves four gibibytes of addresses, and no memory. Counts at the start alone.
    pub max_instances: u32,
}

impl HostConfig {
    /// The bound on components where nobody names one. An interpreter and its
    /// program have 12 to 20 MB.
    pub const DEFAULT_MAX_COMPONENT: u64 = 32 << 20;
    /// The bound on instances where nobody names one.
    pub const DEFAULT_MAX_INSTANCES: u32 = 1_000;
}

impl Default for HostConfig {
    /// No secrets, key sets, templates, or cache.
    fn default() -> Self {
        Self {
            cache_dir: None,
            secrets: Arc::default(),
            key_sets: HashMap::new(),
            known_templates: HashSet::new(),
            outgoing: None,
            max_component: Self::DEFAULT_MAX_COMPONENT,
            max_instances: Self::DEFAULT_MAX_INSTANCES,
        }
    }
}

/// Secret values by name.
#[derive(Debug, Default)]
pub struct Secrets(HashMap<String, Kept>);

struct Kept {
    value: Secret,
    /// Made once: comparing with a secret is on every request's path.
    digest: [u8; 32],
}

impl Kept {
    fn equals(&self, digest: &[u8]) -> bool {
        !self.value.reveal().is_empty() & bool::from(digest.ct_eq(self.digest.as_slice()))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.value, f)
    }
}

impl Secrets {
    /// The secret called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name).map(|kept| &kept.value)
    }

    /// What secrets there are.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether `candidate` is the value of the secret called `name`, in a time that
    /// depends on neither's content, nor on whether their lengths are equal: digests
    /// are compared. A secret without a value is one that was never set, and equals
    /// nothing.
    #[must_use]
    pub fn matches(&self, name: &str, candidate: &str) -> bool {
        self.0.get(name).is_some_and(|kept| kept.equals(&Sha256::digest(candidate)))
    }

    /// The position of the first of `names` whose secret [matches](Self::matches)
    /// `candidate`. Compares with all of them: the time tells how many there are,
    /// not which it was.
    #[must_use]
    pub fn which(&self, names: &[String], candidate: &str) -> Option<usize> {
        let digest = Sha256::digest(candidate);
        let mut found = None;
        for (at, name) in names.iter().enumerate() {
            if self.0.get(name).is_some_and(|kept| kept.equals(&digest)) && found.is_none() {
                found = Some(at);
            }
        }
        found
    }
}

impl FromIterator<(String, Secret)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (String, Secret)>>(pairs: I) -> Self {
        let keep = |(name, value): (String, Secret)| {
            let digest = Sha256::digest(value.reveal()).into();
            (name, Kept { value, digest })
        };
        Self(pairs.into_iter().map(keep).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_itself_matches_and_nothing_matches_a_secret_that_was_never_set() {
        let secret = |name: &str, value: &str| (name.to_owned(), Secret::new(value.into()));
        let secrets = Secrets::from_iter([secret("A", "value"), secret("E", "")]);
        assert!(secrets.matches("A", "value"));
        for (name, candidate) in [("A", "valu"), ("A", "value "), ("A", ""), ("E", ""), ("B", "")] {
            assert!(!secrets.matches(name, candidate), "{name} {candidate:?}");
        }
        assert!(!format!("{secrets:?}").contains("value"));
    }
}
