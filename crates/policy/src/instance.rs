//! One instance of a plugin: a store of its own, and the hooks it exports.

use std::sync::Arc;

use wasmtime::component::InstancePre;
use wasmtime::{Store, StoreContextMut};

use crate::bindings::exports::tidegate::policy as exports;
use crate::engine::Runtime;
use crate::state::{Call, State};
use crate::surroundings::Surroundings;

/// Bytes that a guest may make the host copy in one call, in either direction.
/// Strings in a guest's answer may overlap, so its own memory doesn't bound them.
const MAX_COPIED: usize = 4 << 20;

/// What a component exports, found once at load.
pub(crate) struct Exports {
    pub(crate) plugin: exports::plugin::GuestIndices,
    pub(crate) authenticate: Option<exports::authenticate::GuestIndices>,
    pub(crate) resolve: Option<exports::resolve::GuestIndices>,
}

/// One instance. Dropping it frees everything it had.
pub(crate) struct Instance {
    pub(crate) store: Store<State>,
    pub(crate) plugin: exports::plugin::Guest,
    pub(crate) authenticate: Option<exports::authenticate::Guest>,
    pub(crate) resolve: Option<exports::resolve::Guest>,
}

impl Instance {
    /// A fresh one, not configured yet. `call` bounds its start functions.
    pub(crate) fn new(
        runtime: &Runtime,
        component: &InstancePre<State>,
        exports: &Exports,
        around: &Arc<Surroundings>,
        memory: u64,
        call: Call,
    ) -> wasmtime::Result<Self> {
        let mut store =
            Store::new(&runtime.engine, State::new(Arc::clone(around), runtime.clock(), memory));
        store.limiter(|state| &mut state.bounds);
        store.epoch_deadline_callback(|mut at: StoreContextMut<'_, State>| {
            let state = at.data_mut();
            state.clock.wanted();
            Ok(state.call.deadline.interrupted())
        });
        begin(&mut store, call);
        let instance = component.instantiate(&mut store)?;
        let plugin = exports.plugin.load(&mut store, &instance)?;
        let authenticate = match &exports.authenticate {
            Some(indices) => Some(indices.load(&mut store, &instance)?),
            None => None,
        };
        let resolve = match &exports.resolve {
            Some(indices) => Some(indices.load(&mut store, &instance)?),
            None => None,
        };
        Ok(Self { store, plugin, authenticate, resolve })
    }

    /// Makes `call` the one that this instance works on from here.
    pub(crate) fn begin(&mut self, call: Call) {
        begin(&mut self.store, call);
    }

    /// Forgets the call, and with it the request's data.
    pub(crate) fn end(&mut self) {
        let call = &mut self.store.data_mut().call;
        call.facts = None;
        call.identity = None;
        call.id = None;
    }
}

fn begin(store: &mut Store<State>, call: Call) {
    let ticks = call.deadline.first_ticks();
    let state = store.data_mut();
    state.call = call;
    state.clock.wanted();
    store.set_epoch_deadline(ticks);
    store.set_hostcall_fuel(MAX_COPIED);
}
