//! The file itself: appended to, rotated, found again when somebody moved it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file of whole lines.
pub(super) struct Lines {
    path: PathBuf,
    /// `None` until something is written, and after a failure.
    open: Option<Open>,
}

struct Open {
    file: File,
    size: u64,
    /// Device and inode: what tells that the name leads elsewhere now.
    identity: (u64, u64),
}

impl Lines {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), open: None }
    }

    /// Appends `lines`, whole lines each with its end; all of them or, as far as what
    /// is in the file goes, none. Rotates first where they would make it longer than
    /// `max_bytes`: a file is longer only where one line alone is.
    pub(super) fn append(&mut self, lines: &str, max_bytes: u64, keep: u32) -> io::Result<()> {
        let appended = self.try_append(lines, max_bytes, keep);
        if appended.is_err() {
            // Whatever it was, opening it anew finds out what is there now.
            self.open = None;
        }
        appended
    }

    fn try_append(&mut self, lines: &str, max_bytes: u64, keep: u32) -> io::Result<()> {
        let length = lines.len() as u64;
        let size = self.current()?.size;
        if size > 0 && size + length > max_bytes {
            self.rotate(keep)?;
        }
        let open = self.current()?;
        if let Err(error) = open.file.write_all(lines.as_bytes()) {
            // A disk that became full has taken a part. Nobody else writes here.
            let _ = open.file.set_len(open.size);
            return Err(error);
        }
        open.size += length;
        Ok(())
    }

    /// Hands what was written to the disk.
    pub(super) fn synchronise(&self) -> io::Result<()> {
        self.open.as_ref().map_or(Ok(()), |open| open.file.sync_data())
    }

    /// The file that the path leads to: another one when somebody moved or removed
    /// what was written to so far.
    fn current(&mut self) -> io::Result<&mut Open> {
        let identity = match std::fs::symlink_metadata(&self.path) {
            Ok(found) => Some((found.dev(), found.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let same = self.open.as_ref().is_some_and(|open| Some(open.identity) == identity);
        if !same {
            self.open = None;
        }
        match &mut self.open {
            Some(open) => Ok(open),
            closed => Ok(closed.insert(Open::at(&self.path)?)),
        }
    }

    /// Moves each file to the next number, the oldest first; what a crash leaves is a
    /// gap in the numbers, which the next rotation fills instead of moving what is
    /// beyond it.
    fn rotate(&mut self, keep: u32) -> io::Result<()> {
        self.synchronise()?;
        self.open = None;
        let mut surplus = keep.saturating_add(1);
        while remove(&self.numbered(surplus))? {
            surplus = surplus.saturating_add(1);
        }
        if keep == 0 {
            remove(&self.path)?;
            return Ok(());
        }
        let gap = (1..keep).find(|n| !exists(&self.numbered(*n))).unwrap_or(keep);
        for n in (1..gap).rev() {
            std::fs::rename(self.numbered(n), self.numbered(n + 1))?;
        }
        std::fs::rename(&self.path, self.numbered(1))
    }

    fn numbered(&self, n: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{n}"));
        path.into()
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() | rustix::fs::OFlags::NONBLOCK.bits();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(no_follow.cast_signed())
            .open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it isn't a regular file"));
        }
        let mut size = found.len();
        if size > 0 {
            // A line that was cut off by a crash gets an end, so that the next stands
            // for itself.
            let mut last = [0];
            file.seek(SeekFrom::Start(size - 1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                size += 1;
            }
        }
        Ok(Self { file, size, identity: (found.dev(), found.ino()) })
    }
}

fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// Whether there was such a file.
fn remove(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    struct Stage {
        directory: TempDir,
        lines: Lines,
    }

    impl Stage {
        fn new() -> Self {
            let directory = TempDir::new().expect("a directory");
            let lines = Lines::new(&directory.path().join("audit.jsonl"));
            Self { directory, lines }
        }

        fn append(&mut self, lines: &str, max_bytes: u64, keep: u32) {
            self.lines.append(lines, max_bytes, keep).expect("appended");
        }

        /// What is in each file, by name.
        fn files(&self) -> Vec<(String, String)> {
            let entries = std::fs::read_dir(self.directory.path()).expect("a directory");
            let mut files: Vec<_> = entries
                .map(|entry| {
                    let path = entry.expect("an entry").path();
                    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                    (name, std::fs::read_to_string(path).expect("text"))
                })
                .collect();
            files.sort();
            files
        }

        fn contents(&self) -> Vec<String> {
            self.files().into_iter().map(|(_, content)| content).collect()
        }
    }

    #[test]
    fn files_are_rotated_before_they_are_too_long_and_the_oldest_goes() {
        let mut stage = Stage::new();
        for line in ["a1\n", "a2\n", "b1\n", "b2\n", "c1\n", "c2\n", "d1\n"] {
            stage.append(line, 6, 2);
        }
        let files = stage.files();
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]);
        assert_eq!(stage.contents(), ["d1\n", "c1\nc2\n", "b1\nb2\n"]);
        // Fewer are kept from now on.
        stage.append("d2\ne1\n", 6, 1);
        assert_eq!(stage.contents(), ["d2\ne1\n", "d1\n"]);
        stage.append("f1\n", 6, 0);
        assert_eq!(stage.contents()[0], "f1\n");
    }

    #[test]
    fn a_line_longer_than_a_file_has_one_of_its_own() {
        let mut stage = Stage::new();
        for line in ["a\n", "much longer than that\n", "b\n"] {
            stage.append(line, 6, 5);
        }
        assert_eq!(stage.contents(), ["b\n", "much longer than that\n", "a\n"]);
    }

    #[test]
    fn a_gap_that_a_crash_left_is_filled_and_nothing_beyond_it_moves() {
        let mut stage = Stage::new();
        let at = |name: &str| stage.directory.path().join(name);
        // Killed after `.1` had become `.2` and before the current one became `.1`.
        std::fs::write(at("audit.jsonl"), "new\n").expect("written");
        std::fs::write(at("audit.jsonl.2"), "old\n").expect("written");
        stage.append("newest\n", 4, 3);
        assert_eq!(stage.contents(), ["newest\n", "new\n", "old\n"]);
    }

    #[test]
    fn a_file_that_somebody_moved_or_removed_is_made_anew() {
        let mut stage = Stage::new();
        stage.append("a\n", 1_000, 3);
        let path = stage.directory.path().join("audit.jsonl");
        std::fs::rename(&path, path.with_extension("moved")).expect("moved");
        stage.append("b\n", 1_000, 3);
        assert_eq!(stage.contents(), ["b\n", "a\n"]);
        std::fs::remove_file(&path).expect("removed");
        stage.append("c\n", 1_000, 3);
        assert_eq!(stage.contents(), ["c\n", "a\n"]);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_does_not_spoil_the_next() {
        let mut stage = Stage::new();
        let path = stage.directory.path().join("audit.jsonl");
        std::fs::write(&path, "whole\nhal").expect("written");
        stage.append("next\n", 1_000, 3);
        assert_eq!(stage.contents(), ["whole\nhal\nnext\n"]);
    }

    #[test]
    fn only_the_gateway_reads_it_and_a_link_is_not_followed() {
        let mut stage = Stage::new();
        stage.append("a\n", 1_000, 3);
        let path = stage.directory.path().join("audit.jsonl");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/dev/null", &path).expect("linked");
        assert!(stage.lines.append("b\n", 1_000, 3).is_err());
    }
}
