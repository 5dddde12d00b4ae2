//! The components of plugins that aren't in the binary: fetched before a generation
//! is made, and asked about afterwards where they may move.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tidegate_config::{OnMissing, PluginSource, Server};
use tidegate_plugin_source::{
    Ask, Credentials, Fetched, Fetcher, FetcherConfig, Source, SourceError, VerifyKey, Wanted,
};
use tidegate_types::fault::chain;
use tidegate_types::{OciVersion, PluginName, Sha256Digest};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::changes::Change;
use crate::live::Loaded;

/// Between two attempts to get what a plugin stands in for; doubled up to the second.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Fetches components, and knows which serve.
#[derive(Debug)]
pub(crate) struct Components {
    fetcher: Fetcher,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those of the generation that serves.
    taken: BTreeMap<PluginName, Taken>,
    /// When a registry was asked last, also for a generation before.
    asked: BTreeMap<PluginName, Instant>,
    /// The manifest that a reload was asked to take over last. One that was refused
    /// isn't tried again by itself.
    tried: BTreeMap<PluginName, Sha256Digest>,
    /// Why the sources of the latest reload gave nothing.
    problems: BTreeMap<PluginName, SourceError>,
}

/// A component that serves, as far as its source is concerned.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    /// Of an artifact in a registry.
    pub(crate) manifest: Option<Sha256Digest>,
    /// Whether a signature was verified.
    pub(crate) signed: bool,
    /// Why it is a copy, or a plugin that stands in.
    pub(crate) instead: Option<SourceError>,
    stands_in: bool,
}

/// What there is for a plugin.
#[derive(Debug)]
pub(crate) enum Had {
    /// Its component.
    Component(Fetched),
    /// Nothing, and the operator chose to start without it.
    Nothing(SourceError),
}

/// The components of one configuration, by plugin. Embedded ones aren't among them.
pub(crate) type Gathered = BTreeMap<PluginName, Had>;

/// Whether there is something to fall back on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Nothing serves yet.
    Start,
    /// A generation serves: it goes on where this fails.
    Reload(Ask),
}

