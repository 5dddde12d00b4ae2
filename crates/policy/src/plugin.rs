//! A loaded plugin: where its instances come from and where they rest.

use std::sync::Arc;
use std::time::Duration;

use tidegate_types::TenantId;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::bindings::exports::tidegate::policy::plugin::{ConfigError, Manifest};
use crate::configuration::{at, refused};
use crate::contract::Breach;
use crate::deadline::{Deadline, MAX_DEADLINE, Measure};
use crate::engine::Runtime;
use crate::instance::{Instance, MAX_COPIED, Manner, Mould};
use crate::pool::{Owner, Pool};
use crate::state::{About, Call};
use crate::surroundings::Surroundings;
use crate::witness::{How, Refused};
use crate::{FailureReason, Hook, HookStatus, Isolation, PluginSpec, PluginStatus};

/// How long `describe`, and the first `configure`, may compute.
const AT_LOAD: Duration = Duration::from_secs(5);
/// How many deadlines a fresh instance may take to be ready within a request.
const SET_UP: u32 = 10;

/// What an instance is made from.
pub(crate) struct Recipe {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) mould: Mould,
    pub(crate) around: Arc<Surroundings>,
    pub(crate) config: String,
}

/// One plugin of a generation.
pub(crate) struct Plugin {
    recipe: Recipe,
    spec: PluginSpec,
    sha256: String,
    manifest: Manifest,
    pool: Pool,
}

/// Why there is no instance for a call.
pub(crate) type NoInstance = (FailureReason, String);

impl Recipe {
    /// The first instance, and what it says about itself.
    pub(crate) fn first_instance(&self) -> Result<(Manifest, Instance), Breach> {
        let made = at_once(Instance::new(&self.runtime, &self.mould, &self.around, self.load()));
        let mut instance = made.map_err(|error| {
            (format!("it can't be started: {error:#}"), "see the plugin's own code".to_owned())
        })?;
        let described = at_once(instance.describe());
        let manifest = described.map_err(|error| {
            let what = format!("`describe` failed: {}", explain(&instance, &error).1);
            (what, "see the plugin's own code".to_owned())
        })?;
        Ok((manifest, instance))
    }

    /// Configures an instance that has described itself.
    pub(crate) fn configure_first(&self, mut instance: Instance) -> Result<Instance, Breach> {
        instance.begin(self.load());
        let configured = at_once(instance.configure(self.config.clone()));
        match configured {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(errors)) => Err(refused(&told(&errors))),
            Err(error) => Err((
                format!("`configure` failed: {}", explain(&instance, &error).1),
                "see the plugin's own code".into(),
            )),
        }
    }

    /// A call while the plugin is loaded: about nothing.
    fn load(&self) -> Call {
        Call::new(About::default(), Deadline::of(AT_LOAD, self.measure()))
    }

    pub(crate) fn measure(&self) -> Measure {
        match self.mould.manner {
            Manner::Pure => Measure::Processor,
            Manner::Connected => Measure::Wall,
        }
    }
}

/// The result of what has nothing to wait for: outside of a hook, calls to the
/// world outside are refused without being made.
fn at_once<T>(work: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    let done = futures_util::FutureExt::now_or_never(work);
    done.unwrap_or_else(|| Err(wasmtime::format_err!("it waited for something")))
}

impl Plugin {
    pub(crate) fn new(
        recipe: Recipe,
        spec: PluginSpec,
        sha256: String,
        manifest: Manifest,
        first: Instance,
        idle: usize,
    ) -> Self {
        let pool = Pool::new(idle);
        if spec.isolation == Isolation::Shared {
            pool.give_back(None, first);
        }
        Self { recipe, spec, sha256, manifest, pool }
    }

    pub(crate) fn spec(&self) -> &PluginSpec {
        &self.spec
    }

    pub(crate) fn around(&self) -> &Surroundings {
        &self.recipe.around
    }

    pub(crate) fn serves(&self, hook: Hook) -> bool {
        self.recipe.mould.exports.hook(hook).is_some()
    }

    /// Tells whoever wants to know what came of asking.
    pub(crate) fn witness(&self, hook: Hook, how: How<'_>, about: &About) {
        if hook != Hook::Observe
            && let Some(witness) = self.recipe.runtime.witness.get()
        {
            witness.refused(&Refused::new(&self.spec.name, hook, how, about));
        }
    }

    /// What one of its calls about `about` may take.
    pub(crate) fn call(&self, about: About) -> Call {
        Call::new(about, Deadline::of(self.spec.deadline, self.recipe.measure()))
    }

