//! `cargo xtask test`: prepares and runs every test.

use anyhow::Result;
use clap::Args;

use crate::repo::Repo;
use crate::{cargo, process, say, setup};

/// Runs all tests; what can't be tested here is skipped by name.
#[derive(Args)]
pub(crate) struct Test {
    /// Handed to `cargo test`: a filter, or `-- --nocapture`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        let repo = Repo::find()?;
        prepare(&repo)?;
        run(&repo, &self.arguments)
    }
}

/// Gets what tests need, as far as it can be had.
pub(crate) fn prepare(repo: &Repo) -> Result<()> {
    setup::for_building()?;
    for missing in setup::for_tests(repo) {
        say::line(format_args!("  {missing}"));
    }
    Ok(())
}

/// Runs unit, integration, end-to-end and documentation tests.
pub(crate) fn run(repo: &Repo, arguments: &[String]) -> Result<()> {
    // Builds the gateway's binary too, with the same features as the tests: the
    // end-to-end tests are told to take that one instead of building another.
    process::openly(cargo::command(repo).args(["test", "--workspace", "--no-run"]))?;
    let binary = repo.target().join("debug").join("tidegate");
    process::openly(
        cargo::command(repo)
            .args(["test", "--workspace"])
            .args(arguments)
            .env("TIDEGATE_TEST_BINARY", binary)
            .env("TIDEGATE_TEST_XTASK", std::env::current_exe()?),
    )?;
    // A workspace of their own. Their own logic runs on any target.
    process::openly(
        cargo::command(repo)
            .args(["test", "--manifest-path", "plugins/Cargo.toml", "--lib", "--target-dir"])
            .arg(repo.target().join("plugins"))
            .args(arguments),
    )
}
