//! `tidegate ps`

use std::time::{Duration, SystemTime};

use tidegate_control::view::unix_ms;
use tidegate_control::{CauseView, SandboxView};

use super::client::{Client, block_on};
use super::failure::Failure;
use super::find::{Place, short_name};
use super::table::{Cell, Layout, render};
use super::text::{Tone, duration, print, size};

const HEADER: [&str; 9] =
    ["SANDBOX", "STATE", "SINCE", "WHY", "RESTS IN", "MEMORY", "CPU TIME", "TEMPLATE", "TENANT"];

/// How often `--watch` looks again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "WHY says why a sandbox is awake: what uses it now and what used it last; or why it\n\
    is not: how it ended or failed. RESTS IN is when it goes to rest if nobody uses it.\n\
    Looking never wakes.\n\n\
    Examples:\n  tidegate ps\n  tidegate ps --watch\n  tidegate ps --json | jq '.[] | select(.state == \"failed\")'"
)]
pub(super) struct Ps {
    /// Show everything that is known, as JSON
    #[arg(long)]
    json: bool,
    /// Show it again every second
    #[arg(long, short, conflicts_with = "json")]
    watch: bool,
    /// Only sandboxes of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
}

impl Ps {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let client = place.client()?;
        block_on(async {
            loop {
                let text = self.look(&client).await?;
                if !self.watch {
                    return print(&text);
                }
                // Home, the text, clear what was below it: no flicker.
                print(&format!("\x1b[H\x1b[2J{text}"))?;
                tokio::time::sleep(AGAIN).await;
            }
        })
    }

    async fn look(&self, client: &Client) -> Result<String, Failure> {
        let mut all = client.sandboxes().await?;
        if let Some(tenant) = &self.tenant {
            all.retain(|it| it.tenant == *tenant);
        }
        if self.json {
            let json = serde_json::to_string_pretty(&all);
            return json
                .map(|text| text + "\n")
                .map_err(|error| Failure::new(format!("cannot be written: {error}"), ""));
        }
        Ok(table(&all, unix_ms(SystemTime::now()), Layout::of_stdout()))
    }
}

fn table(all: &[SandboxView], now_ms: u64, layout: Layout) -> String {
    let rows: Vec<_> = all.iter().map(|it| row(it, all, now_ms)).collect();
    render(&HEADER, &rows, layout)
}

fn row(it: &SandboxView, all: &[SandboxView], now_ms: u64) -> Vec<Cell> {
    let paint = match it.state.as_str() {
        "running" => Tone::good,
        "starting" | "stopping" => Tone::busy,
        "failed" => Tone::bad,
        _ => Tone::faint,
    };
    let ago = |ms: u64| duration(Duration::from_millis(now_ms.saturating_sub(ms)));
    let rests_in =
        it.rests_at_ms.map(|at| duration(Duration::from_millis(at.saturating_sub(now_ms))));
    vec![
        Cell::new(short_name(it, all)),
        Cell::new(&it.state).painted(paint),
        Cell::new(ago(it.since_ms)),
        Cell::new(why(it, ago)),
        Cell::new(rests_in.unwrap_or_default()),
        Cell::new(it.memory_bytes.map(size).unwrap_or_default()),
        Cell::new(it.cpu_ms.map(|ms| format!("{:.1}s", ms as f64 / 1000.0)).unwrap_or_default()),
        Cell::new(&it.template),
        Cell::new(&it.tenant),
    ]
}

/// Why it is awake, or how its last life ended.
fn why(it: &SandboxView, ago: impl Fn(u64) -> String) -> String {
    let Some(awake) = &it.awake else {
        let exit = it.last_exit.as_ref().map(|exit| format!("ended: {exit}"));
        return it.failure.clone().or(exit).unwrap_or_default();
    };
    let cause = awake.cause.as_ref().map(told);
    if it.state == "starting" {
        return cause.map_or_else(String::new, |cause| format!("for {cause}"));
    }
    let counted = |n: u64, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let used = match (cause, awake.last_activity_ms) {
        // What is in flight is used now.
        (Some(cause), _) if awake.in_flight > 0 => Some(cause),
        (Some(cause), Some(at)) => Some(format!("{cause} {} ago", ago(at))),
        (None, Some(at)) => Some(format!("used {} ago", ago(at))),
        (cause, None) => cause,
    };
    let reasons = [
        awake.keep_alive.then(|| "keep-alive".to_owned()),
        counted(awake.in_flight, "request"),
        counted(awake.websockets, "websocket"),
        counted(awake.visitors, "visitor"),
        used,
    ];
    reasons.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What it was used for, and by whom.
fn told(cause: &CauseView) -> String {
    let what = match (cause.kind.as_str(), &cause.request) {
        ("request", Some(request)) => request,
        ("bytes", _) => "websocket bytes",
        ("order", _) => "an operator's order",
        (kind, _) => kind,
    };
    match &cause.subject {
        Some(subject) => format!("{what} by {subject}"),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_control::AwakeView;

    use super::*;

    #[test]
    fn a_listing_says_why_each_is_awake_and_when_it_rests() {
        let running = SandboxView {
            tenant: "acme".into(),
            name: "user-ann".into(),
            state: "running".into(),
            since_ms: 40_000,
            awake: Some(AwakeView {
                websockets: 1,
                visitors: 1,
                last_activity_ms: Some(97_000),
                cause: Some(CauseView {
                    kind: "bytes".into(),
                    request: None,
                    subject: Some("ann".into()),
                }),
                ..AwakeView::default()
            }),
            rests_at_ms: Some(220_000),
            memory_bytes: Some(161 << 20),
            cpu_ms: Some(2340),
            template: "web".into(),
            ..SandboxView::default()
        };
        let asks = |path: &str| CauseView {
            kind: "request".into(),
            request: Some(format!("GET {path}")),
            subject: Some("eve".into()),
        };
        let used = SandboxView {
            tenant: "acme".into(),
            name: "user-eve".into(),
            state: "running".into(),
            since_ms: 40_000,
            awake: Some(AwakeView {
                in_flight: 2,
                keep_alive: true,
                last_activity_ms: Some(99_000),
                cause: Some(asks("/chat")),
                ..AwakeView::default()
            }),
            ..SandboxView::default()
        };
        let starting = SandboxView {
            tenant: "acme".into(),
            name: "user-eva".into(),
            state: "starting".into(),
            since_ms: 99_000,
            awake: Some(AwakeView { cause: Some(asks("/")), ..AwakeView::default() }),
            ..SandboxView::default()
        };
        let failed = SandboxView {
            tenant: "acme".into(),
            name: "user-bob".into(),
            state: "failed".into(),
            since_ms: 100_000,
            failure: Some("no such\x1b[2J file".into()),
            template: "web".into(),
            ..SandboxView::default()
        };
        let text = table(&[running, used, starting, failed], 100_000, Layout::Tabs);
        assert_eq!(
            text,
            "SANDBOX\tSTATE\tSINCE\tWHY\tRESTS IN\tMEMORY\tCPU TIME\tTEMPLATE\tTENANT\n\
             user-ann\trunning\t1m\t1 websocket, 1 visitor, websocket bytes by ann 3s ago\t2m\t161 MiB\t2.3s\tweb\tacme\n\
             user-eve\trunning\t1m\tkeep-alive, 2 requests, GET /chat by eve\t-\t-\t-\t-\tacme\n\
             user-eva\tstarting\t1s\tfor GET / by eve\t-\t-\t-\t-\tacme\n\
             user-bob\tfailed\t0s\tno such\u{fffd}[2J file\t-\t-\t-\tweb\tacme\n"
        );
    }
}
