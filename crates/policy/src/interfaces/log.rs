//! `log`: a plugin's lines in the gateway's log, bounded in length and rate.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::bindings::tidegate::host::log::{Host, Level};
use crate::state::State;

/// Bytes of one line.
const MAX_LINE: usize = 4 << 10;
/// Lines of one plugin in one second.
const MAX_RATE: u64 = 50;

/// How many lines a plugin wrote in the current second: the second in the upper
/// half, the count in the lower.
#[derive(Default)]
pub(crate) struct LogBudget(AtomicU64);

impl LogBudget {
    /// Whether one more line about `plugin` may be written now. Says in a line of its
    /// own how many were not, once that is over.
    pub(crate) fn grants(&self, plugin: &str) -> bool {
        let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (granted, left_out) = self.take(second);
        if left_out > 0 {
            tracing::warn!(plugin, left_out, "lines of a plugin were left out");
        }
        granted
    }

    /// Whether one more line may be written, and how many were left out in the
    /// second before this one.
    fn take(&self, second: u64) -> (bool, u64) {
        let mut left_out = 0;
        let mut count = 0;
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let (then, before) = (word >> 32, word & 0xffff_ffff);
            (left_out, count) = if then == second & 0xffff_ffff {
                (0, before.saturating_add(1).min(0xffff_ffff))
            } else {
                (before.saturating_sub(MAX_RATE), 1)
            };
            Some((second & 0xffff_ffff) << 32 | count)
        });
        (count <= MAX_RATE, left_out)
    }
}

impl Host for State {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.costly()?;
        let plugin = self.around.name.as_str();
        if !self.around.lasting.log.grants(plugin) {
            return Ok(());
        }
        let line = legible(&message);
        let decision = self.call.about.id.map(tracing::field::display);
        match level {
            Level::Trace => tracing::trace!(target: "plugin", plugin, decision, "{line}"),
            Level::Debug => tracing::debug!(target: "plugin", plugin, decision, "{line}"),
            Level::Info => tracing::info!(target: "plugin", plugin, decision, "{line}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, decision, "{line}"),
            Level::Error => tracing::error!(target: "plugin", plugin, decision, "{line}"),
        }
        Ok(())
    }
}

/// At most [`MAX_LINE`] bytes, in one line, without anything a terminal obeys.
fn legible(message: &str) -> String {
    let cut = message.floor_char_boundary(MAX_LINE);
    let kept = message.get(..cut).unwrap_or_default();
    kept.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_the_next_second_tells_how_much() {
        let budget = LogBudget::default();
        let written = (0..500).filter(|_| budget.take(7).0).count();
        assert_eq!(written, 50);
        assert_eq!(budget.take(8), (true, 450));
        assert_eq!(budget.take(8), (true, 0));
    }

    #[test]
    fn a_line_is_cut_between_characters_and_holds_no_control_characters() {
        assert_eq!(legible("a\n\x1b[31mb"), "a  [31mb");
        assert_eq!(legible(&"é".repeat(4_000)).len(), 4_096);
        assert_eq!(legible(&format!("x{}", "é".repeat(4_000))).len(), 4_095);
    }
}
