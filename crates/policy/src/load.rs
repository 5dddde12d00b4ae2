//! From a plugin's specification to a plugin that can be asked. Every step that
//! can fail says what is wrong and what to do.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

use crate::bindings::exports::tidegate::policy::plugin::Manifest;
use crate::cache::Cache;
use crate::configuration;
use crate::contract::{self, Breach};
use crate::deadline::MAX_DEADLINE;
use crate::engine::Runtime;
use crate::instance::Mould;
use crate::plugin::{Plugin, Recipe};
use crate::surroundings::Surroundings;
use crate::{PluginProblem, PluginSource, PluginSpec};

/// Larger components are somebody's mistake.
const MAX_COMPONENT: u64 = 256 << 20;

/// Loads one plugin: reads, compiles, checks the contract and the configuration,
/// and makes the first instance.
pub(crate) fn load(
    runtime: &Arc<Runtime>,
    cache: &Cache,
    around: Arc<Surroundings>,
    spec: PluginSpec,
    idle: usize,
) -> Result<Plugin, PluginProblem> {
    let name = spec.name.clone();
    try_load(runtime, cache, around, spec, idle)
        .map_err(|(what, remedy)| PluginProblem::new(&name, what, remedy))
}

fn try_load(
    runtime: &Arc<Runtime>,
    cache: &Cache,
    around: Arc<Surroundings>,
    spec: PluginSpec,
    idle: usize,
) -> Result<Plugin, Breach> {
    check_bounds(&spec)?;
    let bytes = read(&spec.source)?;
    let sha256 = hexadecimal(&Sha256::digest(&bytes));
    check_form(&spec.source, &bytes)?;
    let component = cache.compile(&runtime.engine, &bytes, &sha256).map_err(|error| {
        let what = format!("`{}` can't be compiled: {error:#}", spec.source);
        (what, "build it again, with a current `wit-component`".into())
    })?;
    drop(bytes);
    let (exports, manner) = contract::check(&runtime.engine, &component)?;
    let component = runtime.linker.instantiate_pre(&component).map_err(|error| {
        let what = format!("an import has another form than the contract's: {error:#}");
        (what, "build it against the contract as published".into())
    })?;
    let config = serde_json::to_string(&spec.config)
        .map_err(|error| (format!("its configuration isn't JSON: {error}"), "mend it".into()))?;
    let mould = Mould { component, exports, manner, memory: spec.memory };
    let recipe = Recipe { runtime: Arc::clone(runtime), mould, around, config };
    let (manifest, instance) = recipe.first_instance()?;
    check_manifest(&manifest)?;
    configuration::check(&manifest.config_schema, &spec.config, &recipe.around)?;
    let instance = recipe.configure_first(instance)?;
    Ok(Plugin::new(recipe, spec, sha256, manifest, instance, idle))
}

fn check_bounds(spec: &PluginSpec) -> Result<(), Breach> {
    if spec.memory == 0 || spec.memory > PluginSpec::MAX_MEMORY {
        return Err((
            format!("a memory bound of {} bytes can't be granted", spec.memory),
            format!("choose one between 1 and {}", PluginSpec::MAX_MEMORY),
        ));
    }
    if spec.deadline.is_zero() || spec.deadline > MAX_DEADLINE {
        return Err((
            format!("a deadline of {:?} can't be kept", spec.deadline),
            "choose one above 0 and up to 60 seconds".into(),
        ));
    }
    Ok(())
}

fn read(source: &PluginSource) -> Result<Vec<u8>, Breach> {
    let path = match source {
        PluginSource::Builtin { component, .. } => return Ok(component.to_vec()),
        PluginSource::File(path) => path,
    };
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        let what = format!("`{shown}` can't be read: {error}");
        (what, "check the path in `source` and the file's permissions".to_owned())
    };
    let found = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            (format!("there is no file `{shown}`"), "check the path in `source`".into())
        }
        _ => unreadable(error),
    })?;
    if !found.is_file() || found.len() > MAX_COMPONENT {
        return Err((
            format!("`{shown}` isn't a file of at most {} MiB", MAX_COMPONENT >> 20),
            "name the component itself".into(),
        ));
    }
    std::fs::read(path).map_err(unreadable)
}

/// Tells apart what people really put there. The versions that follow the magic
/// number: 1 is a core module, 13 with layer 1 a component.
fn check_form(source: &PluginSource, bytes: &[u8]) -> Result<(), Breach> {
    let wrong = |is: &str, remedy: &str| {
        Err((format!("`{source}` is {is}, not a WASM component"), remedy.to_owned()))
    };
    if Engine::detect_precompiled(bytes).is_some() {
        return wrong("a compiled artefact", "name the component that it was compiled from");
    }
    match bytes {
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            wrong("a core WASM module", "turn it into one with `wasm-tools component new`")
        }
        _ => wrong("something else", "name a file that a component was built into"),
    }
}

fn check_manifest(manifest: &Manifest) -> Result<(), Breach> {
    let texts = [&manifest.name, &manifest.version, &manifest.description];
    if manifest.name.is_empty()
        || texts.iter().any(|t| t.len() > 1_024 || t.contains(char::is_control))
    {
        return Err((
            "its manifest has no name, or control characters or more than 1024 bytes in a text"
                .into(),
            "let `describe` return plain short texts".into(),
        ));
    }
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
