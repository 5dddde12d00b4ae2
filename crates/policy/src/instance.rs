//! One instance of a plugin: a store of its own, and the hooks it exports.
//!
//! Hooks are called through typed functions rather than the generated wrappers:
//! what fits today's forms is called, whichever version of the contract names it,
//! and one instance can be called with or without a stack of its own.

use std::sync::Arc;

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Lower, Resource,
    TypedFunc,
};
use wasmtime::{Store, StoreContextMut};

use crate::Hook;
use crate::bindings::exports::tidegate::policy::{
    activity, authenticate, egress, messages, mounts, objects, observe, plugin, quota, resolve,
};
use crate::bindings::tidegate::policy::types::{Failure, Verdict};
use crate::contract::{Kept, VERSIONS};
use crate::engine::Runtime;
use crate::interfaces::{IdentityHandle, RequestHandle, SandboxHandle};
use crate::population::Place;
use crate::state::{Call, State};
use crate::surroundings::Surroundings;

/// Bytes that a guest may make the host copy in one call, in either direction.
/// Strings in a guest's answer may overlap, so its own memory doesn't bound them.
pub(crate) const MAX_COPIED: usize = 4 << 20;

/// A hook, as a function: whatever it is asked, it answers or fails.
pub(crate) type HookFunc<P, R> = TypedFunc<P, (Result<R, Failure>,)>;

type Configured = Result<(), Vec<plugin::ConfigError>>;

/// Declares the hooks once: where an export stands in a component, and the function
/// that an instance has there.
macro_rules! hooks {
    ($($field:ident: $hook:ident, $name:literal, $params:ty => $raw:ty;)+) => {
        /// The hooks of one instance.
        pub(crate) struct Hooks {
            $(pub(crate) $field: Option<HookFunc<$params, $raw>>,)+
        }

        impl Hooks {
            fn load(
                exports: &Exports,
                store: &mut Store<State>,
                instance: &wasmtime::component::Instance,
            ) -> wasmtime::Result<Self> {
                Ok(Self {
                    $($field: match exports.hook(Hook::$hook) {
                        Some(index) => Some(instance.get_typed_func(&mut *store, index)?),
                        None => None,
                    },)+
                })
            }
        }

        /// What the function of a hook is called in its interface.
        const fn function(hook: Hook) -> &'static str {
            match hook { $(Hook::$hook => $name,)+ }
        }
    };
}

hooks! {
    authenticate: Authenticate, "authenticate",
        (Resource<RequestHandle>,) => authenticate::Outcome;
    quota: Quota, "limits",
        (Resource<IdentityHandle>,) => Vec<quota::Limit>;
    resolve: Resolve, "resolve",
        (Resource<RequestHandle>, Resource<IdentityHandle>) => resolve::Outcome;
    activity: Activity, "classify",
        (Resource<RequestHandle>, Resource<SandboxHandle>) => activity::Meaning;
    messages: Messages, "on-message",
        (Resource<IdentityHandle>, Resource<SandboxHandle>, messages::Direction, messages::Payload)
            => messages::Outcome;
    mounts: Mounts, "mounts",
        (Resource<SandboxHandle>,) => Vec<mounts::Mount>;
    objects: Objects, "authorize-object",
        (Resource<SandboxHandle>, objects::Operation) => Verdict;
    egress: Egress, "authorize-egress",
        (Resource<SandboxHandle>, egress::Destination) => egress::Outcome;
    observe: Observe, "on-events",
        (Vec<observe::Event>,) => ();
}

/// Where a component's exports stand, found once at load.
#[derive(Clone)]
pub(crate) struct Exports {
    describe: ComponentExportIndex,
    configure: ComponentExportIndex,
    hooks: [Option<ComponentExportIndex>; Hook::ALL.len()],
}

impl Exports {
    /// `None` when `plugin` isn't exported at all.
    pub(crate) fn of(component: &Component) -> Option<Self> {
        let find = |interface: &str, function: &str| {
            VERSIONS.iter().find_map(|version| {
                let name = format!("tidegate:policy/{interface}@{version}");
                let interface = component.get_export_index(None, &name)?;
                component.get_export_index(Some(&interface), function)
            })
        };
        let mut hooks = [None; Hook::ALL.len()];
        for (place, hook) in hooks.iter_mut().zip(Hook::ALL) {
            *place = find(hook.as_str(), function(*hook));
        }
        let (describe, configure) = (find("plugin", "describe")?, find("plugin", "configure")?);
        Some(Self { describe, configure, hooks })
    }