impl Components {
    /// Keeps copies of what it fetches in `state_dir`. Blocks.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn new(server: &Server, state_dir: &Path) -> Result<Self, String> {
        let config = FetcherConfig {
            dir: state_dir.join("plugins"),
            extra_roots: server.extra_roots.iter().cloned().collect(),
        };
        let fetcher = Fetcher::new(config).map_err(|error| chain(&error))?;
        Ok(Self { fetcher, state: Mutex::default() })
    }

    /// Fetches everything that `loaded` names.
    ///
    /// # Errors
    /// Every plugin whose component can't be had, a line each.
    pub(crate) async fn gather(
        &self,
        loaded: &Loaded,
        when: When,
    ) -> Result<Gathered, Vec<String>> {
        let ask = match when {
            When::Start => Ask::Registry,
            When::Reload(ask) => ask,
        };
        let wanted = wanted(loaded)?;
        let fetched = wanted.iter().map(|(wanted, on_missing)| async move {
            (wanted, *on_missing, self.fetcher.fetch(wanted, ask).await)
        });
        let (mut gathered, mut problems) = (Gathered::new(), BTreeMap::new());
        for (wanted, on_missing, fetched) in join_all(fetched).await {
            let name = wanted.name.clone();
            let had = match fetched {
                Ok(fetched) => {
                    if let Some(why) = &fetched.in_place_of {
                        tracing::warn!(plugin = %name, "what was fetched before is used: {why}");
                    }
                    Had::Component(fetched)
                }
                Err(error) if on_missing == OnMissing::Closed && self.may_close(&name, when) => {
                    tracing::error!(plugin = %name, "whatever it would be asked is refused: {error}");
                    Had::Nothing(error)
                }
                Err(error) => {
                    problems.insert(name, error);
                    continue;
                }
            };
            gathered.insert(name, had);
        }
        let lines = problems.iter().map(|(name, it)| format!("plugin `{name}`: {it}")).collect();
        let none = problems.is_empty();
        self.state().problems = problems;
        if none { Ok(gathered) } else { Err(lines) }
    }

    /// What serves isn't closed because a source fails: only where there is nothing yet.
    fn may_close(&self, name: &PluginName, when: When) -> bool {
        when == When::Start || self.state().taken.get(name).is_some_and(|it| it.stands_in)
    }

    /// Notes that a generation of these serves.
    pub(crate) async fn took(&self, loaded: &Loaded, gathered: BTreeMap<PluginName, Taken>) {
        for (wanted, _) in wanted(loaded).unwrap_or_default() {
            if let Some(taken) = gathered.get(&wanted.name) {
                self.fetcher.taken_over(&wanted, taken.manifest).await;
            }
        }
        self.state().taken = gathered;
    }

    /// What is known of the source of a plugin that serves.
    pub(crate) fn taken(&self, name: &PluginName) -> Option<Taken> {
        self.state().taken.get(name).cloned()
    }

    /// Why the latest reload got nothing from this plugin's source.
    pub(crate) fn problem(&self, name: &PluginName) -> Option<SourceError> {
        self.state().problems.get(name).cloned()
    }

    /// Asks, now and then, where tags point, and for what plugins stand in for; tells
    /// `changes` of what is new. Ends when the answer is dropped.
    pub(crate) fn ask_again(
        self: &Arc<Self>,
        loaded: &Loaded,
        changes: &mpsc::UnboundedSender<Change>,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (wanted, _) in wanted(loaded).unwrap_or_default() {
            let Some(taken) = self.taken(&wanted.name) else { continue };
            let (this, changes) = (Arc::clone(self), changes.clone());
            let poll = loaded.config.plugins.iter().find(|it| it.name == wanted.name);
            let poll = poll.map_or(LAST_RETRY, |it| it.poll);
            if taken.stands_in {
                tasks.spawn(async move { this.until_had(&wanted, &changes).await });
            } else if is_tag(&wanted.source) {
                tasks.spawn(async move { this.poll(&wanted, poll, &changes).await });
            }
        }
        tasks
    }

    async fn until_had(&self, wanted: &Wanted, changes: &mpsc::UnboundedSender<Change>) {
        let mut pause = FIRST_RETRY;
        loop {
            tokio::time::sleep(pause).await;
            match self.fetcher.fetch(wanted, Ask::Registry).await {
                // What comes of it stands in the log of the reload; a component that
                // can't be used is tried again as one that can't be had.
                Ok(_) if changes.send(Change::Source).is_err() => return,
                Ok(_) => {}
                Err(error) => tracing::debug!(plugin = %wanted.name, %error, "still not there"),
            }
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    async fn poll(
        &self,
        wanted: &Wanted,
        every: Duration,
        changes: &mpsc::UnboundedSender<Change>,
    ) {
        loop {
            let now = Instant::now();
            let last = *self.state().asked.entry(wanted.name.clone()).or_insert(now);
            tokio::time::sleep_until(last + every).await;
            let points_to = self.fetcher.points_to(wanted).await;
            self.state().asked.insert(wanted.name.clone(), Instant::now());
            match points_to {
                Ok(Some(manifest)) if self.is_news(&wanted.name, manifest) => {
                    tracing::info!(plugin = %wanted.name, %manifest, "its tag points elsewhere now");
                    if changes.send(Change::Source).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(plugin = %wanted.name, "its registry doesn't answer: {error}");
                }
            }
        }
    }

    fn is_news(&self, name: &PluginName, manifest: Sha256Digest) -> bool {
        let mut state = self.state();
        let serves = state.taken.get(name).is_some_and(|it| it.manifest == Some(manifest));
        !serves && state.tried.insert(name.clone(), manifest) != Some(manifest)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be remembered of components, once their bytes are the policy host's.
pub(crate) fn remembered(gathered: &Gathered) -> BTreeMap<PluginName, Taken> {
    let taken = gathered.iter().map(|(name, had)| {
        let taken = match had {
            Had::Component(it) => Taken {
                manifest: it.manifest,
                signed: it.signed,
                instead: it.in_place_of.clone(),
                stands_in: false,
            },
            Had::Nothing(why) => {
                Taken { manifest: None, signed: false, instead: Some(why.clone()), stands_in: true }
            }
        };
        (name.clone(), taken)
    });
    taken.collect()
}

fn is_tag(source: &Source) -> bool {
    matches!(source, Source::Oci(reference) if matches!(reference.version(), OciVersion::Tag(_)))
}

/// What is to be fetched for `loaded`.
fn wanted(loaded: &Loaded) -> Result<Vec<(Wanted, OnMissing)>, Vec<String>> {
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for plugin in &loaded.config.plugins {
        let name = &plugin.name;
        let source = match &plugin.source {
            PluginSource::Builtin(_) => continue,
            PluginSource::File(path) => Source::File(path.clone()),
            PluginSource::Https(url) => Source::Https(url.clone()),
            PluginSource::Oci(reference) => Source::Oci(reference.clone()),
        };
        let verify_key = match plugin.verify_key.as_ref().map(VerifyKey::new).transpose() {
            Ok(key) => key,
            Err(error) => {
                problems.push(format!("plugin `{name}`: `verify-key`: {error}"));
                continue;
            }
        };
        let credentials = match &plugin.credentials {
            None => None,
            Some(it) => match loaded.secrets.get(&it.password) {
                Some(password) => {
                    Some(Credentials { username: it.username.clone(), password: password.clone() })
                }
                None => {
                    let secret = &it.password;
                    problems.push(format!("plugin `{name}`: secret `{secret}` is unknown"));
                    continue;
                }
            },
        };
        let wanted =
            Wanted { name: name.clone(), source, sha256: plugin.sha256, verify_key, credentials };
        all.push((wanted, plugin.on_missing));
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}
