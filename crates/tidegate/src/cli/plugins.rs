//! `tidegate plugins`

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_control::{HookView, PluginView};

use super::client::block_on;
use super::failure::Failure;
use super::find::Place;
use super::table::{Cell, Layout, render};
use super::text::{Tone, print, printable, size};

const HEADER: [&str; 9] =
    ["PLUGIN", "VERSION", "DIGEST", "GEN", "SOURCE", "ANSWERS", "CALLS", "FAILURES", "PROBLEM"];
const HOOKS: [&str; 8] =
    ["HOOK", "ORDER", "CALLS", "FAILURES", "P50", "P99", "NOT ASKED", "ON FAILURE"];

#[derive(Debug, clap::Args)]
#[command(
    after_help = "PROBLEM says why the latest reload was not taken over and what to do; the last good\n\
    one serves. GEN is the generation that serves: it grows with each reload.\n\n\
    Examples:\n  tidegate plugins\n  tidegate plugins gatekeeper\n  tidegate plugins --json"
)]
pub(super) struct Plugins {
    /// Show everything that is known of this one: its hooks, bounds, memory and time
    #[arg(value_name = "PLUGIN")]
    name: Option<String>,
    /// Show everything that is known, as JSON
    #[arg(long)]
    json: bool,
}

impl Plugins {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let client = place.client()?;
        let mut listing = block_on(client.plugins())?;
        if let Some(name) = &self.name {
            listing.plugins.retain(|it| it.name == *name);
            if listing.plugins.is_empty() {
                return Err(Failure::new(
                    format!("there is no plugin `{name}`"),
                    "`tidegate plugins` lists them",
                ));
            }
        }
        if self.json {
            let json = serde_json::to_string_pretty(&listing.plugins)
                .map_err(|error| Failure::new(format!("cannot be written: {error}"), ""))?;
            return print(&(json + "\n"));
        }
        let layout = Layout::of_stdout();
        if let (Some(_), [plugin]) = (&self.name, listing.plugins.as_slice()) {
            return print(&details(plugin, layout));
        }
        let rows: Vec<_> = listing.plugins.iter().map(row).collect();
        print(&render(&HEADER, &rows, layout))?;
        // Beside the table, so that what reads its rows isn't disturbed.
        let tone = Tone::of_stderr();
        for line in listing.refused {
            eprintln!("{} {}", tone.bad("not taken over:"), printable(&line));
        }
        Ok(())
    }
}

fn row(it: &PluginView) -> Vec<Cell> {
    let hooks: Vec<_> = it.hooks.iter().map(|hook| hook.hook.as_str()).collect();
    let problem = it.problem.as_ref().or(it.source_problem.as_ref());
    vec![
        Cell::new(&it.name),
        Cell::new(&it.version),
        Cell::new(short(&it.sha256)),
        Cell::new(it.generation.to_string()),
        Cell::new(&it.source),
        Cell::new(hooks.join(", ")),
        Cell::new(it.calls.to_string()),
        Cell::new(counts(&it.failures)).painted(Tone::bad),
        Cell::new(problem.cloned().unwrap_or_default()).painted(Tone::bad),
    ]
}

fn details(it: &PluginView, layout: Layout) -> String {
    let signed = if it.signed { ", signed" } else { "" };
    let mut lines = vec![
        ("description", it.description.clone()),
        ("version", format!("{}, made for tidegate:policy@{}", it.version, it.contract)),
        ("source", format!("{}{signed}", it.source)),
        ("sha256", it.sha256.clone()),
        ("generation", it.generation.to_string()),
        ("imports", it.imports.join(", ")),
        ("isolation", it.isolation.clone()),
        ("time per call", format!("{} ms", it.deadline_ms)),
        ("memory", {
            let (now, most) = (size(it.memory_bytes), size(it.memory_limit_bytes));
            format!("{now} in all instances; at most {most} in each")
        }),
        ("instances", {
            let (busy, idle) = (it.instances_busy, it.instances_idle);
            format!("{busy} at work, {idle} at rest; at most {}", it.instances_limit)
        }),
    ];
    if let Some(manifest) = &it.manifest {
        lines.push(("manifest", manifest.clone()));
    }
    if let Some(problem) = &it.source_problem {
        lines.push(("source says", problem.clone()));
    }
    if let Some(candidate) = &it.candidate {
        let version = candidate.version.as_deref().unwrap_or("of unknown version");
        lines.push(("candidate", format!("{version}, sha256 {}", candidate.sha256)));
    }
    if let Some(problem) = &it.problem {
        lines.push(("refused", problem.clone()));
    }
    let mut out = format!("{}\n", printable(&it.name));
    for (what, text) in lines {
        let text = if text.is_empty() { "-".into() } else { printable(&text) };
        out.push_str(&format!("  {what:<14} {text}\n"));
    }
    out.push('\n');
    let rows: Vec<_> = it.hooks.iter().map(hook_row).collect();
    out.push_str(&render(&HOOKS, &rows, layout));
    if !it.tenants.is_empty() {
        out.push('\n');
        let row = |tenant: &str, micros: u64| {
            vec![Cell::new(tenant), Cell::new(time(u64::saturating_mul(micros, 1000)))]
        };
        let mut rows: Vec<_> = it.tenants.iter().map(|it| row(&it.tenant, it.time_us)).collect();
        rows.push(row("(others)", it.others_us));
        out.push_str(&render(&["TENANT", "CPU TIME"], &rows, layout));
    }
    out
}

fn hook_row(it: &HookView) -> Vec<Cell> {
    vec![
        Cell::new(&it.hook),
        Cell::new(it.order.to_string()),
        Cell::new(it.calls.to_string()),
        Cell::new(counts(&it.failures)).painted(Tone::bad),
        Cell::new(it.p50_ns.map(time).unwrap_or_default()),
        Cell::new(it.p99_ns.map(time).unwrap_or_default()),
        Cell::new(if it.poisonous == 0 { String::new() } else { it.poisonous.to_string() }),
        Cell::new(&it.on_failure),
    ]
}

fn counts(failures: &BTreeMap<String, u64>) -> String {
    let all: Vec<_> = failures.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    all.join(", ")
}

/// As much of a digest as tells components apart.
fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

fn time(nanos: u64) -> String {
    format!("{:.1?}", Duration::from_nanos(nanos))
}