    pub(crate) fn hook(&self, hook: Hook) -> Option<&ComponentExportIndex> {
        // Always there: `Hook`'s discriminants count its variants.
        self.hooks.get(hook as usize)?.as_ref()
    }
}

/// How the calls of a plugin run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Manner {
    /// On the caller's stack, start to end: it asks nobody but the host itself.
    Pure,
    /// On a stack of its own, so that it can wait for an answer from elsewhere.
    Connected,
}

/// One instance. Dropping it frees everything it had.
pub(crate) struct Instance {
    pub(crate) store: Store<State>,
    pub(crate) hooks: Hooks,
    manner: Manner,
    /// Calls of hooks so far.
    asked: u64,
    describe: TypedFunc<(), (plugin::Manifest,)>,
    configure: TypedFunc<(String,), (Configured,)>,
}

/// What instances are made of. Belongs to a component, whichever plugin it is.
#[derive(Clone)]
pub(crate) struct Mould {
    pub(crate) component: InstancePre<State>,
    pub(crate) kept: Kept,
}

impl Instance {
    /// A fresh one in `place`, not configured yet. `call` bounds its start functions.
    ///
    /// # Cancel safety
    /// Dropping the future frees what was made.
    pub(crate) async fn new(
        runtime: &Runtime,
        mould: &Mould,
        around: &Arc<Surroundings>,
        place: Place,
        call: Call,
    ) -> wasmtime::Result<Box<Self>> {
        let state = State::new(Arc::clone(around), runtime.clock(), place);
        let mut store = Store::new(&runtime.engine, state);
        store.limiter(|state| &mut state.place);
        store.epoch_deadline_callback(|mut at: StoreContextMut<'_, State>| {
            let state = at.data_mut();
            state.clock.wanted();
            Ok(state.call.deadline.interrupted())
        });
        begin(&mut store, call);
        let instance = match mould.kept.manner {
            Manner::Pure => mould.component.instantiate(&mut store)?,
            Manner::Connected => mould.component.instantiate_async(&mut store).await?,
        };
        let describe = instance.get_typed_func(&mut store, mould.kept.exports.describe)?;
        let configure = instance.get_typed_func(&mut store, mould.kept.exports.configure)?;
        let hooks = Hooks::load(&mould.kept.exports, &mut store, &instance)?;
        let manner = mould.kept.manner;
        Ok(Box::new(Self { store, hooks, manner, asked: 0, describe, configure }))
    }

    /// Makes `call` the one that this instance works on from here.
    pub(crate) fn begin(&mut self, call: Call) {
        begin(&mut self.store, call);
    }

    /// Makes `call`, of a hook, the one that this instance works on from here.
    /// Whether it is its first.
    pub(crate) fn begin_hook(&mut self, mut call: Call) -> bool {
        call.of_a_hook = true;
        self.begin(call);
        self.asked += 1;
        self.asked == 1
    }

    /// Forgets the call, and with it the request's data.
    pub(crate) fn end(&mut self) {
        self.store.data_mut().call.forget();
    }

    pub(crate) async fn describe(&mut self) -> wasmtime::Result<plugin::Manifest> {
        let (manifest,) = self.call(self.describe, ()).await?;
        Ok(manifest)
    }

    pub(crate) async fn configure(&mut self, json: String) -> wasmtime::Result<Configured> {
        let (configured,) = self.call(self.configure, (json,)).await?;
        Ok(configured)
    }

    /// Calls `func`, one of this instance's.
    ///
    /// # Cancel safety
    /// A call that is dropped never ends: the instance must be dropped too.
    pub(crate) async fn call<P, R>(
        &mut self,
        func: TypedFunc<P, R>,
        params: P,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        match self.manner {
            Manner::Pure => func.call(&mut self.store, params),
            Manner::Connected => func.call_async(&mut self.store, params).await,
        }
    }
}

fn begin(store: &mut Store<State>, call: Call) {
    let ticks = call.deadline.first_ticks();
    let state = store.data_mut();
    state.begin(call);
    state.clock.wanted();
    store.set_epoch_deadline(ticks);
    store.set_hostcall_fuel(MAX_COPIED);
}
