//! Lines in files that the operator granted, written by one thread each.
//!
//! ```text
//! append(line) ─▶ buffer (bounded) ─▶ writer thread ─▶ FILE, FILE.1, FILE.2 …
//!    never waits        a lock held to push      one write per batch
//! ```
//!
//! **What may be lost.** A line is in the file moments after it was appended: the
//! writer is woken at once and writes all that has gathered. A gateway that is killed
//! loses what it had not handed to the system yet, milliseconds' worth. A machine that
//! loses power loses at most the last second: the file is synchronised once a second
//! while anything is written, at each rotation and at the end. While the disk is full
//! lines are refused and counted; none is written in part.
//!
//! **Not in here:** what the lines say, compression, more than one process per file.

mod file;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tidegate_types::meter::Counter;

use crate::JournalGrant;

/// Bytes of one line. A longer one is refused: half of it would be no line.
pub(crate) const MAX_LINE: usize = 64 << 10;
/// Bytes that wait for the writer: what a burst may have while the disk is slow.
const MAX_WAITING: usize = 4 << 20;

/// Every journal that is in use, by its file: plugins that are granted one file share it.
#[derive(Default)]
pub(crate) struct Journals(Mutex<HashMap<PathBuf, Weak<Journal>>>);

/// One file of lines. Cheap to append to; dropping the last handle ends its writer
/// once everything is written.
pub(crate) struct Journal(Arc<Shared>);

/// What the handles and the writer share.
struct Shared {
    path: PathBuf,
    max_bytes: AtomicU64,
    keep: AtomicU32,
    waiting: Mutex<Waiting>,
    /// Told when `waiting` changed, in either direction.
    changed: Condvar,
    /// Whether the last write failed; lines are refused until one succeeds.
    broken: AtomicBool,
    written: Counter,
    refused: Counter,
}

#[derive(Default)]
struct Waiting {
    /// Whole lines, each with its line end.
    lines: String,
    /// Whether the writer has some that it took and has not finished with.
    busy: bool,
    closing: bool,
}

/// What became of the lines of one journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalStatus {
    /// The file.
    pub path: PathBuf,
    /// Lines in the file.
    pub written: u64,
    /// Lines that were refused: too long, or faster than the disk.
    pub refused: u64,
    /// Whether the last write failed.
    pub broken: bool,
}

impl Journals {
    /// The journal that `grant` is about, with its bounds.
    pub(crate) fn open(&self, grant: &JournalGrant) -> Arc<Journal> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, journal| journal.strong_count() > 0);
        if let Some(journal) = open.get(&grant.path).and_then(Weak::upgrade) {
            journal.0.max_bytes.store(grant.max_bytes, Relaxed);
            journal.0.keep.store(grant.keep, Relaxed);
            return journal;
        }
        let journal = Arc::new(Journal::begin(grant));
        open.insert(grant.path.clone(), Arc::downgrade(&journal));
        journal
    }

    /// Waits until all that was appended so far is in the files, at most for `within`.
    /// Says whether it is. Blocks.
    pub(crate) fn flush(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let open: Vec<_> = {
            let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            open.values().filter_map(Weak::upgrade).collect()
        };
        let flushed = open.iter().map(|journal| journal.flush(until)).collect::<Vec<_>>();
        flushed.into_iter().all(|flushed| flushed)
    }
}

impl Journal {
    fn begin(grant: &JournalGrant) -> Self {
        let shared = Arc::new(Shared::new(grant));
        let writes = Arc::clone(&shared);
        // Ends when the last handle is dropped.
        let started =
            std::thread::Builder::new().name("journal".into()).spawn(move || writer::run(&writes));
        if let Err(error) = started {
            tracing::error!(file = %shared.path.display(), %error, "a journal can't be written");
            shared.broken.store(true, Relaxed);
        }
        Self(shared)
    }

    /// Takes `line`, without its line end; control characters in it are replaced.
    /// `false` when it can't be written now. Never waits for the disk.
    pub(crate) fn append(&self, line: &str) -> bool {
        let Shared { broken, refused, changed, .. } = &*self.0;
        if line.len() > MAX_LINE || broken.load(Relaxed) {
            refused.add(1);
            return false;
        }
        let mut waiting = self.0.lock();
        if waiting.lines.len() + line.len() >= MAX_WAITING {
            drop(waiting);
            refused.add(1);
            return false;
        }
        if line.contains(char::is_control) {
            waiting.lines.extend(line.chars().map(|c| if c.is_control() { ' ' } else { c }));
        } else {
            waiting.lines.push_str(line);
        }
        waiting.lines.push('\n');
        drop(waiting);
        changed.notify_all();
        true
    }

