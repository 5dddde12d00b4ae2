//! Installing Debian packages, where that is possible and allowed.

use std::process::Command;

use anyhow::Result;

use super::need::{APT, Need};
use crate::{process, say};

/// Installs what meets `need`; says whether it is met now.
pub(super) fn install(need: &Need) -> bool {
    install_packages(need.packages, need.what).is_ok() && need.is_met()
}

/// Installs `packages`, for `what`.
///
/// # Errors
/// Not root, not Debian, or apt's own words.
pub(super) fn install_packages(packages: &[&str], what: &str) -> Result<()> {
    anyhow::ensure!(!packages.is_empty(), "Debian has no package for it");
    anyhow::ensure!(APT.is_met(), "there is no apt here");
    anyhow::ensure!(rustix::process::geteuid().is_root(), "only root may install packages");
    let list = packages.join(" ");
    let outcome = say::step(&format!("installing {what} (apt: {list})"), || {
        // A machine that was never updated knows no packages; one that was knows
        // them, and asking again would only take time.
        get(&["install"], packages).or_else(|_| {
            get(&["update"], &[])?;
            get(&["install"], packages)
        })
    });
    if let Err(problem) = &outcome {
        say::line(format_args!("{problem:#}"));
    }
    outcome
}

fn get(verb: &[&str], packages: &[&str]) -> Result<()> {
    process::quietly(
        Command::new("apt-get")
            .args(["--yes", "--no-install-recommends"])
            // Another apt may be at work: unattended upgrades on a fresh machine.
            .args(["-o", "DPkg::Lock::Timeout=180"])
            .args(verb)
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}
