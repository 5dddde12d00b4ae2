//! Builds plugin sources to WASM components.
//!
//! Called by `xtask`, by the build script of `builtin` and by tests that need
//! plugins of their own. Finds out by itself which compiler on this machine can
//! make WASM, and says in plain words what to install when none can.
//!
//! **Not in here:** installing anything, loading components.
#![forbid(unsafe_code)]

mod component;
mod environment;
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tidegate_types::component::with_custom_section;

pub use component::component;
pub use toolchain::{Std, TARGET, Toolchain, toolchain};

/// Builds packages of the cargo workspace in `workspace`, each a `cdylib`, and
/// returns their components in the same order. Everything is kept in `target_dir`:
/// give it one that no other cargo uses, or they wait for each other.
///
/// # Errors
/// The compiler's own words when it fails.
pub fn build(
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
    packages: &[&str],
) -> Result<Vec<Vec<u8>>> {
    let modules = modules(toolchain, workspace, target_dir, packages)?.into_iter();
    let named = packages.iter().zip(modules);
    named
        .map(|(package, path)| {
            let component =
                component(&read(&path)?).with_context(|| format!("plugin `{package}`"))?;
            let fixtures = workspace.join(package).join("fixtures.json");
            match std::fs::read(&fixtures) {
                Ok(expected) => Ok(with_custom_section(&component, FIXTURES, &expected)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(component),
                Err(error) => Err(error).with_context(|| fixtures.display().to_string()),
            }
        })
        .collect()
}

/// The custom section that holds what a plugin's author expects of it: the file
/// `fixtures.json` beside its `Cargo.toml`.
const FIXTURES: &str = "tidegate:fixtures";

/// As [`build`], but stops at the core modules and says where they are: for hosts
/// other than ours.
///
/// # Errors
/// The compiler's own words when it fails.
pub fn modules(
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
    packages: &[&str],
) -> Result<Vec<PathBuf>> {
    let mut command = Command::new(&toolchain.cargo);
    environment::clean(&mut command);
    command.current_dir(workspace).env("RUSTC", &toolchain.rustc);
    if let Some(linker) = &toolchain.linker {
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    command.args(["build", "--release", "--target", TARGET, "--target-dir"]).arg(target_dir);
    if toolchain.std == Std::FromSource {
        // Building the standard library is a feature of nightly cargo; the
        // distribution's compiler and its sources are one version.
        command.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
    }
    for package in packages {
        command.args(["--package", package]);
    }
    let output = command.output().context("can't start cargo")?;
    if !output.status.success() {
        bail!("can't build the plugins:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let built = target_dir.join(TARGET).join("release");
    let file = |package: &&str| built.join(format!("{}.wasm", package.replace('-', "_")));
    Ok(packages.iter().map(file).collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cargo left no `{}`", path.display()))
}
