//! From a plugin's specification to a plugin that can be asked. Every step that
//! can fail says what is wrong and what to do.

use std::borrow::Cow;
use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

use crate::bindings::exports::tidegate::policy::plugin::Manifest;
use crate::cache::Cache;
use crate::configuration;
use crate::contract::{self, Breach, Kept};
use crate::deadline::MAX_DEADLINE;
use crate::engine::Runtime;
use crate::fixtures;
use crate::inspect::{Inspection, pages};
use crate::instance::Mould;
use crate::plugin::{Plugin, Recipe};
use crate::population::Population;
use crate::surroundings::Surroundings;
use crate::{Candidate, Generation, PluginProblem, PluginSource, PluginSpec};

/// What plugins are loaded with.
pub(crate) struct Loader<'h> {
    pub(crate) runtime: &'h Arc<Runtime>,
    pub(crate) cache: Cache,
    /// Bytes that a component may have.
    pub(crate) max_component: u64,
    /// What serves now: what it compiled needn't be compiled again, and what a
    /// plugin may come to do is judged by what it does now.
    pub(crate) last: Option<&'h Generation>,
}

impl Loader<'_> {
    /// Loads one plugin: reads, compiles, checks the contract and the configuration,
    /// and makes the first instance.
    pub(crate) fn load(
        &self,
        around: Arc<Surroundings>,
        spec: PluginSpec,
    ) -> Result<Plugin, PluginProblem> {
        let name = spec.name.clone();
        let mut candidate = None;
        self.try_load(around, spec, &mut candidate).map_err(|(what, remedy)| PluginProblem {
            candidate,
            ..PluginProblem::new(&name, what, remedy)
        })
    }

    fn try_load(
        &self,
        around: Arc<Surroundings>,
        mut spec: PluginSpec,
        candidate: &mut Option<Candidate>,
    ) -> Result<Plugin, Breach> {
        check_bounds(&spec)?;
        let (sha256, mould) = self.component(&spec, candidate)?;
        // What it was compiled to is all that is needed from here on.
        if let PluginSource::Fetched { component, .. } = &mut spec.source {
            *component = Bytes::new();
        }
        self.check_grants(&spec, &mould)?;
        let config = serde_json::to_string(&spec.config).map_err(|error| {
            (format!("its configuration isn't JSON: {error}"), "mend it".into())
        })?;
        let recipe = Recipe {
            runtime: Arc::clone(self.runtime),
            mould,
            around,
            config,
            memory: spec.memory,
            population: Population::new(spec.instances),
            pool: self.runtime.pool(),
        };
        let (manifest, instance) = recipe.first_instance()?;
        check_manifest(&manifest)?;
        if let Some(candidate) = candidate {
            candidate.version = Some(manifest.version.clone());
        }
        configuration::check(&manifest.config_schema, &spec.config, &recipe.around)?;
        let instance = recipe.configure_first(instance)?;
        fixtures::rehearse(&recipe, &spec)?;
        Ok(Plugin::new(recipe, spec, sha256, manifest, instance))
    }

    /// What is in a component: it is read, compiled, judged, and describes itself.
    pub(crate) fn inspect(
        &self,
        around: Arc<Surroundings>,
        spec: &PluginSpec,
    ) -> Result<Inspection, Breach> {
        let (sha256, mould) = self.component(spec, &mut None)?;
        let needs = mould.component.component().resources_required();
        let kept = mould.kept.clone();
        let recipe = Recipe {
            runtime: Arc::clone(self.runtime),
            mould,
            around,
            config: String::new(),
            memory: spec.memory,
            population: Population::new(spec.instances),
            pool: self.runtime.pool(),
        };
        let (manifest, _) = recipe.first_instance()?;
        check_manifest(&manifest)?;
        Ok(Inspection {
            sha256,
            title: manifest.name,
            version: manifest.version,
            description: manifest.description,
            config_schema: manifest.config_schema,
            contract: kept.version,
            hooks: kept.hooks,
            imports: kept.imports,
            memories: needs.as_ref().map(|it| pages(it.num_memories, it.max_initial_memory_size)),
            fixtures: kept.fixtures.len(),
            tables: needs.map(|it| (it.num_tables, it.max_initial_table_size.unwrap_or(0))),
        })
    }

    /// The component, with its digest: the one that runs already, where it is that;
    /// else read, compiled and judged.
    fn component(
        &self,
        spec: &PluginSpec,
        candidate: &mut Option<Candidate>,
    ) -> Result<(String, Mould), Breach> {
        if let Some(running) =
            self.running(|plugin| plugin.spec().source.is_embedded_as(&spec.source))
        {
            return Ok(running);
        }
        let bytes = read(&spec.source, self.max_component)?;
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        *candidate = Some(Candidate { sha256: sha256.clone(), version: None });
        if let Some(running) = self.running(|plugin| plugin.sha256() == sha256) {
            return Ok(running);
        }
        check_form(&spec.source, &bytes)?;
        let engine = &self.runtime.engine;
        let component = self.cache.compile(engine, &bytes, &sha256).map_err(|error| {
            let what = format!("`{}` can't be compiled: {error:#}", spec.source);
            (what, "build it again, with a current `wit-component`".into())
        })?;
        let fixtures = fixtures::read(&bytes)?;
        drop(bytes);
        let kept = Kept { fixtures, ..contract::check(engine, &component)? };
        let component = self.runtime.linker.instantiate_pre(&component).map_err(|error| {
            let what = format!("an import has another form than the contract's: {error:#}");
            (what, "build it against the contract as published".into())
        })?;
        Ok((sha256, Mould { component, kept }))
    }

    fn running(&self, is_it: impl Fn(&Plugin) -> bool) -> Option<(String, Mould)> {
        let plugin = self.last?.plugins().iter().find(|plugin| is_it(plugin))?;
        Some((plugin.sha256().to_owned(), plugin.mould().clone()))
    }

    /// Whether the operator granted what the component asks for, and means it to do
    /// what the version that runs doesn't.
    fn check_grants(&self, spec: &PluginSpec, mould: &Mould) -> Result<(), Breach> {
        let imports = |name: &str| mould.kept.imports.iter().any(|it| it == name);
        if imports("http") && spec.http.is_none() {
            return Err((
                "it calls HTTP services, and none is granted to it".into(),
                "name the hosts in `http = { hosts = [\"…\"] }`, or none with `hosts = []`".into(),
            ));
        }
        if imports("journal") && spec.journal.is_none() {
            return Err((
                "it writes a journal, and none is granted to it".into(),
                "name a file in `journal = { file = \"…\" }`".into(),
            ));
        }
        let plugins = self.last.map(Generation::plugins).unwrap_or_default();
        let same = |plugin: &&Plugin| plugin.spec().name == spec.name;
        let before = plugins.iter().find(same).filter(|it| !it.spec().source.is_stand_in());
        let Some(before) = before.filter(|_| !spec.source.is_stand_in()) else {
            return Ok(());
        };
        let unexpected = |mut differences: Vec<String>| {
            differences.retain(|it| !spec.allow.contains(it));
            differences
        };
        let added = unexpected(mould.kept.beyond(&before.mould().kept));
        let dropped = unexpected(mould.kept.without(&before.mould().kept));
        let list = |items: &[&String], quote: char| {
            let quoted = items.iter().map(|it| format!("{quote}{it}{quote}"));
            quoted.collect::<Vec<_>>().join(", ")
        };
        let quoted = |items: &[String]| list(&items.iter().collect::<Vec<_>>(), '`');
        let what = match (&added[..], &dropped[..]) {
            ([], []) => return Ok(()),
            (added, []) => {
                format!("it does what the version that runs does not: {}", quoted(added))
            }
            ([], dropped) => {
                format!("it no longer does what the version that runs does: {}", quoted(dropped))
            }
            (added, dropped) => format!(
                "it does what the version that runs does not: {}; and no longer what that does: {}",
                quoted(added),
                quoted(dropped)
            ),
        };
        let all: Vec<_> = added.iter().chain(&dropped).collect();
        Err((what, format!("if that is meant, write `allow = [{}]` and reload", list(&all, '"'))))
    }
}

