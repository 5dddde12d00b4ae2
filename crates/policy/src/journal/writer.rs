//! The thread that writes one journal.

use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Shared;
use super::file::Lines;

/// How often what was written is handed to the disk, and how long a write that failed
/// waits to be tried again.
const PACE: Duration = Duration::from_secs(1);

/// Writes what is appended until the last handle is dropped.
pub(super) fn run(shared: &Shared) {
    let mut lines = Lines::new(&shared.path);
    // Since when something was written that is not on the disk for sure.
    let mut dirty: Option<Instant> = None;
    while let Some(batch) = next(shared, dirty.map(|since| since + PACE)) {
        if !batch.is_empty() {
            if !write(shared, &mut lines, &batch) {
                return;
            }
            dirty.get_or_insert_with(Instant::now);
        }
        let idle = shared.lock().lines.is_empty();
        if dirty.is_some_and(|since| since.elapsed() >= PACE) || idle && is_closing(shared) {
            if let Err(error) = lines.synchronise() {
                tracing::warn!(file = %shared.path.display(), %error, "a journal is not on the disk");
            }
            dirty = None;
        }
        shared.lock().busy = false;
        shared.changed.notify_all();
    }
}

fn is_closing(shared: &Shared) -> bool {
    shared.lock().closing
}

/// Waits for lines, at most until `due`. Empty when nothing came; `None` when nothing
/// will any more.
fn next(shared: &Shared, due: Option<Instant>) -> Option<String> {
    let mut waiting = shared.lock();
    loop {
        if !waiting.lines.is_empty() {
            waiting.busy = true;
            return Some(std::mem::take(&mut waiting.lines));
        }
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero() || waiting.closing) {
            return Some(String::new());
        }
        if waiting.closing {
            return None;
        }
        waiting = match left {
            None => shared.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            Some(left) => {
                let waited = shared.changed.wait_timeout(waiting, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}

/// Writes `batch`, however long that takes; meanwhile lines are refused. `false` when
/// the last handle was dropped while it could not be written.
fn write(shared: &Shared, lines: &mut Lines, batch: &str) -> bool {
    let mut rest = batch;
    while !rest.is_empty() {
        let max_bytes = shared.max_bytes.load(Relaxed);
        let part = fitting(rest, max_bytes);
        match lines.append(part, max_bytes, shared.keep.load(Relaxed)) {
            Ok(()) => {
                shared.written.add(count(part));
                rest = rest.get(part.len()..).unwrap_or_default();
                if shared.broken.swap(false, Relaxed) {
                    let refused = shared.refused.get();
                    tracing::warn!(file = %shared.path.display(), refused, "a journal is written again");
                }
            }
            Err(error) => {
                say_once(shared, &error);
                if !pause(shared) {
                    shared.refused.add(count(rest));
                    return false;
                }
            }
        }
    }
    true
}

/// As many whole lines as a file may have, and at least one.
fn fitting(lines: &str, max_bytes: u64) -> &str {
    let most = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let Some(head) = lines.as_bytes().get(..most) else { return lines };
    let end = match head.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end,
        None => lines.find('\n').unwrap_or(lines.len().saturating_sub(1)),
    };
    lines.get(..=end).unwrap_or(lines)
}

fn count(lines: &str) -> u64 {
    lines.bytes().filter(|byte| *byte == b'\n').count() as u64
}

fn say_once(shared: &Shared, error: &io::Error) {
    if !shared.broken.swap(true, Relaxed) {
        tracing::error!(
            file = %shared.path.display(), %error,
            "a journal can't be written: its lines are refused until it can"
        );
        // Whoever waits for what can't be written now need not.
        shared.changed.notify_all();
    }
}

/// Waits for the next try. `false` when there is none.
fn pause(shared: &Shared) -> bool {
    let until = Instant::now() + PACE;
    let mut waiting = shared.lock();
    loop {
        if waiting.closing {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        let waited = shared.changed.wait_timeout(waiting, left);
        waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_divided_between_lines() {
        assert_eq!(fitting("a\nbb\nccc\n", 100), "a\nbb\nccc\n");
        assert_eq!(fitting("a\nbb\nccc\n", 8), "a\nbb\n");
        assert_eq!(fitting("a\nbb\nccc\n", 5), "a\nbb\n");
        assert_eq!(fitting("a\nbb\nccc\n", 4), "a\n");
        assert_eq!(fitting("long line\nb\n", 4), "long line\n");
        assert_eq!(fitting("long line\n", 0), "long line\n");
        assert_eq!(fitting("é\né\n", 1), "é\n");
    }
}
