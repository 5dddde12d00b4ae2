//! `cargo xtask fuzz`: inputs that nobody thought of.
//!
//! The targets stand in `fuzz/`, a workspace of their own. What a run finds beyond the
//! seeds is kept in the target directory, so that the next one begins there.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::repo::Repo;
use crate::{cargo, process, say, setup};

/// Every target, and the longest input that makes sense for it, in bytes.
const TARGETS: &[(&str, u32)] =
    &[("outcomes", 4_096), ("header_edits", 4_096), ("configuration", 2_048)];

/// Runs the fuzz targets.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// How long each target runs.
    #[arg(long, default_value_t = 20, value_name = "N")]
    seconds: u32,
    /// Only these: outcomes, header_edits, configuration.
    targets: Vec<String>,
}

impl Fuzz {
    pub(crate) fn run(self) -> Result<()> {
        let repo = Repo::find()?;
        setup::for_fuzzing()?;
        run(&repo, self.seconds, &self.targets)
    }
}

/// Runs `only`, or all targets, for `seconds` each.
///
/// # Errors
/// The first target that failed, and where the input is that it failed on.
pub(crate) fn run(repo: &Repo, seconds: u32, only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|only| TARGETS.iter().all(|(name, _)| name != only)) {
        let known: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        bail!("there is no fuzz target `{unknown}`; there are {}", known.join(", "));
    }
    let chosen = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    for (name, longest) in TARGETS.iter().filter(|(name, _)| chosen(name)) {
        say::line(format_args!("fuzzing {name} for {seconds} seconds"));
        one(repo, name, *longest, seconds).with_context(|| {
            format!(
                "target `{name}` failed on the input in fuzz/artifacts/{name}; mend what it \
                 found, and make it a test of the crate it was found in"
            )
        })?;
    }
    Ok(())
}

fn one(repo: &Repo, name: &str, longest: u32, seconds: u32) -> Result<()> {
    let built = repo.target().join("fuzz");
    let corpus = built.join("corpus").join(name);
    std::fs::create_dir_all(&corpus)?;
    let mut command = build_command(repo);
    command
        .args(["fuzz", "run", name, "--target-dir"])
        .arg(&built)
        .arg(&corpus)
        .arg(repo.root().join("fuzz/seeds").join(name))
        .args(["--", "-verbosity=0", "-print_final_stats=1"])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={longest}"));
    process::openly(&mut command)
}

/// Coverage and sanitizers are features of nightly compilers that the stable one has
/// under lock.
fn build_command(repo: &Repo) -> Command {
    let mut command = cargo::command(repo);
    command.current_dir(repo.root().join("fuzz")).env("RUSTC_BOOTSTRAP", "1");
    command
}