    fn flush(&self, until: Instant) -> bool {
        let mut waiting = self.0.lock();
        while waiting.busy || !waiting.lines.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.0.broken.load(Relaxed) {
                return false;
            }
            (waiting, _) =
                self.0.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    pub(crate) fn status(&self) -> JournalStatus {
        let Shared { path, written, refused, broken, .. } = &*self.0;
        JournalStatus {
            path: path.clone(),
            written: written.get(),
            refused: refused.get(),
            broken: broken.load(Relaxed),
        }
    }
}

impl Shared {
    fn new(grant: &JournalGrant) -> Self {
        Self {
            path: grant.path.clone(),
            max_bytes: AtomicU64::new(grant.max_bytes),
            keep: AtomicU32::new(grant.keep),
            waiting: Mutex::default(),
            changed: Condvar::new(),
            broken: AtomicBool::new(false),
            written: Counter::default(),
            refused: Counter::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.0.lock().closing = true;
        self.0.changed.notify_all();
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Journal").field(&self.0.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    const THIS: &str =
        "journal::tests::a_full_disk_refuses_lines_and_writes_none_in_part_until_there_is_room";
    const DISK: &str = "TIDEGATE_TEST_SMALL_DISK";

    fn grant(path: &Path) -> JournalGrant {
        JournalGrant { path: path.to_owned(), max_bytes: 1 << 20, keep: 2 }
    }

    fn until(what: &str, there: impl Fn() -> bool) {
        let begun = Instant::now();
        while !there() {
            assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
            // The writer tells nobody but those who flush.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_was_appended_is_in_the_file_once_it_is_flushed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deep/er/lines");
        let journals = Journals::default();
        let journal = journals.open(&grant(&path));
        assert!(journal.append("one") && journal.append("t\nw\to"));
        assert!(!journal.append(&"x".repeat(MAX_LINE + 1)), "it is too long");
        assert!(journals.flush(Duration::from_secs(60)));
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "one\nt w o\n");
        let status = journal.status();
        assert_eq!((status.written, status.refused, status.broken), (2, 1, false));
        // Whoever is granted the same file writes to the same journal.
        assert!(Arc::ptr_eq(&journal, &journals.open(&grant(&path))));
    }

    #[test]
    fn lines_that_come_faster_than_they_are_written_are_refused() {
        // Without a writer: what it doesn't take stays.
        let journal = Journal(Arc::new(Shared::new(&grant(Path::new("/lines")))));
        journal.0.lock().lines = "x".repeat(MAX_WAITING - 10);
        assert!(!journal.append("longer than that"));
        assert_eq!(journal.status().refused, 1);
    }

    /// Runs itself once more where a disk is small, which takes the right to mount one.
    #[test]
    fn a_full_disk_refuses_lines_and_writes_none_in_part_until_there_is_room() {
        if let Some(disk) = std::env::var_os(DISK) {
            return on_a_small_disk(Path::new(&disk));
        }
        let disk = tempfile::tempdir().expect("a directory");
        let mounted = "mount -t tmpfs -o size=64k tmpfs \"$0\" && exec \"$@\"";
        let ran = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", mounted])
            .arg(disk.path())
            .arg(std::env::current_exe().expect("this test"))
            .args(["--exact", THIS, "--nocapture"])
            .env(DISK, disk.path())
            .output();
        match ran {
            Ok(ran) => {
                let said = String::from_utf8_lossy(&ran.stdout);
                let said = format!("{said}{}", String::from_utf8_lossy(&ran.stderr));
                if said.contains("test result:") {
                    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
                } else {
                    println!("SKIPPED: no small disk can be mounted here: {said}");
                }
            }
            Err(error) => println!("SKIPPED: no small disk can be mounted here: {error}"),
        }
    }

    fn on_a_small_disk(disk: &Path) {
        let (filler, path) = (disk.join("filler"), disk.join("lines"));
        std::fs::write(&filler, vec![0; 32 << 10]).expect("there is room");
        let journals = Journals::default();
        let journal = journals.open(&grant(&path));
        until("a full disk", || {
            journal.append(&format!("{:01000}", 7));
            journal.status().broken
        });
        let whole = |text: &str| text.ends_with('\n') && text.lines().all(|it| it.len() == 1_000);
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(whole(&text), "{} bytes", text.len());
        assert_eq!(text.lines().count() as u64, journal.status().written);
        assert!(!journal.append("refused"), "it is not taken and lost");

        std::fs::remove_file(&filler).expect("removed");
        until("room again", || !journal.status().broken);
        assert!(journal.append(&format!("{:01000}", 8)));
        assert!(journals.flush(Duration::from_secs(60)));
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(whole(&text) && text.ends_with("8\n"), "{} bytes", text.len());
        assert_eq!(text.lines().count() as u64, journal.status().written);
    }
}