    /// An instance for one call of `tenant` (`None`: not known yet).
    pub(crate) async fn lease(&self, tenant: Option<&TenantId>) -> Result<Instance, NoInstance> {
        match self.owner(tenant).and_then(|owner| self.pool.take(&owner)) {
            Some(idle) => Ok(idle),
            None => self.fresh().await,
        }
    }

    /// Takes back an instance whose call went well.
    pub(crate) fn give_back(&self, tenant: Option<&TenantId>, mut instance: Instance) {
        instance.end();
        if let Some(owner) = self.owner(tenant)
            && !instance.store.data().bounds.worn()
        {
            self.pool.give_back(owner, instance);
        }
    }

    /// Whose the instance for a call is; `None` when nobody's after the call.
    fn owner(&self, tenant: Option<&TenantId>) -> Option<Owner> {
        match self.spec.isolation {
            Isolation::Call => None,
            Isolation::Tenant => tenant.map(|tenant| Some(tenant.clone())),
            Isolation::Shared => Some(None),
        }
    }

    async fn fresh(&self) -> Result<Instance, NoInstance> {
        let Recipe { runtime, mould, around, config } = &self.recipe;
        let limit = (self.spec.deadline * SET_UP).min(MAX_DEADLINE);
        let full = |error: &wasmtime::Error| error.is::<PoolConcurrencyLimitError>();
        let call = || {
            let deadline = Deadline::of(limit, self.recipe.measure());
            Call::new(About::default(), deadline)
        };
        let made = match Instance::new(runtime, mould, around, call()).await {
            Err(error) if full(&error) => {
                self.pool.clear();
                Instance::new(runtime, mould, around, call()).await
            }
            made => made,
        };
        let mut instance = made.map_err(|error| {
            let saturated = full(&error);
            let reason = if saturated { FailureReason::Saturated } else { FailureReason::NotReady };
            (reason, format!("can't make an instance: {error:#}"))
        })?;
        match instance.configure(config.clone()).await {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(errors)) => {
                let detail = format!("`configure` now refuses: {}", told(&errors).join("; "));
                Err((FailureReason::NotReady, detail))
            }
            Err(error) => {
                let (_, why) = explain(&instance, &error);
                Err((FailureReason::NotReady, format!("`configure` failed: {why}")))
            }
        }
    }

    pub(crate) fn status(&self, generation: u64) -> PluginStatus {
        let hooks = Hook::ALL.iter().copied().filter(|hook| self.serves(*hook)).map(|hook| {
            let meter = self.around().lasting.meter(hook);
            HookStatus {
                hook,
                calls: meter.calls.get(),
                failures: meter.failures(),
                durations: meter.durations.snapshot(),
            }
        });
        PluginStatus {
            name: self.spec.name.clone(),
            title: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            description: self.manifest.description.clone(),
            source: self.spec.source.to_string(),
            sha256: self.sha256.clone(),
            generation,
            isolation: self.spec.isolation,
            deadline: self.spec.deadline,
            memory: self.spec.memory,
            hooks: hooks.collect(),
            http: self.around().lasting.http.outcomes(),
            http_durations: self.around().lasting.http.durations.snapshot(),
            journal: self.around().journal.as_ref().map(|journal| journal.status()),
            last_problem: None,
        }
    }
}

/// What an interrupted call died of. The detail is for the log.
pub(crate) fn explain(instance: &Instance, error: &wasmtime::Error) -> (FailureReason, String) {
    if copied_too_much(error) {
        let what = format!("more than {MAX_COPIED} bytes passed between it and the host");
        return (FailureReason::Nonsense, what);
    }
    let reason = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => FailureReason::TimedOut,
        Some(Trap::StackOverflow) => FailureReason::StackOverflow,
        Some(Trap::AllocationTooLarge) => FailureReason::OutOfMemory,
        // A guest that is refused memory has no better way to end than a trap.
        Some(_) if instance.store.data().bounds.refused => FailureReason::OutOfMemory,
        _ => FailureReason::Trap,
    };
    (reason, format!("{:#}", Terse(error)))
}

/// Whether a call ended because it made the host copy more than it may. The engine
/// has no type for that; a test fails should its words change.
fn copied_too_much(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.to_string().contains("fuel allocated for hostcalls"))
}

/// An error and its causes in one line, without the guest's stack.
struct Terse<'e>(&'e wasmtime::Error);

impl std::fmt::Display for Terse<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for cause in self.0.chain() {
            let text = cause.to_string();
            if !text.starts_with("error while executing at wasm backtrace") {
                write!(f, "{separator}{text}")?;
                separator = ": ";
            }
        }
        Ok(())
    }
}

fn told(errors: &[ConfigError]) -> Vec<String> {
    errors.iter().take(10).map(|error| at(&error.path, &error.message)).collect()
}
