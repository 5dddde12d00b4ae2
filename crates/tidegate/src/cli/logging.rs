//! The gateway's own log, on standard error: for a person on a terminal, JSON
//! lines otherwise.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::failure::Failure;
use super::text::Tone;

/// What is logged when nobody says otherwise.
pub(super) const DEFAULT: &str = "info";

/// Starts logging. `filter` is a level, or directives such as
/// `info,tidegate_relay=debug`. A level alone is ours: compilers and protocol
/// libraries, which say a thousand lines at `debug`, stay at `warn`. Times are
/// UTC, RFC 3339.
pub(super) fn start(filter: &str) -> Result<(), Failure> {
    let directives = match filter.parse::<LevelFilter>() {
        // A target is matched by its beginning: all our crates begin so.
        Ok(level) => format!("warn,tidegate={level}"),
        Err(_) => filter.to_owned(),
    };
    let filter = EnvFilter::builder().parse(directives).map_err(|error| {
        Failure::wrong(
            format!("`--log {filter}` is not understood: {error}"),
            "Give error, warn, info, debug or trace, or directives such as `info,tidegate_relay=debug`",
        )
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let started = if io::stderr().is_terminal() {
        let colour = Tone::of_stderr() == Tone::Colour;
        let human = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colour);
        registry.with(human).try_init()
    } else {
        let json = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(io::stderr);
        registry.with(json).try_init()
    };
    // Nobody else starts a log in this process.
    started.map_err(|error| Failure::new(format!("cannot start the log: {error}"), ""))
}
