//! `cargo xtask bench --instructions`: how many instructions a policy decision takes.
//! The same on a busy machine as on a quiet one, which no clock is.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::repo::Repo;
use crate::{cargo, process, say};

/// What is counted, under the names that the program and the file of figures use.
const COUNTED: [&str; 4] = ["shared", "signed", "tenant", "alone"];
/// Decisions in the shorter and the longer run; what lies between the two is theirs
/// alone, without what it took to compile and load.
const RUNS: [u64; 2] = [500, 1_500];
/// How much a figure may grow, in hundredths.
const MAY_GROW: u64 = 5;
const FIGURES: &str = "benches/instructions.txt";
/// Writes the figures down instead of comparing with them.
const UPDATE: &str = "UPDATE_EXPECT";

/// Counts, shows and compares with what was written down.
pub(crate) fn run(repo: &Repo) -> Result<()> {
    if process::find("valgrind").is_none() {
        bail!("instructions are counted by valgrind, which isn't here: apt-get install valgrind");
    }
    process::openly(cargo::command(repo).args([
        "build",
        "--release",
        "--package",
        "tidegate-benches",
        "--bin",
        "policy_instructions",
    ]))?;
    let program = repo.root().join("target/release/policy_instructions");
    let mut counted = BTreeMap::new();
    for what in COUNTED {
        let [short, long] = RUNS.map(|count| instructions(&program, what, count));
        let per_decision = long?.saturating_sub(short?) / (RUNS[1] - RUNS[0]);
        say::line(format_args!("  {what}: {per_decision} instructions"));
        counted.insert(what.to_owned(), per_decision);
    }
    let path = repo.root().join(FIGURES);
    if std::env::var_os(UPDATE).is_some() {
        let lines: String = counted.iter().map(|(what, n)| format!("{what} {n}\n")).collect();
        return std::fs::write(&path, lines).context(FIGURES);
    }
    compare(&read(&path)?, &counted)
}

fn instructions(program: &Path, what: &str, count: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([what, &count.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("valgrind could not be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "counting failed:\n{}", process::last_lines(&said, 20));
    let total =
        said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    total.context("valgrind told no number")
}

fn read(path: &Path) -> Result<BTreeMap<String, u64>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{FIGURES} can't be read; {UPDATE}=1 writes it"))?;
    let figure = |line: &str| {
        let (what, number) = line.split_once(' ')?;
        Some((what.to_owned(), number.parse().ok()?))
    };
    Ok(text.lines().filter_map(figure).collect())
}

fn compare(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Result<()> {
    let grown: Vec<_> = now
        .iter()
        .filter(|(what, n)| before.get(*what).is_none_or(|b| **n > b + b * MAY_GROW / 100))
        .map(|(what, n)| format!("  {what}: {n}, was {:?}", before.get(what)))
        .collect();
    ensure!(
        grown.is_empty(),
        "a decision takes more instructions than {FIGURES} says:\n{}\nmend it, or write the new \
         figures down with {UPDATE}=1 and say why",
        grown.join("\n")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_may_grow_by_a_twentieth_and_fall_by_anything() {
        let figures = |n| BTreeMap::from([("shared".to_owned(), n)]);
        for (before, now, fine) in
            [(100, 100, true), (100, 105, true), (100, 106, false), (9, 1, true)]
        {
            assert_eq!(compare(&figures(before), &figures(now)).is_ok(), fine, "{before} {now}");
        }
        assert!(compare(&BTreeMap::new(), &figures(1)).is_err());
    }
}
