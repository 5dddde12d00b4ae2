//! Looking for something inside the sandboxes: environment, files, memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use memchr::memmem::Finder;

use super::Gateway;

/// Where a sandbox has files of its own. The rest is the host's, or the template's.
const PRIVATE: &[&str] = &["home", "root", "tmp", "etc", "run", "var", "dev/shm"];

/// How much memory is read at once.
const CHUNK: usize = 1 << 20;

impl Gateway {
    /// Everything inside this gateway's sandboxes that contains `needle`: the
    /// environment, command line and memory of every process, and every file that
    /// is the sandbox's own. Needs the right to read them: root.
    #[must_use]
    pub fn find_inside(&self, needle: &str) -> Vec<String> {
        let finder = Finder::new(needle.as_bytes());
        let mut found = Vec::new();
        for pid in self.processes("") {
            let process = format!("/proc/{pid}");
            for file in ["environ", "cmdline"] {
                search_file(&Path::new(&process).join(file), &finder, &mut found);
            }
            for directory in PRIVATE {
                search_tree(&Path::new(&process).join("root").join(directory), &finder, &mut found);
            }
            if in_memory(&process, &finder) {
                found.push(format!("{process}/mem"));
            }
        }
        found
    }
}

fn search_tree(directory: &Path, finder: &Finder<'_>, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            search_tree(&entry.path(), finder, found);
        } else if kind.is_file() {
            search_file(&entry.path(), finder, found);
        }
    }
}

fn search_file(file: &Path, finder: &Finder<'_>, found: &mut Vec<String>) {
    let Ok(bytes) = fs::read(file) else { return };
    if finder.find(&bytes).is_some() {
        found.push(file.display().to_string());
    }
}

/// Whether what a process may write of its memory contains it.
fn in_memory(process: &str, finder: &Finder<'_>) -> bool {
    let Ok(maps) = fs::read_to_string(format!("{process}/maps")) else { return false };
    let Ok(memory) = File::open(format!("{process}/mem")) else { return false };
    let overlap = finder.needle().len();
    let mut buffer = vec![0; CHUNK + overlap];
    maps.lines().filter_map(writable).any(|(from, to)| {
        let mut at = from;
        while at < to {
            let wanted = usize::try_from(to - at).map_or(buffer.len(), |n| n.min(buffer.len()));
            // Pages that were never touched can't be read, and hold nothing.
            let read = memory.read_at(&mut buffer[..wanted], at).unwrap_or(0);
            if finder.find(&buffer[..read]).is_some() {
                return true;
            }
            at += CHUNK as u64;
        }
        false
    })
}

/// The range of a line of `maps` that is readable and writable.
fn writable(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split(' ');
    let (from, to) = words.next()?.split_once('-')?;
    words.next()?.starts_with("rw").then_some(())?;
    Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
}
