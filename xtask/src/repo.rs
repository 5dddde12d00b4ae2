//! Where things are in this repository.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The checkout that this xtask was built from.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    root: PathBuf,
}

impl Repo {
    /// Finds the checkout, wherever in it one stands.
    pub(crate) fn find() -> Result<Self> {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = xtask.parent().context("xtask lies in no repository")?;
        anyhow::ensure!(
            root.join("Cargo.toml").is_file(),
            "the repository is no longer at {}: run cargo xtask in the checkout itself",
            root.display()
        );
        Ok(Self { root: root.to_owned() })
    }

    /// The root of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What is fetched once and kept, ignored by git.
    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join(".cache")
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> PathBuf {
        match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => self.root.join(dir),
            None => self.root.join("target"),
        }
    }

    /// One of the examples.
    pub(crate) fn example(&self, name: &str) -> PathBuf {
        self.root.join("examples").join(name)
    }
}
