//! Calling cargo from within cargo.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process;
use crate::repo::Repo;

/// With which profile the gateway is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Dev,
    /// Quick to run.
    Release,
}

/// A cargo command in the repository, with nothing of the cargo that runs xtask.
pub(crate) fn command(repo: &Repo) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repo.root());
    // These describe xtask's own package; a build script that looked at them
    // would be run again for nothing.
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Builds the gateway, first-party plugins included; says where the binary is.
pub(crate) fn build_gateway(repo: &Repo, profile: Profile) -> Result<PathBuf> {
    let mut cargo = command(repo);
    cargo.args(["build", "--package", "tidegate"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    // Cargo shows its own progress, on standard error.
    process::openly(&mut cargo)?;
    let binary = repo.target().join(profile.directory()).join("tidegate");
    anyhow::ensure!(binary.is_file(), "cargo built no {}", binary.display());
    Ok(binary)
}

impl Profile {
    fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}