fn check_bounds(spec: &PluginSpec) -> Result<(), Breach> {
    if spec.memory == 0 || spec.memory > PluginSpec::MAX_MEMORY {
        return Err((
            format!("a memory bound of {} bytes can't be granted", spec.memory),
            format!("choose one between 1 and {}", PluginSpec::MAX_MEMORY),
        ));
    }
    if spec.instances == 0 || spec.instances > PluginSpec::MAX_INSTANCES {
        return Err((
            format!("a bound of {} instances can't be granted", spec.instances),
            format!("choose one between 1 and {}", PluginSpec::MAX_INSTANCES),
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

fn read(source: &PluginSource, most: u64) -> Result<Cow<'_, [u8]>, Breach> {
    let path = match source {
        PluginSource::Builtin { component, .. } | PluginSource::StandIn { component, .. } => {
            return Ok(Cow::Borrowed(component));
        }
        PluginSource::Fetched { component, .. } if component.len() as u64 > most => {
            return Err(too_large(source, most));
        }
        PluginSource::Fetched { component, .. } => return Ok(Cow::Borrowed(component)),
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
    if !found.is_file() {
        return Err((format!("`{shown}` isn't a file"), "name the component itself".into()));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(too_large(source, most));
    }
    Ok(bytes.into())
}

fn too_large(source: &PluginSource, most: u64) -> Breach {
    (
        format!("`{source}` has more than {most} bytes"),
        "build it smaller (optimised for size, stripped), or allow more".into(),
    )
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
