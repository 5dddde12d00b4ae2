//! `cargo xtask ci`: exactly what continuous integration runs.

use anyhow::Result;

use crate::repo::Repo;
use crate::{cargo, process, say, test};

/// Tests, then formatting, then lints.
pub(crate) fn run() -> Result<()> {
    let repo = Repo::find()?;
    test::prepare(&repo)?;
    test::run(&repo, &[])?;
    say::line("formatting");
    process::openly(cargo::command(&repo).args(["fmt", "--all", "--check"]))?;
    // Plugins are a workspace of their own, for another target.
    process::openly(
        cargo::command(&repo)
            .args(["fmt", "--all", "--check"])
            .args(["--manifest-path", "plugins/Cargo.toml"]),
    )?;
    say::line("lints");
    process::openly(
        cargo::command(&repo)
            .args(["clippy", "--workspace", "--all-targets"])
            .args(["--", "--deny", "warnings"]),
    )
}
