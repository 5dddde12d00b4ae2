//! `cargo xtask ci`: exactly what continuous integration runs.

use anyhow::Result;

use crate::repo::Repo;
use crate::{cargo, fuzz, process, say, setup, test};

/// Seconds for each fuzz target: a minute in all.
const FUZZING: u32 = 20;

/// Tests, then a minute of fuzzing, then formatting, then lints.
pub(crate) fn run() -> Result<()> {
    let repo = Repo::find()?;
    test::prepare(&repo)?;
    test::run(&repo, &[])?;
    setup::for_fuzzing()?;
    fuzz::run(&repo, FUZZING, &[])?;
    say::line("formatting");
    process::openly(cargo::command(&repo).args(["fmt", "--all", "--check"]))?;
    // Workspaces of their own: for another target, in another mode.
    for other in ["plugins/Cargo.toml", "fuzz/Cargo.toml", "benches/peers/envoy-filter/Cargo.toml"]
    {
        process::openly(cargo::command(&repo).args([
            "fmt",
            "--all",
            "--check",
            "--manifest-path",
            other,
        ]))?;
    }
    say::line("lints");
    process::openly(
        cargo::command(&repo)
            .args(["clippy", "--workspace", "--all-targets"])
            .args(["--", "--deny", "warnings"]),
    )
}
