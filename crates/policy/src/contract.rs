//! Whether a component keeps the contract, read from its imports and exports
//! before anything of it runs.

use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::Hook;
use crate::fixtures::Fixture;
use crate::instance::{Exports, Manner};
use crate::interfaces::SERVED;

/// The versions of `tidegate:policy` and `tidegate:host` that are served, the
/// current one first. The one before is served until the next takes its place.
pub(crate) const VERSIONS: [&str; 2] = ["0.2.0", "0.1.0"];
const VERSION: &str = VERSIONS[0];

/// Who imports this is asked asynchronously.
const CALLS_OUT: &str = "tidegate:host/http@0.2.0";

/// One sentence of what is wrong and one of what to do.
pub(crate) type Breach = (String, String);

/// What a component turned out to be.
#[derive(Clone)]
pub(crate) struct Kept {
    /// Where its exports stand.
    pub(crate) exports: Exports,
    /// Whether it calls out.
    pub(crate) manner: Manner,
    /// The version of the contract that it was made for.
    pub(crate) version: &'static str,
    /// The hooks that it serves, by their plain names.
    pub(crate) hooks: Vec<&'static str>,
    /// What it imports of the host, by its plain names: `http`.
    pub(crate) imports: Vec<String>,
    /// What its author expects of it; known once its bytes were looked at.
    pub(crate) fixtures: Arc<[Fixture]>,
}

impl Kept {
    /// What this one does that `before` doesn't: hooks, then imports.
    pub(crate) fn beyond(&self, before: &Self) -> Vec<String> {
        let hooks = self.hooks.iter().filter(|hook| !before.hooks.contains(hook));
        let imports = self.imports.iter().filter(|name| !before.imports.contains(name));
        hooks.map(|hook| (*hook).to_owned()).chain(imports.cloned()).collect()
    }

    /// The hooks that `before` served and this one doesn't. A limit that nobody asks
    /// about any more is as grave as one hook too many.
    pub(crate) fn without(&self, before: &Self) -> Vec<String> {
        let hooks = before.hooks.iter().filter(|hook| !self.hooks.contains(hook));
        hooks.map(|hook| (*hook).to_owned()).collect()
    }
}

/// Checks what the component asks for and what it offers.
pub(crate) fn check(engine: &Engine, component: &Component) -> Result<Kept, Breach> {
    let kind = component.component_type();
    let mut manner = Manner::Pure;
    let mut imports = Vec::new();
    for (name, _) in kind.imports(engine) {
        if name == CALLS_OUT {
            manner = Manner::Connected;
        }
        if SERVED.contains(&name) {
            imports.extend(plain(name, "tidegate:host/"));
            continue;
        }
        check_version(name)?;
        let what = format!("it imports `{name}`, which no plugin gets");
        return Err((what, remedy_for_import(name)));
    }
    let (mut hooks, mut version) = (Vec::new(), VERSION);
    for (name, _) in kind.exports(engine) {
        let Some(interface) = name.strip_prefix("tidegate:policy/") else { continue };
        check_version(name)?;
        let (interface, made_for) = interface.split_once('@').unwrap_or((interface, VERSION));
        let hook = Hook::ALL.iter().find(|hook| hook.as_str() == interface);
        match hook {
            Some(hook) => hooks.push(*hook),
            None if interface == "plugin" => {
                version = VERSIONS.into_iter().find(|it| *it == made_for).unwrap_or(VERSION);
            }
            // Ignoring it would be worse: a limit that nobody asks about.
            None => {
                return Err((
                    format!("it serves `{interface}`, which this version doesn't ask"),
                    format!("leave it out; these are asked: {}", known_hooks()),
                ));
            }
        }
    }
    let exports = Exports::of(component).ok_or_else(|| {
        (
            format!("it doesn't export `tidegate:policy/plugin@{VERSION}`"),
            "export `describe` and `configure`, as every plugin must".to_owned(),
        )
    })?;
    if hooks.is_empty() {
        return Err((
            "it serves no hook, so it would never be asked".into(),
            format!("export one of {}", known_hooks()),
        ));
    }
    if let Some(hook) = hooks.iter().find(|hook| exports.hook(**hook).is_none()) {
        return Err((
            format!("its `{}` has another form than the contract's", hook.as_str()),
            format!("build it against tidegate:policy@{VERSION} as published"),
        ));
    }
    hooks.sort_unstable_by_key(|hook| *hook as usize);
    let hooks = hooks.into_iter().map(Hook::as_str).collect();
    imports.sort_unstable();
    imports.dedup();
    Ok(Kept { exports, manner, version, hooks, imports, fixtures: Arc::default() })
}

/// `log` of `tidegate:host/log@0.2.0`.
fn plain(name: &str, package: &str) -> Option<String> {
    let interface = name.strip_prefix(package)?;
    Some(interface.split('@').next().unwrap_or_default().to_owned())
}

fn check_version(name: &str) -> Result<(), Breach> {
    let ours = name.starts_with("tidegate:policy/") || name.starts_with("tidegate:host/");
    match name.split_once('@') {
        Some((_, version)) if VERSIONS.contains(&version) => Ok(()),
        Some((interface, other)) if ours => Err((
            format!("it is made for `{interface}` in version {other}, which isn't served"),
            format!("build it for version {}", VERSIONS.join(" or ")),
        )),
        _ => Ok(()),
    }
}

fn remedy_for_import(name: &str) -> String {
    if name.starts_with("wasi:") {
        "build it without WASI: for wasm32-unknown-unknown, or with WASI stubbed out".into()
    } else if name == "tidegate:host/http@0.1.0" {
        format!("build it for version {VERSION}: 0.1.0 never offered HTTP calls")
    } else {
        format!("use only what the world `tidegate:policy/everything@{VERSION}` imports")
    }
}

fn known_hooks() -> String {
    Hook::ALL.iter().map(|hook| format!("`{}`", hook.as_str())).collect::<Vec<_>>().join(", ")
}
