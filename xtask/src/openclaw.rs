//! The OpenClaw installation that all demo users share: one pinned version and
//! the Node it runs on, from npm, in the repository's ignored cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::repo::Repo;
use crate::{process, say};

/// The version that `examples/openclaw` was tried with.
const OPENCLAW: &str = "2026.9.6";
/// OpenClaw wants at least 24.16; a distribution's Node is often older.
const NODE: &str = "24.21.0";

/// How the names of directories begin that are not an installation (yet, or any more).
const UNFINISHED: &str = ".unfinished-";

/// What OpenClaw's package leaves in its directory until its own first steps are done.
const UNCONFIGURED: &str = ".openclaw-lifecycle-pending";

/// One npm package, installed into a directory of its own.
struct Package {
    /// Directory under the installation.
    directory: &'static str,
    name: String,
    version: &'static str,
    /// Roughly, for the one who waits.
    size: &'static str,
}

/// What is installed and where.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    root: PathBuf,
}

impl Installation {
    /// Where the installation is, whether or not it is there.
    pub(crate) fn of(repo: &Repo) -> Self {
        Self { root: repo.cache().join("openclaw") }
    }

    /// The Node program that came with it.
    pub(crate) fn node(&self) -> Result<PathBuf> {
        let package = node_package()?;
        Ok(self.package_root(&package).join("bin/node"))
    }

    /// Whether everything is there in the right version.
    pub(crate) fn is_complete(&self) -> Result<bool> {
        Ok(packages()?.iter().all(|package| self.has(package)))
    }

    /// Installs what is missing or of another version.
    ///
    /// Each package appears whole or not at all: it is made beside its place and
    /// renamed, so that an interrupted installation is simply done again.
    pub(crate) fn prepare(&self) -> Result<()> {
        fs::create_dir_all(&self.root).context("making the installation's directory")?;
        let lock = fs::File::create(self.root.join(".lock"))?;
        lock.lock().context("waiting for another installation to end")?;
        self.sweep()?;
        for package in packages()? {
            if self.has(&package) {
                continue;
            }
            let what = format!("fetching {} {} ({})", package.name, package.version, package.size);
            say::step(&what, || self.install(&package))?;
        }
        Ok(())
    }

    fn has(&self, package: &Package) -> bool {
        let root = self.package_root(package);
        installed_version(&root).as_deref() == Some(package.version)
            && !root.join(UNCONFIGURED).exists()
    }

    fn package_root(&self, package: &Package) -> PathBuf {
        self.root.join(package.directory).join("node_modules").join(&package.name)
    }

    /// Removes what interrupted installations left. Only under the lock.
    fn sweep(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_dir_all(entry.path()).context("removing an unfinished installation")?;
            }
        }
        Ok(())
    }

    fn install(&self, package: &Package) -> Result<()> {
        let fresh = self.root.join(format!("{UNFINISHED}{}", package.directory));
        let outcome = self.install_into(&fresh, package);
        if outcome.is_err() {
            // Best effort: the error that led here is the one to report.
            let _ = fs::remove_dir_all(&fresh);
        }
        outcome
    }

    fn install_into(&self, fresh: &Path, package: &Package) -> Result<()> {
        process::quietly(
            Command::new("npm")
                .args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
                .args(["--save-exact", "--loglevel=error", "--prefix"])
                .arg(fresh)
                .arg(format!("{}@{}", package.name, package.version)),
        )?;
        let arrived = installed_version(&fresh.join("node_modules").join(&package.name));
        anyhow::ensure!(
            arrived.as_deref() == Some(package.version),
            "npm installed {} {}, not {}",
            package.name,
            arrived.as_deref().unwrap_or("of no version"),
            package.version
        );
        let root = fresh.join("node_modules").join(&package.name);
        if root.join(UNCONFIGURED).exists() {
            self.configure(&root, fresh)?;
        }
        let place = self.root.join(package.directory);
        let old = self.root.join(format!("{UNFINISHED}old-{}", package.directory));
        if place.exists() {
            fs::rename(&place, &old).context("moving the old installation aside")?;
        }
        fs::rename(fresh, &place).context("moving the new installation into its place")?;
        if old.exists() {
            fs::remove_dir_all(&old).context("removing the old installation")?;
        }
        Ok(())
    }
}

impl Installation {
    /// Lets OpenClaw finish its own installation, which npm was told not to run:
    /// it does so at its first start, and cannot in a sandbox, where it is read-only.
    fn configure(&self, package: &Path, fresh: &Path) -> Result<()> {
        process::quietly(
            Command::new(self.node()?)
                .arg(package.join("openclaw.mjs"))
                .arg("--version")
                .env("HOME", fresh),
        )?;
        anyhow::ensure!(
            !package.join(UNCONFIGURED).exists(),
            "OpenClaw did not finish its installation: `{UNCONFIGURED}` is still in {}",
            package.display()
        );
        Ok(())
    }
}

fn packages() -> Result<[Package; 2]> {
    let openclaw = Package {
        directory: "app",
        name: "openclaw".to_owned(),
        version: OPENCLAW,
        size: "330 packages, 650 MB",
    };
    Ok([node_package()?, openclaw])
}

/// Node itself, as npm packages it for this machine.
fn node_package() -> Result<Package> {
    let machine = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "linux-x64",
        ("linux", "aarch64") => "linux-arm64",
        (os, machine) => bail!("there is no Node package for {os} on {machine}: use `--app hello`"),
    };
    Ok(Package {
        directory: "node24",
        name: format!("node-{machine}"),
        version: NODE,
        size: "190 MB",
    })
}

fn installed_version(package: &Path) -> Option<String> {
    let text = fs::read_to_string(package.join("package.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
    manifest.get("version")?.as_str().map(str::to_owned)
}
