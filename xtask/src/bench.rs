//! `cargo xtask bench`: the benchmarks, each named after its claim.

use anyhow::Result;
use clap::Args;

use crate::repo::Repo;
use crate::{cargo, instructions, process, say, setup};

/// Runs the benchmarks of `benches/`.
#[derive(Args)]
pub(crate) struct Bench {
    /// Count instructions of policy decisions instead, and compare with the figures
    /// that are written down
    #[arg(long)]
    instructions: bool,
    /// Handed to `cargo bench`: `--bench NAME`, or a filter.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        let repo = Repo::find()?;
        setup::for_building()?;
        if self.instructions {
            return instructions::run(&repo);
        }
        for missing in setup::for_benches(&repo) {
            say::line(format_args!("  {missing}"));
        }
        process::openly(
            cargo::command(&repo)
                .args(["bench", "--package", "tidegate-benches"])
                .args(self.arguments),
        )
    }
}
