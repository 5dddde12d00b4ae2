//! Takes over changes of the configuration and of plugin files while requests go
//! on. What cannot be used is said and left: the last good one serves on.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tidegate_config::{Config, PluginSource};
use tidegate_egress::UpstreamGate;
use tidegate_policy::PolicyHost;
use tidegate_sandbox::{Driver, Registry};
use tidegate_types::fault::chain;
use tidegate_types::meter::Counter;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::outside::Outside;
use super::{blocking, plugins, templates, upstreams};
use crate::live::{Live, Loaded};

/// Editors and compilers write a file in several steps; this long after the last
/// one it is read.
const SETTLED: Duration = Duration::from_millis(150);

/// A file that never comes to rest is read after this long all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a reload touches.
pub(crate) struct Reloader {
    /// The configuration file; without one there is nothing to reload.
    pub(crate) file: Option<PathBuf>,
    /// What the command line says instead of the file.
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) live: Arc<ArcSwap<Live>>,
    pub(crate) policy: Arc<PolicyHost>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) upstreams: Arc<UpstreamGate>,
    pub(crate) outside: Arc<Outside>,
    pub(crate) drivers: HashMap<String, Arc<dyn Driver>>,
    pub(crate) cache_dir: PathBuf,
    pub(crate) meters: Arc<Meters>,
}

/// How reloads went.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    pub(crate) taken: Counter,
    pub(crate) refused: Counter,
}

/// Watches files and SIGHUP until the answer is dropped.
pub(crate) fn start(reloader: Reloader) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(reloader.watch()))
}

impl Reloader {
    async fn watch(self) {
        let (changed, mut changes) = mpsc::unbounded_channel();
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        // Kept: the watch ends with it. Made anew after each reload, since other
        // files may matter then.
        let mut watcher = self.watcher(&changed);
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                event = changes.recv() => {
                    let Some(path) = event else { return };
                    let watched = self.watched();
                    if !watched.contains(&path) {
                        continue;
                    }
                    settled(&watched, &mut changes).await;
                }
            }
            self.reload_and_say().await;
            drop(watcher.take());
            watcher = self.watcher(&changed);
        }
    }

    /// Directories are watched, not files: a file that is replaced by renaming
    /// is another file.
    fn watcher(&self, changed: &mpsc::UnboundedSender<PathBuf>) -> Option<RecommendedWatcher> {
        let changed = changed.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if let Ok(event) = event
                && !event.kind.is_access()
            {
                for path in event.paths {
                    // The receiver is gone when the gateway ends.
                    let _ = changed.send(path);
                }
            }
        });
        let mut watcher = match watcher {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::warn!(%error, "files cannot be watched; SIGHUP reloads");
                return None;
            }
        };
        let files = self.watched();
        let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        for folder in folders {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, folder = %folder.display(), "cannot be watched");
            }
        }
        Some(watcher)
    }

    /// The files that the loaded configuration consists of.
    fn watched(&self) -> BTreeSet<PathBuf> {
        let live = self.live.load();
        let plugins = live.loaded.config.plugins.iter().filter_map(|plugin| match &plugin.source {
            PluginSource::File(path) => Some(path.clone()),
            PluginSource::Builtin(_) | PluginSource::Https(_) | PluginSource::Oci(_) => None,
        });
        let keys = live.loaded.config.key_sets.values().filter_map(|set| match &set.source {
            tidegate_config::KeySetSource::File(path) => Some(path.clone()),
            _ => None,
        });
        let secrets = live.loaded.config.secrets.values().filter_map(|source| match source {
            tidegate_config::SecretSource::File(path) => Some(path.clone()),
            _ => None,
        });
        plugins.chain(keys).chain(secrets).chain(self.file.clone()).collect()
    }

    async fn reload_and_say(&self) {
        match self.reload().await {
            Ok(()) => {
                self.meters.taken.add(1);
                let generation = self.policy.current().number();
                tracing::info!(generation, "the changed configuration is taken over");
            }
            Err(problems) => {
                self.meters.refused.add(1);
                for problem in problems {
                    tracing::error!("not taken over, the last good one serves on: {problem}");
                }
            }
        }
    }

    /// Everything is made first and swapped last. The upstreams and the registry's
    /// templates go in before the plugins that may name them; what requests see
    /// changes in one step, at the end.
    async fn reload(&self) -> Result<(), Vec<String>> {
        let before = self.live.load_full();
        let file = self.file.clone();
        let old = before.loaded.config.clone();
        let state_dir = self.state_dir.clone();
        let loaded = blocking(move || {
            let mut config = match &file {
                Some(file) => {
                    let new = tidegate_config::load(file).map_err(lines)?;
                    if is_half_written(&old, &new) {
                        let file = file.display();
                        return Err(vec![format!(
                            "{file}: it names no plugin any more, as a file that is still being \
                             written; if that is meant, restart the gateway"
                        )]);
                    }
                    new
                }
                None => old,
            };
            if let Some(state_dir) = state_dir {
                config.server.state_dir = state_dir;
            }
            Loaded::of(config)
        })
        .await?;
        say_what_needs_a_restart(&before.loaded.config, &loaded.config);

        let (warnings, errors) = crate::check::templates(&loaded.templates, &self.drivers);
        if !errors.is_empty() {
            return Err(errors);
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let upstreams = upstreams::of(&loaded)?;
        let published = self.outside.key_sets(&loaded.config).await?;
        let input = plugins::input(
            &loaded.config,
            &loaded.secrets,
            &self.cache_dir,
            self.outside.outgoing(),
            &published,
        )?;
        let policy = Arc::clone(&self.policy);
        blocking(move || {
            policy
                .reload(input.host, input.plugins)
                .map_err(|problems| plugins::describe(&problems))
        })
        .await?;
        self.outside.serve(published);
        self.upstreams.replace(&upstreams).map_err(|error| vec![chain(&error)])?;
        self.registry.replace_templates(&templates(&loaded));
        self.live.store(Arc::new(Live { policy: self.policy.current(), loaded }));
        Ok(())
    }
}

