//! What is in a component, without asking it anything: only `describe` runs.

use std::sync::Arc;

use tidegate_types::PluginName;

use crate::cache::Cache;
use crate::engine::Runtime;
use crate::load::Loader;
use crate::surroundings::{Lasting, Surroundings};
use crate::{HostConfig, PluginProblem, PluginSource, PluginSpec, Secrets};

/// What is in a component.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Its digest, in hexadecimal.
    pub sha256: String,
    /// What its manifest calls it.
    pub title: String,
    /// Its own version.
    pub version: String,
    /// Its own description.
    pub description: String,
    /// The JSON Schema of its configuration.
    pub config_schema: String,
    /// The version of the contract that it was made for.
    pub contract: &'static str,
    /// The hooks that it serves, by their plain names.
    pub hooks: Vec<&'static str>,
    /// What it imports of the host, by its plain names.
    pub imports: Vec<String>,
    /// Linear memories, and bytes that the largest begins with; `None` where the
    /// component doesn't tell.
    pub memories: Option<(u32, u64)>,
    /// How many expectations of its author's it brings along.
    pub fixtures: usize,
    /// Tables, and elements that the largest begins with.
    pub tables: Option<(u32, u64)>,
}

/// Bytes of a page of linear memory.
const PAGE: u64 = 64 << 10;

/// Looks into the component of `source`. Compiles it, so it blocks for seconds where
/// that is large. No hook is asked and nothing is configured; `describe` runs, with
/// nothing within its reach.
///
/// # Errors
/// Why it is no plugin, and what to do.
pub fn inspect(source: PluginSource) -> Result<Inspection, PluginProblem> {
    let runtime = Runtime::start(1).map_err(|error| {
        let what = format!("the WASM engine can't start: {error:#}");
        PluginProblem::of_host(what, "check the limits on address space and threads")
    })?;
    let runtime = Arc::new(runtime);
    let name = PluginName::new("inspected")
        .map_err(|error| PluginProblem::of_host(error.to_string(), "report this"))?;
    let around = Arc::new(Surroundings {
        name: name.clone(),
        secrets: Arc::<Secrets>::default(),
        key_sets: Arc::default(),
        templates: Arc::default(),
        calls: None,
        journal: None,
        lasting: Arc::<Lasting>::default(),
    });
    let loader = Loader {
        runtime: &runtime,
        cache: Cache::open(None),
        max_component: HostConfig::DEFAULT_MAX_COMPONENT,
        last: None,
    };
    let spec = PluginSpec { memory: PluginSpec::MAX_MEMORY, ..PluginSpec::new(name, source) };
    loader.inspect(around, &spec).map_err(|(what, remedy)| PluginProblem::of_host(what, remedy))
}

pub(crate) fn pages(count: u32, largest: Option<u64>) -> (u32, u64) {
    (count, largest.unwrap_or(0).saturating_mul(PAGE))
}
