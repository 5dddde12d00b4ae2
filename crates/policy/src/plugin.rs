//! A loaded plugin: where its instances come from and where they rest.

use std::sync::Arc;
use std::time::Duration;

use tidegate_types::TenantId;
use wasmtime::component::InstancePre;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::bindings::exports::tidegate::policy::plugin::{ConfigError, Manifest};
use crate::configuration::{at, refused};
use crate::contract::Breach;
use crate::deadline::MAX_DEADLINE;
use crate::engine::Runtime;
use crate::instance::{Exports, Instance};
use crate::pool::{Owner, Pool};
use crate::state::{Call, State};
use crate::surroundings::Surroundings;
use crate::{FailureReason, Hook, HookStatus, Isolation, PluginSpec, PluginStatus};

/// How long `describe`, and the first `configure`, may compute.
const AT_LOAD: Duration = Duration::from_secs(5);
/// How many deadlines a fresh instance may take to be ready within a request.
const SET_UP: u32 = 10;

/// What an instance is made from.
pub(crate) struct Recipe {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) component: InstancePre<State>,
    pub(crate) exports: Exports,
    pub(crate) around: Arc<Surroundings>,
    pub(crate) config: String,
    pub(crate) memory: u64,
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
        let mut instance = self.instantiate(AT_LOAD).map_err(|error| {
            (format!("it can't be started: {error:#}"), "see the plugin's own code".to_owned())
        })?;
        let described = instance.plugin.call_describe(&mut instance.store);
        let manifest = described.map_err(|error| {
            let what = format!("`describe` failed: {}", explain(&instance, &error).1);
            (what, "see the plugin's own code".to_owned())
        })?;
        Ok((manifest, instance))
    }

    /// Configures an instance that has described itself.
    pub(crate) fn configure_first(&self, mut instance: Instance) -> Result<Instance, Breach> {
        instance.begin(Call::new(None, None, None, AT_LOAD));
        match instance.plugin.call_configure(&mut instance.store, &self.config) {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(errors)) => Err(refused(&told(&errors))),
            Err(error) => Err((
                format!("`configure` failed: {}", explain(&instance, &error).1),
                "see the plugin's own code".into(),
            )),
        }
    }

    fn instantiate(&self, limit: Duration) -> wasmtime::Result<Instance> {
        let Self { runtime, component, exports, around, memory, .. } = self;
        let call = Call::new(None, None, None, limit);
        Instance::new(runtime, component, exports, around, *memory, call)
    }
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
        match hook {
            Hook::Authenticate => self.recipe.exports.authenticate.is_some(),
            Hook::Resolve => self.recipe.exports.resolve.is_some(),
        }
    }

    /// An instance for one call of `tenant` (`None`: not known yet), and whose it
    /// is to be afterwards.
    pub(crate) fn lease(&self, tenant: Option<&TenantId>) -> Result<Instance, NoInstance> {
        let idle = self.owner(tenant).and_then(|owner| self.pool.take(&owner));
        idle.map_or_else(|| self.fresh(), Ok)
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

    fn fresh(&self) -> Result<Instance, NoInstance> {
        let limit = (self.spec.deadline * SET_UP).min(MAX_DEADLINE);
        let full = |error: &wasmtime::Error| error.is::<PoolConcurrencyLimitError>();
        let mut instance = self
            .recipe
            .instantiate(limit)
            .or_else(|error| {
                if !full(&error) {
                    return Err(error);
                }
                self.pool.clear();
                self.recipe.instantiate(limit)
            })
            .map_err(|error| {
                let saturated = full(&error);
                let reason =
                    if saturated { FailureReason::Saturated } else { FailureReason::NotReady };
                (reason, format!("can't make an instance: {error:#}"))
            })?;
        let configured = instance.plugin.call_configure(&mut instance.store, &self.recipe.config);
        match configured {
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
            last_problem: None,
        }
    }
}

/// What an interrupted call died of. The detail is for the log.
pub(crate) fn explain(instance: &Instance, error: &wasmtime::Error) -> (FailureReason, String) {
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
