//! A compiler that can make WASM: plugins are built with it.

use std::process::Command;

use anyhow::Result;

use super::apt;
use crate::{process, say};

/// Makes sure that plugins can be built here, installing what is missing.
///
/// rustup's own target where rustup can fetch it; elsewhere Debian's compiler,
/// which brings the sources to build the target's standard library from.
pub(super) fn prepare() -> Result<()> {
    if tidegate_plugin_build::toolchain().is_ok() {
        return Ok(());
    }
    // Either may fail where the other works: what counts is the outcome.
    let _ = add_target();
    if tidegate_plugin_build::toolchain().is_ok() {
        return Ok(());
    }
    let _ = apt::install_packages(&["rustc-web", "rust-web-src"], "a compiler for plugins");
    tidegate_plugin_build::toolchain().map(drop)
}

fn add_target() -> Result<()> {
    say::step("fetching Rust's WASM target (rustup)", || {
        process::quietly(Command::new("rustup").args(["target", "add", "wasm32-unknown-unknown"]))
    })
}
