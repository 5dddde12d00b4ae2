//! `tidegate usage`

use std::time::Duration;

use tidegate_control::UsageView;

use super::client::block_on;
use super::failure::Failure;
use super::find::Place;
use super::table::{Cell, Layout, render};
use super::text::{Tone, duration, print, size};

const HEADER: [&str; 7] = ["TENANT", "SUBJECT", "METER", "LIMIT", "USED", "LEFT", "RESETS IN"];

#[derive(Debug, clap::Args)]
#[command(
    after_help = "SUBJECT is * where all subjects of a tenant share a limit. RESETS IN says when all of it\n\
    is there again if none is used until then. Who has used nothing lately is not shown.\n\n\
    Examples:\n  tidegate usage\n  tidegate usage acme --json"
)]
pub(super) struct Usage {
    /// Show everything that is known, as JSON
    #[arg(long)]
    json: bool,
    /// Only this tenant's
    tenant: Option<String>,
}

impl Usage {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let client = place.client()?;
        let all = block_on(client.usage(self.tenant.as_deref()))?;
        if self.json {
            let json = serde_json::to_string_pretty(&all)
                .map_err(|error| Failure::new(format!("cannot be written: {error}"), ""))?;
            return print(&(json + "\n"));
        }
        let rows: Vec<_> = all.iter().map(row).collect();
        print(&render(&HEADER, &rows, Layout::of_stdout()))
    }
}

fn row(it: &UsageView) -> Vec<Cell> {
    let exhausted = it.remaining == Some(0) && it.amount.is_some();
    let shown = |n: u64| units(&it.meter, n);
    let limit = it.amount.map(|amount| match it.per_ms {
        Some(per) => format!("{} per {}", shown(amount), duration_of(per)),
        None => shown(amount),
    });
    vec![
        Cell::new(&it.tenant),
        Cell::new(it.subject.as_deref().unwrap_or("*")),
        Cell::new(&it.meter),
        Cell::new(limit.unwrap_or_default()),
        Cell::new(shown(it.used)),
        Cell::new(it.remaining.map(shown).unwrap_or_default()).painted(if exhausted {
            Tone::bad
        } else {
            |_, text| text.to_owned()
        }),
        Cell::new(it.resets_in_ms.map(duration_of).unwrap_or_default()),
    ]
}

/// As a person reads it: bytes and times in their units.
fn units(meter: &str, n: u64) -> String {
    if meter.ends_with("-bytes") {
        size(n)
    } else if meter.ends_with("-ms") {
        duration_of(n)
    } else {
        n.to_string()
    }
}

fn duration_of(millis: u64) -> String {
    if millis > 0 && millis < 1_000 {
        return format!("{millis}ms");
    }
    duration(Duration::from_millis(millis.next_multiple_of(1_000).max(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shown_in_their_units() {
        let line = |meter: &str, amount, per_ms: Option<u64>, used, remaining| UsageView {
            tenant: "acme".into(),
            subject: per_ms.map(|_| "ann".into()),
            meter: meter.into(),
            amount: Some(amount),
            per_ms,
            used,
            remaining: Some(remaining),
            resets_in_ms: per_ms,
            ..UsageView::default()
        };
        let check = |line: UsageView, expected: &str| {
            let text = render(&HEADER, &[row(&line)], Layout::Tabs);
            assert_eq!(text.lines().nth(1), Some(expected));
        };
        check(
            line("requests", 60, Some(60_000), 20, 0),
            "acme\tann\trequests\t60 per 1m\t20\t0\t1m",
        );
        check(
            line("egress-bytes", 10 << 20, Some(500), 1 << 20, 9 << 20),
            "acme\tann\tegress-bytes\t10.0 MiB per 500ms\t1.0 MiB\t9.0 MiB\t500ms",
        );
        check(
            line("running-ms", 7_200_000, None, 61_000, 1),
            "acme\t*\trunning-ms\t2h\t1m 1s\t1ms\t-",
        );
    }
}
