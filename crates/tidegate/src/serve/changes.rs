//! What may call for a reload: files that were written, and sources that moved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A file that was closed or renamed into place is whole; this long after, for
/// others that belong to it, it is read.
const WHOLE: Duration = Duration::from_millis(20);

/// Editors and compilers write a file in several steps. One that wasn't closed yet
/// is read this long after the last step all the same: a writer may keep it open.
const SETTLED: Duration = Duration::from_millis(150);

/// A file that never comes to rest is read after this long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something that may call for a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A file was touched.
    File(PathBuf, Step),
    /// The source of a plugin has something else now.
    Source,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is being written.
    Writing,
    /// Whoever wrote it is done.
    Written,
}

/// Watches directories.
pub(crate) struct Watch {
    folders: BTreeSet<PathBuf>,
    watcher: RecommendedWatcher,
}

impl Watch {
    /// Tells `changed` of everything that happens to `files` and their neighbours.
    /// Directories are watched, not files: a file that is replaced by renaming is
    /// another file.
    pub(crate) fn new(
        files: &BTreeSet<PathBuf>,
        changed: &mpsc::UnboundedSender<Change>,
    ) -> Option<Self> {
        let changed = changed.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let Some(step) = step(event.kind) else { return };
            for path in event.paths {
                // The receiver is gone when the gateway ends.
                let _ = changed.send(Change::File(path, step));
            }
        });
        let watcher = match watcher {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::warn!(%error, "files cannot be watched; SIGHUP reloads");
                return None;
            }
        };
        let mut watch = Self { folders: BTreeSet::new(), watcher };
        watch.follow(files);
        Some(watch)
    }

    /// Watches the folders of `files` from now on. Those that were watched already
    /// are so without a gap.
    pub(crate) fn follow(&mut self, files: &BTreeSet<PathBuf>) {
        let folders: BTreeSet<PathBuf> =
            files.iter().filter_map(|file| file.parent()).map(Path::to_owned).collect();
        for folder in self.folders.difference(&folders) {
            // It may be gone itself.
            let _ = self.watcher.unwatch(folder);
        }
        let mut watched: BTreeSet<PathBuf> = self.folders.intersection(&folders).cloned().collect();
        for folder in folders.difference(&self.folders) {
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(folder.clone());
                }
                Err(error) => {
                    tracing::warn!(%error, folder = %folder.display(), "cannot be watched");
                }
            }
        }
        self.folders = watched;
    }
}

fn step(kind: EventKind) -> Option<Step> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(
            RenameMode::To | RenameMode::Both | RenameMode::Any,
        ))
        | EventKind::Remove(_) => Some(Step::Written),
        EventKind::Access(_) => None,
        _ => Some(Step::Writing),
    }
}

/// Collects the changes that belong to `first`: until none of these files has
/// changed for a while. Other files of the same folders, a log perhaps, may change
/// all the time. Answers the files that changed.
pub(crate) async fn settled(
    first: (PathBuf, Step),
    watched: &BTreeSet<PathBuf>,
    changes: &mut mpsc::UnboundedReceiver<Change>,
) -> BTreeSet<PathBuf> {
    let patience = Instant::now() + PATIENCE;
    let (path, step) = first;
    let mut all = BTreeSet::from([path]);
    let mut quiet = Instant::now() + rest(step);
    while let Ok(Some(change)) = tokio::time::timeout_at(quiet.min(patience), changes.recv()).await
    {
        if let Change::File(path, step) = change
            && watched.contains(&path)
        {
            all.insert(path);
            quiet = Instant::now() + rest(step);
        }
    }
    all
}

fn rest(step: Step) -> Duration {
    match step {
        Step::Writing => SETTLED,
        Step::Written => WHOLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_neighbour_that_changes_all_the_time_does_not_hold_up_a_reload() {
        let (send, mut changes) = mpsc::unbounded_channel();
        let busy = tokio::spawn(async move {
            let path = PathBuf::from("/etc/tidegate/serve.log");
            while send.send(Change::File(path.clone(), Step::Writing)).is_ok() {
                tokio::time::sleep(SETTLED / 10).await;
            }
        });
        let file = PathBuf::from("/etc/tidegate/tidegate.toml");
        let watched = BTreeSet::from([file.clone()]);
        let changed = settled((file, Step::Writing), &watched, &mut changes).await;
        assert_eq!(changed, watched);
        assert!(!busy.is_finished(), "the neighbour still writes");
        drop(changes);
        busy.await.expect("it ends with its reader");
    }

    #[tokio::test]
    async fn what_was_written_together_is_read_together() {
        let (send, mut changes) = mpsc::unbounded_channel();
        let (one, two) = (PathBuf::from("/a/one.wasm"), PathBuf::from("/a/two.wasm"));
        let watched = BTreeSet::from([one.clone(), two.clone()]);
        send.send(Change::File(two, Step::Written)).expect("open");
        let changed = settled((one, Step::Written), &watched, &mut changes).await;
        assert_eq!(changed, watched);
    }

    #[tokio::test]
    async fn every_way_to_save_a_file_is_seen_as_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().canonicalize().expect("there");
        let file = dir.join("plugin.wasm");
        std::fs::write(&file, "0").expect("written");
        let (send, mut changes) = mpsc::unbounded_channel();
        let files = BTreeSet::from([file.clone()]);
        let _watch = Watch::new(&files, &send).expect("a watch");
        let mut written = async || loop {
            match changes.recv().await.expect("open") {
                Change::File(path, Step::Written) if path == file => return,
                _ => {}
            }
        };
        std::fs::write(&file, "1").expect("written");
        written().await;
        std::fs::write(dir.join(".tmp"), "2").expect("written");
        std::fs::rename(dir.join(".tmp"), &file).expect("renamed");
        written().await;
        std::fs::remove_file(&file).expect("removed");
        written().await;
    }
}
