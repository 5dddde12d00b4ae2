//! What went wrong, what to do about it, and the exit code.

use std::process::ExitCode;

use tidegate_config::Problems;

use super::text::{Tone, printable};

/// Why a command did not do what it was told.
#[derive(Debug)]
pub(super) struct Failure {
    what: Vec<String>,
    advice: String,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Exit code 1.
    Failed,
    /// Exit code 2: the configuration or the command line is wrong.
    Wrong,
}

impl Failure {
    /// One sentence of what went wrong, one of what to do; neither ends in a period.
    pub(super) fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: vec![what.into()], advice: advice.into(), fault: Fault::Failed }
    }

    /// As [`new`](Self::new), for a wrong configuration or command line.
    pub(super) fn wrong(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { fault: Fault::Wrong, ..Self::new(what, advice) }
    }

    /// A configuration that cannot be used, one line per problem.
    pub(super) fn unusable(what: Vec<String>) -> Self {
        let advice = "Put that right; `tidegate check` looks without starting anything";
        Self { what, advice: advice.into(), fault: Fault::Wrong }
    }

    /// Says it on standard error.
    pub(super) fn show(&self) -> ExitCode {
        let tone = Tone::of_stderr();
        for what in &self.what {
            eprintln!("{} {}", tone.bad("error:"), printable(what));
        }
        if !self.advice.is_empty() {
            eprintln!("{}", printable(&self.advice));
        }
        match self.fault {
            Fault::Failed => ExitCode::from(1),
            Fault::Wrong => ExitCode::from(2),
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let what = problems.0.iter().map(ToString::to_string).collect();
        let advice = "`tidegate check --explain` shows every key";
        Self { what, advice: advice.into(), fault: Fault::Wrong }
    }
}
