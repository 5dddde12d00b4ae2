//! Which compiler on this machine can make WASM, found by looking.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The target that plugins are built for: no system interface at all.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// A way to build for [`TARGET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// Cargo, of the active toolchain.
    pub cargo: PathBuf,
    /// The linker, where the compiler brings none.
    pub linker: Option<PathBuf>,
    /// Where the standard library comes from.
    pub std: Std,
}

/// Where the standard library for [`TARGET`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Std {
    /// Installed beside the compiler.
    Installed,
    /// Its sources are; it is built on the way, once per target directory.
    FromSource,
}

/// Looks for a compiler: the active toolchain's with the target installed; the
/// distribution's with the target installed; either with the library's sources.
///
/// # Errors
/// What to install, in plain words, when there is none.
pub fn toolchain() -> Result<Toolchain> {
    let active = sysroot(Path::new("rustc")).context("can't run `rustc`; install Rust first")?;
    // `cargo` and `rustc` on the path may be rustup's proxies, which obey the
    // environment and the directory; the toolchain's own obey nothing.
    let cargo = active.join("bin/cargo");
    let cargo = if cargo.is_file() { cargo } else { PathBuf::from("cargo") };
    let mut candidates = vec![(active.join("bin/rustc"), active.clone())];
    let distribution = PathBuf::from("/usr/bin/rustc");
    if let Ok(root) = sysroot(&distribution) {
        candidates.push((distribution, root));
    }
    let own_linkers: Vec<_> = candidates.iter().filter_map(|(_, root)| rust_lld(root)).collect();
    for std in [Std::Installed, Std::FromSource] {
        for (rustc, root) in &candidates {
            let usable = match std {
                Std::Installed => has_std(root),
                Std::FromSource => {
                    root.join("lib/rustlib/src/rust/library/std/Cargo.toml").exists()
                }
            };
            if !usable {
                continue;
            }
            let linker = match rust_lld(root) {
                Some(_) => None,
                None => match own_linkers.first().cloned().or_else(|| on_path("wasm-ld")) {
                    Some(linker) => Some(linker),
                    None => continue,
                },
            };
            return Ok(Toolchain { rustc: rustc.clone(), cargo, linker, std });
        }
    }
    bail!(
        "no compiler on this machine can build for {TARGET}; \
         run `rustup target add {TARGET}`, or on Debian where rustup can't fetch it \
         `apt-get install rustc-web rust-web-src`"
    )
}

fn sysroot(rustc: &Path) -> Result<PathBuf> {
    let mut command = Command::new(rustc);
    crate::environment::clean(&mut command);
    let output = command.args(["--print", "sysroot"]).output()?;
    if !output.status.success() {
        bail!("`{} --print sysroot` failed", rustc.display());
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

fn has_std(sysroot: &Path) -> bool {
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let Ok(files) = std::fs::read_dir(libraries) else { return false };
    files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn rust_lld(sysroot: &Path) -> Option<PathBuf> {
    let targets = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    targets.flatten().map(|target| target.path().join("bin/rust-lld")).find(|lld| lld.is_file())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
