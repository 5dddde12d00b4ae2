//! What calls for a reload, and for how much of one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::stream::{self, Stream};
use tidegate_config::{Config, KeySetSource, PluginSource, SecretSource};
use tidegate_plugin_source::Ask;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::changes::{Change, settled};
use crate::live::Live;

/// How much is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// The components of plugins, in the configuration that serves.
    Plugins(Ask),
    /// Everything: the file, secrets, key sets and plugins.
    Everything(Ask),
}

impl Extent {
    /// What must be read again for both.
    pub(super) fn and(self, other: Self) -> Self {
        let (Self::Plugins(ask) | Self::Everything(ask)) = self;
        let (Self::Plugins(also) | Self::Everything(also)) = other;
        let ask = if also == Ask::Registry { also } else { ask };
        match (self, other) {
            (Self::Plugins(_), Self::Plugins(_)) => Self::Plugins(ask),
            _ => Self::Everything(ask),
        }
    }

    /// What must be read again because of these files.
    fn of(changed: &BTreeSet<PathBuf>, config: &Config, file: Option<&Path>) -> Self {
        if changed.is_subset(&plugin_files(config)) {
            return Self::Plugins(Ask::Memory);
        }
        // Who changes the configuration may mean it for what a tag points to now.
        let asks = file.is_some_and(|file| changed.contains(file));
        Self::Everything(if asks { Ask::Registry } else { Ask::Memory })
    }
}

/// SIGHUP, files that change, and sources that have something new.
pub(super) struct Calls {
    /// The configuration file.
    pub(super) file: Option<PathBuf>,
    /// Says which files matter now.
    pub(super) live: Arc<ArcSwap<Live>>,
    pub(super) hangup: Signal,
    pub(super) changes: mpsc::UnboundedReceiver<Change>,
}

impl Calls {
    /// Each call, until there can be none any more.
    pub(super) fn all(self) -> impl Stream<Item = Extent> {
        stream::unfold(self, |mut calls| async move { Some((calls.next().await?, calls)) })
    }

    /// Waits for what calls for a reload. `None` when nothing will any more.
    async fn next(&mut self) -> Option<Extent> {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => return Some(Extent::Everything(Ask::Registry)),
                change = self.changes.recv() => match change? {
                    Change::Source => return Some(Extent::Plugins(Ask::Registry)),
                    Change::File(path, step) => {
                        let file = self.file.as_deref();
                        let files = watched(&self.live.load().loaded.config, file);
                        if files.contains(&path) {
                            let changed = settled((path, step), &files, &mut self.changes).await;
                            let live = self.live.load();
                            return Some(Extent::of(&changed, &live.loaded.config, file));
                        }
                    }
                },
            }
        }
    }
}

/// The files that a configuration consists of.
pub(super) fn watched(config: &Config, file: Option<&Path>) -> BTreeSet<PathBuf> {
    let keys = config.key_sets.values().filter_map(|set| match &set.source {
        KeySetSource::File(path) => Some(path.clone()),
        _ => None,
    });
    let secrets = config.secrets.values().filter_map(|source| match source {
        SecretSource::File(path) => Some(path.clone()),
        _ => None,
    });
    let mut files = plugin_files(config);
    files.extend(keys.chain(secrets).chain(file.map(Path::to_path_buf)));
    files
}

/// The files that plugins come from, with their signatures.
fn plugin_files(config: &Config) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for plugin in &config.plugins {
        let PluginSource::File(path) = &plugin.source else { continue };
        files.insert(path.clone());
        if plugin.verify_key.is_some() {
            let mut signature = path.clone().into_os_string();
            signature.push(tidegate_plugin_source::signature::SUFFIX);
            files.insert(signature.into());
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_begun_anew_leaves_nothing_out() {
        use Ask::{Memory, Registry};
        use Extent::{Everything, Plugins};
        assert_eq!(Plugins(Memory).and(Plugins(Memory)), Plugins(Memory));
        assert_eq!(Plugins(Memory).and(Plugins(Registry)), Plugins(Registry));
        assert_eq!(Plugins(Registry).and(Everything(Memory)), Everything(Registry));
        assert_eq!(Everything(Memory).and(Plugins(Memory)), Everything(Memory));
    }
}
