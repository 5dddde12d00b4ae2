//! Everything one does with this repository: `cargo xtask setup | up | test | fuzz | ci | bench`.
//!
//! One file per verb. Everything that people read goes to standard error, so that
//! standard output is free for `--json`.
//!
//! **Not in here:** what the gateway does. xtask prepares, starts and ends it.
#![forbid(unsafe_code)]

mod bench;
mod cargo;
mod ci;
mod control;
mod demo;
mod fuzz;
mod instructions;
mod openclaw;
mod process;
mod repo;
mod say;
mod setup;
mod test;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sets up, starts and tests tidegate.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Xtask {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Checks what is there, installs what can be installed, says what is missing.
    Setup(setup::Setup),
    /// Builds and starts the gateway with two demo users; Ctrl-C ends everything.
    Up(up::Up),
    /// Prepares and runs every test: unit, integration, end-to-end, documentation.
    Test(test::Test),
    /// Tries inputs that nobody thought of, for a while.
    Fuzz(fuzz::Fuzz),
    /// What continuous integration runs: test, fuzz, then formatting and lints.
    Ci,
    /// Runs the benchmarks.
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let outcome = match Xtask::parse().verb {
        Verb::Setup(setup) => setup.run(),
        Verb::Up(up) => up.run(),
        Verb::Test(test) => test.run(),
        Verb::Fuzz(fuzz) => fuzz.run(),
        Verb::Ci => ci::run(),
        Verb::Bench(bench) => bench.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\nerror: {problem:#}");
            ExitCode::FAILURE
        }
    }
}
