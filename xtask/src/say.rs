//! How xtask speaks: one line per step, a moving one while a step takes long.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Below this a step is over before anyone wonders what it does.
const LONG: Duration = Duration::from_secs(2);

/// Says one line.
pub(crate) fn line(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Runs `work` and says what is being done while it takes.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let begun = Instant::now();
    let spinner = std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("  {spinner} {msg} ({elapsed})")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let spinner = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(120));
        spinner
    });
    if spinner.is_none() {
        line(format_args!("  {what} …"));
    }
    let outcome = work();
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    let took = begun.elapsed();
    match &outcome {
        Ok(_) if took > LONG => line(format_args!("  {what}: done in {} s", took.as_secs())),
        Ok(_) => {}
        Err(_) => line(format_args!("  {what}: failed after {} s", took.as_secs())),
    }
    outcome
}
