//! Whether a component keeps the contract, read from its imports and exports
//! before anything of it runs.

use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre};

use crate::Hook;
use crate::bindings::exports::tidegate::policy as exports;
use crate::instance::Exports;
use crate::interfaces::SERVED;
use crate::state::State;

/// The version of `tidegate:policy` and `tidegate:host` that is served.
const VERSION: &str = "0.1.0";

/// One sentence of what is wrong and one of what to do.
pub(crate) type Breach = (String, String);

/// Checks what the component asks for and what it offers.
pub(crate) fn check(engine: &Engine, component: &Component) -> Result<(), Breach> {
    let kind = component.component_type();
    for (name, _) in kind.imports(engine) {
        if SERVED.contains(&name) {
            continue;
        }
        check_version(name)?;
        let what = format!("it imports `{name}`, which no plugin gets");
        return Err((what, remedy_for_import(name)));
    }
    let mut hooks = 0;
    let mut describes_itself = false;
    for (name, _) in kind.exports(engine) {
        let Some(interface) = name.strip_prefix("tidegate:policy/") else { continue };
        check_version(name)?;
        let interface = interface.split('@').next().unwrap_or_default();
        if interface == "plugin" {
            describes_itself = true;
        } else if Hook::ALL.iter().any(|hook| hook.as_str() == interface) {
            hooks += 1;
        } else {
            // Ignoring it would be worse: a quota that nobody asks about.
            return Err((
                format!("it serves `{interface}`, which this version doesn't ask"),
                format!("leave it out; these are asked: {}", known_hooks()),
            ));
        }
    }
    if !describes_itself {
        return Err((
            format!("it doesn't export `tidegate:policy/plugin@{VERSION}`"),
            "export `describe` and `configure`, as every plugin must".into(),
        ));
    }
    if hooks == 0 {
        return Err((
            "it serves no hook, so it would never be asked".into(),
            format!("export one of {}", known_hooks()),
        ));
    }
    Ok(())
}

/// What to call, once types are known to fit.
pub(crate) fn exports(component: &InstancePre<State>) -> Result<Exports, Breach> {
    let misfit = |error: wasmtime::Error| {
        let what = format!("an export has another form than the contract's: {error:#}");
        (what, format!("build it against tidegate:policy@{VERSION} as published"))
    };
    let exported = |interface: &str| {
        let name = format!("tidegate:policy/{interface}@{VERSION}");
        component.component().get_export_index(None, &name).is_some()
    };
    Ok(Exports {
        plugin: exports::plugin::GuestIndices::new(component).map_err(misfit)?,
        authenticate: if exported("authenticate") {
            Some(exports::authenticate::GuestIndices::new(component).map_err(misfit)?)
        } else {
            None
        },
        resolve: if exported("resolve") {
            Some(exports::resolve::GuestIndices::new(component).map_err(misfit)?)
        } else {
            None
        },
    })
}

fn check_version(name: &str) -> Result<(), Breach> {
    let ours = name.starts_with("tidegate:policy/") || name.starts_with("tidegate:host/");
    match name.split_once('@') {
        Some((_, VERSION)) => Ok(()),
        Some((interface, other)) if ours => Err((
            format!("it is made for `{interface}` in version {other}, which isn't served"),
            format!("build it for version {VERSION}"),
        )),
        _ => Ok(()),
    }
}

fn remedy_for_import(name: &str) -> String {
    if name.starts_with("wasi:") {
        "build it without WASI: for wasm32-unknown-unknown, or with WASI stubbed out".into()
    } else if name.starts_with("tidegate:host/http@") {
        "do without: plugins can't make HTTP calls in this version".into()
    } else {
        format!("use only what the world `tidegate:policy/policy@{VERSION}` imports")
    }
}

fn known_hooks() -> String {
    Hook::ALL.iter().map(|hook| format!("`{}`", hook.as_str())).collect::<Vec<_>>().join(", ")
}
