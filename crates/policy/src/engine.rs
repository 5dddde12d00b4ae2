//! The WASM engine: one for all plugins, with every bound that keeps a plugin
//! within its own corner.

use std::sync::{Arc, OnceLock};

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::PluginSpec;
use crate::clock::{Clock, REST_AFTER, Ticker};
use crate::interfaces;
use crate::state::State;
use crate::witness::Witness;

/// Instances of all plugins and generations together, idle ones included.
pub(crate) const MAX_INSTANCES: u32 = 1_000;
/// Core instances of a component: its module, an adapter's, a few shims.
const CORE_INSTANCES: u32 = 16;

/// The engine, what it links plugins to, and its clock.
pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    ticker: Ticker,
    /// Told of what plugins refuse; set once, when there is somebody to tell.
    pub(crate) witness: OnceLock<Arc<dyn Witness>>,
}

impl Runtime {
    pub(crate) fn start() -> wasmtime::Result<Self> {
        let engine = Engine::new(&config())?;
        let mut linker = Linker::new(&engine);
        interfaces::link(&mut linker)?;
        let ticker = Ticker::start(engine.clone(), REST_AFTER)?;
        Ok(Self { engine, linker, ticker, witness: OnceLock::new() })
    }

    /// What an instance tells that it runs.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        self.ticker.clock()
    }
}

fn config() -> Config {
    let mut places = PoolingAllocationConfig::default();
    places
        .total_component_instances(MAX_INSTANCES)
        .total_core_instances(MAX_INSTANCES * 4)
        // Each reserves four gibibytes of addresses, and of nothing else.
        .total_memories(MAX_INSTANCES)
        .total_tables(MAX_INSTANCES * 4)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(4)
        .max_tables_per_component(CORE_INSTANCES)
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        .table_elements(65_536)
        .max_memory_size(usize::try_from(PluginSpec::MAX_MEMORY).unwrap_or(usize::MAX))
        // Zeroing a few pages is cheaper than handing them back to the kernel.
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(16 << 10);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(places))
        .epoch_interruption(true)
        .wasm_component_model(true)
        // What no plugin needs is surface that none can attack.
        .wasm_memory64(false)
        // A plugin runs on the caller's stack: half a mebibyte leaves a worker
        // thread's two mebibytes to the caller.
        .max_wasm_stack(512 << 10);
    config
}
