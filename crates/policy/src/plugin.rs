//! A loaded plugin: where its instances come from and where they rest.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tidegate_types::TenantId;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::bindings::exports::tidegate::policy::plugin::{ConfigError, Manifest};
use crate::breaker::Breaker;
use crate::configuration::{at, refused};
use crate::contract::Breach;
use crate::deadline::{Deadline, MAX_DEADLINE, Measure};
use crate::engine::Runtime;
use crate::instance::{Instance, MAX_COPIED, Manner, Mould};
use crate::pool::{Owner, Pool};
use crate::population::{Place, Population};
use crate::state::{About, Call};
use crate::surroundings::Surroundings;
use crate::witness::{How, Refused};
use crate::{
    FailureReason, Hook, HookStatus, InstanceStatus, Isolation, PluginSpec, PluginStatus,
    TenantTime,
};

/// How long each of instantiation with `describe`, and the first `configure`, may
/// compute.
const AT_LOAD: Duration = Duration::from_secs(2);
/// How many deadlines a fresh instance may take to be ready within a request.
const SET_UP: u32 = 10;

/// What an instance is made from, and where it rests.
pub(crate) struct Recipe {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) mould: Mould,
    pub(crate) around: Arc<Surroundings>,
    pub(crate) config: String,
    /// Bytes of linear memory, per instance.
    pub(crate) memory: u64,
    pub(crate) population: Arc<Population>,
    pub(crate) pool: Arc<Pool>,
}

/// One plugin of a generation.
pub(crate) struct Plugin {
    recipe: Recipe,
    spec: PluginSpec,
    sha256: String,
    manifest: Manifest,
    breaker: Breaker,
    audience: Audience,
}

/// Who is told of what a plugin refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    Witness,
    /// It is a rehearsal.
    Nobody,
}

/// Why there is no instance for a call.
pub(crate) type NoInstance = (FailureReason, String);

impl Recipe {
    /// The first instance, and what it says about itself.
    pub(crate) fn first_instance(&self) -> Result<(Manifest, Box<Instance>), Breach> {
        let made = self.make(&|| self.load()).now_or_never();
        let mut instance = made.unwrap_or_else(|| Err(waited())).map_err(|(reason, why)| {
            let remedy = match reason {
                FailureReason::Saturated => "give plugins fewer `instances`",
                _ => "see the plugin's own code",
            };
            (format!("it can't be started: {why}"), remedy.to_owned())
        })?;
        let described = at_once(instance.describe());
        let manifest = described.map_err(|error| {
            let what = format!("`describe` failed: {}", died(&instance, &error));
            (what, "see the plugin's own code".to_owned())
        })?;
        Ok((manifest, instance))
    }

    /// Configures an instance that has described itself.
    pub(crate) fn configure_first(
        &self,
        mut instance: Box<Instance>,
    ) -> Result<Box<Instance>, Breach> {
        instance.begin(self.load());
        let configured = at_once(instance.configure(self.config.clone()));
        match configured {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(errors)) => Err(refused(&told(&errors))),
            Err(error) => Err((
                format!("`configure` failed: {}", died(&instance, &error)),
                "see the plugin's own code".into(),
            )),
        }
    }

    /// A call while the plugin is loaded: about nothing.
    fn load(&self) -> Call {
        Call::new(About::default(), Deadline::of(AT_LOAD, self.measure()))
    }

    pub(crate) fn measure(&self) -> Measure {
        match self.mould.kept.manner {
            Manner::Pure => Measure::Processor,
            Manner::Connected => Measure::Wall,
        }
    }

    /// An instance, not configured yet. Where there is no room for it, idle ones
    /// make way: this plugin's for its own bound, everybody's for the engine's.
    async fn make(&self, call: &(dyn Fn() -> Call + Sync)) -> Result<Box<Instance>, NoInstance> {
        let made = match self.try_make(call()).await {
            Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                self.runtime.reclaim();
                self.try_make(call()).await
            }
            made => made,
        };
        made.map_err(|error| {
            let full = error.is::<PoolConcurrencyLimitError>() || error.is::<NoPlace>();
            let reason = if full { FailureReason::Saturated } else { FailureReason::NotReady };
            (reason, format!("can't make an instance: {}", Terse(&error)))
        })
    }

    async fn try_make(&self, call: Call) -> wasmtime::Result<Box<Instance>> {
        let place = self.place().ok_or_else(|| NoPlace(self.population.most()))?;
        Instance::new(&self.runtime, &self.mould, &self.around, place, call).await
    }

    fn place(&self) -> Option<Place> {
        loop {
            if let Some(place) = self.population.enter(self.memory) {
                return Some(place);
            }
            if !self.pool.evict() {
                return None;
            }
        }
    }
}

/// All instances that a plugin may have are at work.
#[derive(Debug, thiserror::Error)]
#[error("all of its {0} instances are at work")]
struct NoPlace(usize);

/// The result of what has nothing to wait for: outside of a hook, calls to the
/// world outside are refused without being made.
fn at_once<T>(work: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    work.now_or_never().unwrap_or_else(|| Err(wasmtime::Error::msg(waited().1)))
}

fn waited() -> NoInstance {
    (FailureReason::NotReady, "it waited for something".into())
}

impl Plugin {
    pub(crate) fn new(
        recipe: Recipe,
        spec: PluginSpec,
        sha256: String,
        manifest: Manifest,
        first: Box<Instance>,
    ) -> Self {
        if spec.isolation == Isolation::Shared {
            recipe.pool.give_back(None, first, None, Duration::ZERO);
        }
        Self {
            recipe,
            spec,
            sha256,
            manifest,
            breaker: Breaker::default(),
            audience: Audience::Witness,
        }
    }

