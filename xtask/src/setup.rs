//! `cargo xtask setup`: what is needed, whether it is there, how to get it.
//!
//! Installs what it can (Debian packages as root, the WASM target, OpenClaw and
//! its Node) and says in plain words what a person has to install. Run again when
//! all is there, it takes no noticeable time.

mod apt;
mod envoy;
mod fuzzing;
mod need;
mod wasm;

use anyhow::{Result, bail};
use clap::Args;

use crate::openclaw::Installation;
use crate::repo::Repo;
use crate::say;

use need::{APT, BROWSER, C_COMPILER, DOCKER_REGISTRY, NGINX, NPM, WRK};

/// Prepares this machine for building, trying and testing.
#[derive(Args)]
pub(crate) struct Setup {
    /// Only what building and `up --app hello` need: no browser, no OpenClaw.
    #[arg(long)]
    minimal: bool,
}

impl Setup {
    pub(crate) fn run(self) -> Result<()> {
        let repo = Repo::find()?;
        for_building()?;
        if !self.minimal {
            for_openclaw(&repo)?;
            for missing in for_tests(&repo) {
                say::line(format_args!("  {missing}"));
            }
        }
        say::line("Everything is in place: `cargo xtask up` starts the gateway.");
        Ok(())
    }
}

/// What the gateway and its plugins are built with.
pub(crate) fn for_building() -> Result<()> {
    let mut missing = Vec::new();
    if !C_COMPILER.is_met() && !apt::install(&C_COMPILER) {
        missing.push(C_COMPILER.in_words());
    }
    if let Err(problem) = wasm::prepare() {
        missing.push(format!("{problem:#}"));
    }
    refuse(&missing)
}

/// What the OpenClaw example needs besides.
pub(crate) fn for_openclaw(repo: &Repo) -> Result<()> {
    let installation = Installation::of(repo);
    if installation.is_complete()? {
        return Ok(());
    }
    if !NPM.is_met() && !apt::install(&NPM) {
        return refuse(&[NPM.in_words()]);
    }
    installation.prepare()
}

/// What some tests need; returns what can't be had, in words. Such tests are
/// skipped by name.
pub(crate) fn for_tests(repo: &Repo) -> Vec<String> {
    let mut missing = Vec::new();
    for need in [&BROWSER, &DOCKER_REGISTRY] {
        if !need.is_met() && !apt::install(need) {
            missing.push(need.in_words());
        }
    }
    if let Err(problem) = for_openclaw(repo) {
        missing.push(format!("OpenClaw's tests will be skipped: {problem:#}"));
    }
    if !missing.is_empty() && !APT.is_met() {
        missing.push(APT.in_words());
    }
    missing
}

/// What `cargo xtask fuzz` needs besides.
///
/// # Errors
/// What is missing, in words.
pub(crate) fn for_fuzzing() -> Result<()> {
    fuzzing::prepare()
}

/// What the comparisons with other proxies need; returns what can't be had, in
/// words. Such benches are skipped by name.
pub(crate) fn for_benches(repo: &Repo) -> Vec<String> {
    let mut missing = Vec::new();
    // Not installed from here: its package starts a server on port 80.
    if !NGINX.is_met() {
        missing.push(NGINX.in_words());
    }
    if !WRK.is_met() && !apt::install(&WRK) {
        missing.push(WRK.in_words());
    }
    if let Err(problem) = envoy::prepare(repo) {
        missing.push(format!("{problem:#}"));
    }
    missing
}

fn refuse(missing: &[String]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    bail!("something is missing.\n  - {}", missing.join("\n  - "))
}
