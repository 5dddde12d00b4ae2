//! The host: the current generation, and the way to the next one.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tidegate_types::PluginName;

use crate::cache::Cache;
use crate::calls::Calls;
use crate::engine::Runtime;
use crate::journal::Journals;
use crate::load::Loader;
use crate::surroundings::{Lasting, Surroundings};
use crate::witness::Witness;
use crate::{Generation, HostConfig, KeySet, PluginProblem, PluginSpec, PluginStatus};

/// Loads plugins and holds the generation that serves.
pub struct PolicyHost {
    runtime: Arc<Runtime>,
    current: ArcSwap<Generation>,
    journals: Journals,
    /// Why the latest reload failed. Held for the length of a reload too, so that
    /// two of them don't race.
    problems: Mutex<Vec<PluginProblem>>,
    reloading: Mutex<()>,
}

impl fmt::Debug for PolicyHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PolicyHost").field(&self.current.load()).finish()
    }
}

impl PolicyHost {
    /// Loads all of `specs`. Compiles: seconds for large components, so call it
    /// from a thread that may block.
    ///
    /// # Errors
    /// Every problem of every plugin.
    pub fn new(config: HostConfig, specs: Vec<PluginSpec>) -> Result<Self, Vec<PluginProblem>> {
        let runtime = Runtime::start(config.max_instances).map_err(|error| {
            let what = format!("the WASM engine can't start: {error:#}");
            vec![PluginProblem::of_host(what, "check the limits on address space and threads")]
        })?;
        let runtime = Arc::new(runtime);
        let journals = Journals::default();
        let first = generation(&runtime, &journals, 1, config, specs, None)?;
        Ok(Self {
            runtime,
            journals,
            current: ArcSwap::from_pointee(first),
            problems: Mutex::default(),
            reloading: Mutex::default(),
        })
    }

    /// Tells `witness` of the generation that serves now, and of every refusal and
    /// failure from now on. The first stays the only one.
    pub fn watched_by(&self, witness: Arc<dyn Witness>) {
        if self.runtime.witness.set(Arc::clone(&witness)).is_ok() {
            witness.serves(&self.current());
        }
    }

    /// Loads all of `specs` anew and swaps them in together. Blocks as
    /// [`PolicyHost::new`] does; requests go on being answered meanwhile.
    ///
    /// Counters, meters and log budgets stay with a plugin's name.
    ///
    /// # Errors
    /// Every problem of every plugin; the last good generation goes on serving,
    /// and [`PolicyHost::status`] and [`PolicyHost::problems`] tell why.
    pub fn reload(
        &self,
        config: HostConfig,
        specs: Vec<PluginSpec>,
    ) -> Result<(), Vec<PluginProblem>> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        let number = current.number() + 1;
        let last = Some(&*current);
        let next = generation(&self.runtime, &self.journals, number, config, specs, last);
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        match next {
            Ok(next) => {
                problems.clear();
                let next = Arc::new(next);
                self.current.store(Arc::clone(&next));
                if let Some(witness) = self.runtime.witness.get() {
                    witness.serves(&next);
                }
                Ok(())
            }
            Err(found) => {
                problems.clone_from(&found);
                Err(found)
            }
        }
    }

    /// The generation that serves now. Take it once per request.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Why the latest reload failed; empty when it didn't.
    #[must_use]
    pub fn problems(&self) -> Vec<PluginProblem> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what plugins wrote into their journals is in the files, at most for
    /// `within`; says whether it is. Blocks: for the end of the gateway.
    pub fn flush_journals(&self, within: Duration) -> bool {
        self.journals.flush(within)
    }

    /// Every plugin of the generation that serves, in order.
    #[must_use]
    pub fn status(&self) -> Vec<PluginStatus> {
        let current = self.current();
        let problems = self.problems();
        let status = current.plugins().iter().map(|plugin| {
            let name = &plugin.spec().name;
            let last_problem = problems.iter().find(|p| p.plugin.as_ref() == Some(name)).cloned();
            let order = |hook| current.order(hook, name);
            PluginStatus { last_problem, ..plugin.status(current.number(), order) }
        });
        status.collect()
    }
}

fn generation(
    runtime: &Arc<Runtime>,
    journals: &Journals,
    number: u64,
    config: HostConfig,
    specs: Vec<PluginSpec>,
    last: Option<&Generation>,
) -> Result<Generation, Vec<PluginProblem>> {
    let HostConfig {
        cache_dir,
        secrets,
        key_sets,
        known_templates,
        outgoing,
        max_component,
        max_instances: _,
    } = config;
    let mut problems: Vec<_> = weak_key_sets(&key_sets);
    problems.extend(duplicates(&specs));
    let loader = Loader { runtime, cache: Cache::open(cache_dir), max_component, last };
    let (key_sets, templates) = (Arc::new(key_sets), Arc::new(known_templates));
    let mut plugins = Vec::with_capacity(specs.len());
    for spec in specs {
        let calls = match (&spec.http, &outgoing) {
            (Some(grant), Some(outgoing)) => match Calls::granted(grant, &secrets, outgoing) {
                Ok(calls) => Some(calls),
                Err((what, remedy)) => {
                    problems.push(PluginProblem::new(&spec.name, what, remedy));
                    continue;
                }
            },
            _ => None,
        };
        let around = Arc::new(Surroundings {
            name: spec.name.clone(),
            secrets: Arc::clone(&secrets),
            key_sets: Arc::clone(&key_sets),
            templates: Arc::clone(&templates),
            calls,
            journal: spec.journal.as_ref().map(|grant| journals.open(grant)),
            lasting: last.and_then(|last| lasting(last, &spec.name)).unwrap_or_default(),
        });
        match loader.load(around, spec) {
            Ok(plugin) => plugins.push(plugin),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(Generation::new(number, plugins, templates))
    } else {
        Err(problems)
    }
}

fn lasting(last: &Generation, name: &PluginName) -> Option<Arc<Lasting>> {
    let same = last.plugins().iter().find(|plugin| plugin.spec().name == *name)?;
    Some(Arc::clone(&same.around().lasting))
}

fn duplicates(specs: &[PluginSpec]) -> Vec<PluginProblem> {
    let mut seen = HashSet::new();
    let twice = specs.iter().filter(|spec| !seen.insert(&spec.name));
    twice
        .map(|spec| {
            let remedy = "give each plugin a name of its own";
            PluginProblem::new(&spec.name, "another plugin has the same name", remedy)
        })
        .collect()
}

/// RFC 7518 §3.2: an HS256 key has at least 256 bits.
fn weak_key_sets(key_sets: &HashMap<String, KeySet>) -> Vec<PluginProblem> {
    let weak = key_sets.iter().filter_map(|(name, set)| {
        let length = set.shared_secret()?.reveal().len();
        (length < 32).then(|| {
            PluginProblem::of_host(
                format!("the shared secret of key set `{name}` has {length} bytes"),
                "set that secret to at least 32 random bytes",
            )
        })
    });
    weak.collect()
}
