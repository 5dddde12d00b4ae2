//! Takes over changes of the configuration and of plugin files while requests go
//! on. What cannot be used is said and left: the last good one serves on.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::stream::{Stream, StreamExt as _};
use tidegate_config::Config;
use tidegate_egress::UpstreamGate;
use tidegate_policy::PolicyHost;
use tidegate_sandbox::{Driver, Registry};
use tidegate_types::fault::chain;
use tidegate_types::meter::Counter;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::calls::{Calls, Extent, watched};
use super::changes::Watch;
use super::components::{Components, Gathered, When, remembered};
use super::key_sets::Published;
use super::outside::Outside;
use super::{blocking, plugins, templates, upstreams};
use crate::live::{Live, Loaded};

/// How long a reload fetches before whatever changes meanwhile may begin it anew: an
/// operator who takes out a source that doesn't answer must not wait for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

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
    pub(crate) components: Arc<Components>,
    pub(crate) drivers: HashMap<String, Arc<dyn Driver>>,
    /// The state directory in use, whatever a changed file says.
    pub(crate) runs_in: PathBuf,
    pub(crate) meters: Arc<Meters>,
}

/// How reloads went.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    pub(crate) taken: Counter,
    pub(crate) refused: Counter,
    /// Why the latest was refused, a line each; empty when it wasn't.
    because: Mutex<Vec<String>>,
}

impl Meters {
    /// Why the latest reload was refused, a line each; empty when it wasn't.
    pub(crate) fn because(&self) -> Vec<String> {
        self.because.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refused_because(&self, problems: Vec<String>) {
        *self.because.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }
}

/// Watches files and SIGHUP until the answer is dropped.
pub(crate) fn start(reloader: Reloader) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(reloader.watch()))
}

/// All that a reload needs from elsewhere.
struct Ready {
    extent: Extent,
    loaded: Arc<Loaded>,
    upstreams: Vec<tidegate_egress::Upstream>,
    published: Published,
    gathered: Gathered,
}

impl Reloader {
    async fn watch(self) {
        let (changed, changes) = mpsc::unbounded_channel();
        let Ok(hangup) = signal(SignalKind::hangup()) else { return };
        // Both kept: they end when they are dropped.
        let mut watch = Watch::new(&self.watched(), &changed);
        let mut asking = self.components.ask_again(&self.live.load().loaded, &changed);
        let (file, live) = (self.file.clone(), Arc::clone(&self.live));
        let mut calls = pin!(Calls { file, live, hangup, changes }.all());
        while let Some(extent) = calls.next().await {
            self.reload_and_say(extent, &mut calls).await;
            // Other files and sources may matter now.
            if let Some(watch) = &mut watch {
                watch.follow(&self.watched());
            }
            asking.abort_all();
            asking = self.components.ask_again(&self.live.load().loaded, &changed);
        }
    }

    /// The files that the loaded configuration consists of.
    fn watched(&self) -> BTreeSet<PathBuf> {
        watched(&self.live.load().loaded.config, self.file.as_deref())
    }

    async fn reload_and_say(
        &self,
        extent: Extent,
        calls: &mut (impl Stream<Item = Extent> + Unpin),
    ) {
        let began = Instant::now();
        let reloaded = match self.patiently(extent, calls).await {
            Ok(ready) => self.take_over(ready).await,
            Err(problems) => Err(problems),
        };
        match reloaded {
            Ok(()) => {
                self.meters.taken.add(1);
                self.meters.refused_because(Vec::new());
                let generation = self.policy.current().number();
                let took = began.elapsed();
                tracing::info!(generation, ?took, "the changed configuration is taken over");
            }
            Err(problems) => {
                self.meters.refused.add(1);
                for problem in &problems {
                    tracing::error!("not taken over, the last good one serves on: {problem}");
                }
                self.meters.refused_because(problems);
            }
        }
    }

    /// Fetches what `extent` needs, and begins anew when something else is called for
    /// while that takes long.
    async fn patiently(
        &self,
        mut extent: Extent,
        calls: &mut (impl Stream<Item = Extent> + Unpin),
    ) -> Result<Ready, Vec<String>> {
        loop {
            let mut preparing = pin!(self.prepare(extent));
            tokio::select! {
                biased;
                ready = &mut preparing => return ready,
                () = sleep(PATIENCE) => {
                    tracing::warn!("a reload waits for its sources; any change begins it anew");
                }
            }
            tokio::select! {
                biased;
                ready = &mut preparing => return ready,
                Some(next) = calls.next() => extent = extent.and(next),
            }
        }
    }

    /// Reads and fetches; changes nothing.
    ///
    /// # Cancel safety
    /// Dropping it leaves at most a copy of a component that nobody asked for.
    async fn prepare(&self, extent: Extent) -> Result<Ready, Vec<String>> {
        let before = Arc::clone(&self.live.load().loaded);
        let (loaded, ask) = match extent {
            Extent::Plugins(ask) => (before, ask),
            Extent::Everything(ask) => (Arc::new(self.read(&before).await?), ask),
        };
        let upstreams = upstreams::of(&loaded)?;
        let published = self.outside.key_sets(&loaded.config).await?;
        let gathered = self.components.gather(&loaded, When::Reload(ask)).await?;
        Ok(Ready { extent, loaded, upstreams, published, gathered })
    }

    /// Everything is made first and swapped last. The upstreams and the registry's
    /// templates go in before the plugins that may name them; what requests see
    /// changes in one step, at the end.
    async fn take_over(&self, ready: Ready) -> Result<(), Vec<String>> {
        let Ready { extent, loaded, upstreams, published, gathered } = ready;
        let taken = remembered(&gathered);
        let means = plugins::Means {
            state_dir: &self.runs_in,
            outgoing: self.outside.outgoing(),
            published: &published,
            components: gathered,
        };
        let input = plugins::input(&loaded, means)?;
        let policy = Arc::clone(&self.policy);
        blocking(move || {
            policy
                .reload(input.host, input.plugins)
                .map_err(|problems| plugins::describe(&problems))
        })
        .await?;
        self.outside.serve(published);
        if let Extent::Everything(_) = extent {
            self.upstreams.replace(&upstreams).map_err(|error| vec![chain(&error)])?;
            self.registry.replace_templates(&templates(&loaded));
        }
        let live = Live { policy: self.policy.current(), loaded: Arc::clone(&loaded) };
        self.live.store(Arc::new(live));
        self.components.took(&loaded, taken).await;
        Ok(())
    }

    /// The file as it is now, with its secrets, judged.
    async fn read(&self, before: &Loaded) -> Result<Loaded, Vec<String>> {
        let file = self.file.clone();
        let old = before.config.clone();
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
        say_what_needs_a_restart(&before.config, &loaded.config);

        let (warnings, errors) = crate::check::templates(&loaded.templates, &self.drivers);
        if !errors.is_empty() {
            return Err(errors);
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(loaded)
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
}