/// Whether `new` refuses everybody where `old` did not. No file at all is valid,
/// and so is an empty one, which is what an editor leaves for a moment; that must
/// not shut everybody out.
fn is_half_written(old: &Config, new: &Config) -> bool {
    new.plugins.is_empty() && !old.plugins.is_empty()
}

fn lines(problems: impl ToString) -> Vec<String> {
    problems.to_string().lines().map(str::to_owned).collect()
}

/// Waits until none of these files has changed for a while. Other files of the
/// same folders, a log perhaps, may change all the time.
async fn settled(watched: &BTreeSet<PathBuf>, changes: &mut mpsc::UnboundedReceiver<PathBuf>) {
    let mut quiet = Instant::now() + SETTLED;
    let patience = Instant::now() + PATIENCE;
    while let Ok(Some(path)) = tokio::time::timeout_at(quiet.min(patience), changes.recv()).await {
        if watched.contains(&path) {
            quiet = Instant::now() + SETTLED;
        }
    }
}

/// Sockets and directories are not exchanged under a running gateway.
fn say_what_needs_a_restart(before: &Config, after: &Config) {
    let (old, new) = (&before.server, &after.server);
    let differences = [
        ("listen", old.listen != new.listen),
        ("control", old.control != new.control),
        ("control-hosts", old.control_hosts != new.control_hosts),
        ("metrics", old.metrics != new.metrics),
        ("state-dir", old.state_dir != new.state_dir),
        ("tls", old.tls != new.tls),
        ("drain", old.drain != new.drain),
        ("extra-roots", old.extra_roots != new.extra_roots),
        ("max-header-bytes", old.max_header_bytes != new.max_header_bytes),
    ];
    for (key, _) in differences.iter().filter(|(_, differs)| *differs) {
        tracing::warn!("`server.{key}` changed: it takes effect at the next start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_no_successor_of_one_that_lets_somebody_in() {
        let read = |text| {
            let config = tidegate_config::parse(text, "a test", std::path::Path::new("/"));
            config.expect("valid")
        };
        let some = read("[[plugin]]\nname = \"a\"\nsource = \"builtin:token\"\n");
        let none = read("");
        assert!(is_half_written(&some, &none));
        assert!(!is_half_written(&none, &none) && !is_half_written(&none, &some));
    }

    #[tokio::test]
    async fn a_neighbour_that_changes_all_the_time_does_not_hold_up_a_reload() {
        let (send, mut changes) = mpsc::unbounded_channel();
        let busy = tokio::spawn(async move {
            while send.send(PathBuf::from("/etc/tidegate/serve.log")).is_ok() {
                tokio::time::sleep(SETTLED / 10).await;
            }
        });
        let watched = BTreeSet::from([PathBuf::from("/etc/tidegate/tidegate.toml")]);
        settled(&watched, &mut changes).await;
        assert!(!busy.is_finished(), "the neighbour still writes");
        drop(changes);
        busy.await.expect("it ends with its reader");
    }
}
