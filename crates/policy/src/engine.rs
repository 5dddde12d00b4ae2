//! The WASM engine: one for all plugins, with every bound that keeps a plugin
//! within its own corner.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::PluginSpec;
use crate::clock::{Clock, REST_AFTER, Ticker};
use crate::interfaces;
use crate::pool::Pool;
use crate::state::State;
use crate::witness::Witness;

/// Core instances of a component: its module, an adapter's, a few shims.
const CORE_INSTANCES: u32 = 16;

/// The engine, what it links plugins to, and its clock.
pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    ticker: Ticker,
    /// Where instances of all plugins rest, those of ending generations included.
    pools: Mutex<Vec<Weak<Pool>>>,
    /// Told of what plugins refuse; set once, when there is somebody to tell.
    pub(crate) witness: OnceLock<Arc<dyn Witness>>,
}

impl Runtime {
    /// With room for so many instances of all plugins and generations together, idle
    /// ones included.
    pub(crate) fn start(instances: u32) -> wasmtime::Result<Self> {
        let engine = Engine::new(&config(instances))?;
        let mut linker = Linker::new(&engine);
        interfaces::link(&mut linker)?;
        let ticker = Ticker::start(engine.clone(), REST_AFTER)?;
        Ok(Self { engine, linker, ticker, pools: Mutex::default(), witness: OnceLock::new() })
    }

    /// A pool whose instances make way when the engine is full.
    pub(crate) fn pool(&self) -> Arc<Pool> {
        let pool = Arc::new(Pool::new());
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        pool
    }

    /// Frees every idle instance of every plugin: one of them has no room.
    pub(crate) fn reclaim(&self) {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for pool in pools.iter().filter_map(Weak::upgrade) {
            pool.clear();
        }
    }

    /// What an instance tells that it runs.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        self.ticker.clock()
    }
}

fn config(instances: u32) -> Config {
    let mut places = PoolingAllocationConfig::default();
    places
        .total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(4))
        // Each reserves four gibibytes of addresses, and of nothing else.
        .total_memories(instances)
        .total_tables(instances.saturating_mul(4))
        .total_stacks(instances)
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
        // What no plugin needs is surface that none can attack, and what depends on
        // the processor makes one component answer differently on two machines.
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        // A plugin runs on the caller's stack: half a mebibyte leaves a worker
        // thread's two mebibytes to the caller.
        .max_wasm_stack(512 << 10);
    config
}