    /// The same, for a rehearsal: nobody is told of what it refuses.
    pub(crate) fn unwitnessed(self) -> Self {
        Self { audience: Audience::Nobody, ..self }
    }

    pub(crate) fn spec(&self) -> &PluginSpec {
        &self.spec
    }

    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    pub(crate) fn mould(&self) -> &Mould {
        &self.recipe.mould
    }

    pub(crate) fn around(&self) -> &Surroundings {
        &self.recipe.around
    }

    pub(crate) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    pub(crate) fn serves(&self, hook: Hook) -> bool {
        self.recipe.mould.kept.exports.hook(hook).is_some()
    }

    /// Tells whoever wants to know what came of asking.
    pub(crate) fn witness(&self, hook: Hook, how: How<'_>, about: &About) {
        if hook != Hook::Observe
            && self.audience == Audience::Witness
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
    pub(crate) async fn lease(
        &self,
        tenant: Option<&TenantId>,
    ) -> Result<Box<Instance>, NoInstance> {
        match self.owner(tenant).and_then(|owner| self.recipe.pool.take(&owner)) {
            Some(idle) => Ok(idle),
            None => self.fresh().await,
        }
    }

    /// Takes back an instance whose call went well and took `time`.
    pub(crate) fn give_back(
        &self,
        tenant: Option<&TenantId>,
        mut instance: Box<Instance>,
        time: Duration,
    ) {
        instance.end();
        match self.owner(tenant) {
            Some(owner) if !instance.store.data().place.worn() => {
                self.recipe.pool.give_back(owner, instance, tenant, time);
            }
            _ => self.charge(tenant, time),
        }
    }

    /// Notes the `time` of a call whose instance isn't kept.
    pub(crate) fn charge(&self, tenant: Option<&TenantId>, time: Duration) {
        self.recipe.pool.charge(tenant, time);
    }

    /// Whose the instance for a call is; `None` when nobody's after the call.
    fn owner(&self, tenant: Option<&TenantId>) -> Option<Owner> {
        match self.spec.isolation {
            Isolation::Call => None,
            Isolation::Tenant => tenant.map(|tenant| Some(tenant.clone())),
            Isolation::Shared => Some(None),
        }
    }

    /// An instance that nobody asked anything yet.
    pub(crate) async fn fresh(&self) -> Result<Box<Instance>, NoInstance> {
        let limit = (self.spec.deadline * SET_UP).min(MAX_DEADLINE);
        let measure = self.recipe.measure();
        let call = move || Call::new(About::default(), Deadline::of(limit, measure));
        let mut instance = self.recipe.make(&call).await?;
        match instance.configure(self.recipe.config.clone()).await {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(errors)) => {
                let detail = format!("`configure` now refuses: {}", told(&errors).join("; "));
                Err((FailureReason::NotReady, detail))
            }
            Err(error) => {
                let why = died(&instance, &error);
                Err((FailureReason::NotReady, format!("`configure` failed: {why}")))
            }
        }
    }

    /// As of now. `order` tells a hook's place among the plugins that serve it.
    pub(crate) fn status(&self, generation: u64, order: impl Fn(Hook) -> usize) -> PluginStatus {
        let hooks = Hook::ALL.iter().copied().filter(|hook| self.serves(*hook)).map(|hook| {
            let meter = self.around().lasting.meter(hook);
            HookStatus {
                hook,
                order: order(hook),
                calls: meter.calls(),
                failures: meter.failures(),
                poisonous: self.breaker.poisonous(hook),
                durations: meter.durations(),
            }
        });
        let Recipe { mould, population, pool, .. } = &self.recipe;
        let (alive, idle) = (population.alive(), pool.idle());
        let (mut tenants, mut others) = pool.spent();
        let rest = tenants.split_off(tenants.len().min(PluginStatus::TENANTS));
        others += rest.iter().map(|(_, nanos)| nanos).sum::<u64>();
        let time = |(tenant, nanos)| TenantTime { tenant, time: Duration::from_nanos(nanos) };
        PluginStatus {
            name: self.spec.name.clone(),
            title: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            description: self.manifest.description.clone(),
            source: self.spec.source.to_string(),
            sha256: self.sha256.clone(),
            contract: mould.kept.version,
            imports: mould.kept.imports.clone(),
            generation,
            isolation: self.spec.isolation,
            deadline: self.spec.deadline,
            memory: self.spec.memory,
            instances: InstanceStatus {
                // The two are read one after the other.
                leased: alive.saturating_sub(idle),
                idle,
                most: population.most(),
                memory: population.memory(),
            },
            hooks: hooks.collect(),
            tenants: tenants.into_iter().map(time).collect(),
            others: Duration::from_nanos(others),
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
        Some(_) if instance.store.data().place.was_refused() => FailureReason::OutOfMemory,
        _ => FailureReason::Trap,
    };
    (reason, format!("{:#}", Terse(error)))
}

/// Whether a call ended because it made the host copy more than it may. The engine
/// has no type for that; a test fails should its words change.
fn copied_too_much(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.to_string().contains("fuel allocated for hostcalls"))
}

/// What an instance died of while it was made ready, in one line.
fn died(instance: &Instance, error: &wasmtime::Error) -> String {
    let (reason, detail) = explain(instance, error);
    format!("{}: {detail}", reason.as_str())
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
