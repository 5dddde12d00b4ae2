//! What fuzz targets are built and run with.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::apt;
use super::need::CPP_COMPILER;
use crate::{process, say};

/// Makes sure that fuzz targets can be built here, installing what is missing.
///
/// # Errors
/// What is missing, in words.
pub(super) fn prepare() -> Result<()> {
    ensure!(CPP_COMPILER.is_met() || apt::install(&CPP_COMPILER), CPP_COMPILER.in_words());
    if process::find("cargo-fuzz").is_some() {
        return Ok(());
    }
    let installed = say::step("installing cargo-fuzz (cargo)", || {
        process::quietly(Command::new("cargo").args(["install", "--locked", "cargo-fuzz"]))
    });
    installed
        .context("cargo-fuzz is missing (it runs the fuzz targets): `cargo install cargo-fuzz`")?;
    ensure!(
        process::find("cargo-fuzz").is_some(),
        "cargo-fuzz was installed where PATH doesn't lead: add cargo's `bin` directory to it"
    );
    Ok(())
}
