//! `tidegate plugins`

use tidegate_control::PluginView;

use super::client::block_on;
use super::failure::Failure;
use super::find::Place;
use super::table::{Cell, Layout, render};
use super::text::{Tone, print};

const HEADER: [&str; 8] =
    ["PLUGIN", "VERSION", "SOURCE", "ANSWERS", "ISOLATION", "CALLS", "FAILURES", "PROBLEM"];

#[derive(Debug, clap::Args)]
#[command(
    after_help = "PROBLEM says why the latest reload was not taken over; the last good one serves.\n\n\
    Example:\n  tidegate plugins --json"
)]
pub(super) struct Plugins {
    /// Show everything that is known, as JSON
    #[arg(long)]
    json: bool,
}

impl Plugins {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let client = place.client()?;
        let all = block_on(client.plugins())?;
        if self.json {
            let json = serde_json::to_string_pretty(&all)
                .map_err(|error| Failure::new(format!("cannot be written: {error}"), ""))?;
            return print(&(json + "\n"));
        }
        let rows: Vec<_> = all.iter().map(row).collect();
        print(&render(&HEADER, &rows, Layout::of_stdout()))
    }
}

fn row(it: &PluginView) -> Vec<Cell> {
    let failures: Vec<_> =
        it.failures.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    vec![
        Cell::new(&it.name),
        Cell::new(&it.version),
        Cell::new(&it.source),
        Cell::new(it.hooks.join(", ")),
        Cell::new(&it.isolation),
        Cell::new(it.calls.to_string()),
        Cell::new(failures.join(", ")).painted(Tone::bad),
        Cell::new(it.problem.clone().unwrap_or_default()).painted(Tone::bad),
    ]
}
