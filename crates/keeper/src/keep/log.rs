//! The output of the tenant's processes, bounded in size and in speed.
//!
//! The bytes are the tenant's and the work is the machine's, outside of the
//! sandbox's limits: so a program that writes without end is slowed down to
//! [`BYTES_PER_SECOND`] by not reading its pipe.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use tidegate_keeper::protocol::{LOG_FILE, LOG_FILE_BYTES, OLD_LOG_FILE};

const BYTES_PER_SECOND: u64 = 4 << 20;
const BURST: u64 = 4 << 20;
const CHUNK: usize = 16 << 10;

/// Two files in a directory; the newer one is written.
#[derive(Debug)]
pub(crate) struct Log {
    directory: OwnedFd,
    file: Option<File>,
    written: u64,
    allowance: u64,
    refilled: Instant,
}

/// What a [`Log::copy`] saw.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// Some bytes, or none for now.
    Some,
    /// The end: no process has the pipe open.
    End,
}

impl Log {
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self { directory, file: None, written: 0, allowance: BURST, refilled: Instant::now() }
    }

    /// How long not to read, so that the tenant stays within its speed.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let elapsed = self.refilled.elapsed();
        let earned = u64::try_from(elapsed.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_mul(BYTES_PER_SECOND / 1000);
        if earned > 0 {
            self.allowance = self.allowance.saturating_add(earned).min(BURST);
            self.refilled = Instant::now();
        }
        (self.allowance < CHUNK as u64).then_some(Duration::from_millis(20))
    }

    /// Reads once from the pipe and writes what came.
    pub(crate) fn copy(&mut self, pipe: &OwnedFd) -> Copied {
        let mut chunk = [0; CHUNK];
        match rustix::io::read(pipe, &mut chunk) {
            Ok(0) => Copied::End,
            Ok(read) => {
                self.allowance = self.allowance.saturating_sub(read as u64);
                // A full disk must not stop the tenant: what cannot be kept is lost.
                drop(self.append(chunk.get(..read).unwrap_or_default()));
                Copied::Some
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Copied::Some,
            Err(_) => Copied::End,
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        use std::io::Write;
        if self.written.saturating_add(bytes.len() as u64) > LOG_FILE_BYTES {
            self.file = None;
            rustix::fs::renameat(&self.directory, LOG_FILE, &self.directory, OLD_LOG_FILE)?;
        }
        if self.file.is_none() {
            let file = File::from(rustix::fs::openat(
                &self.directory,
                LOG_FILE,
                OFlags::WRONLY
                    | OFlags::APPEND
                    | OFlags::CREATE
                    | OFlags::CLOEXEC
                    | OFlags::NOFOLLOW,
                Mode::RUSR | Mode::WUSR,
            )?);
            self.written = file.metadata()?.len();
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        self.written += bytes.len() as u64;
        file.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_kept_in_two_files_of_bounded_size_and_the_newest_bytes_stay() {
        let directory = std::env::temp_dir().join(format!("tidegate-log-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let handle = OwnedFd::from(File::open(&directory).expect("opens"));
        let mut log = Log::new(handle);
        let line = vec![b'x'; 1 << 16];
        for _ in 0..200 {
            log.append(&line).expect("writes");
        }
        log.append(b"the end").expect("writes");
        let size = |name: &str| std::fs::metadata(directory.join(name)).expect(name).len();
        assert!(size(LOG_FILE) <= LOG_FILE_BYTES);
        assert!(size(OLD_LOG_FILE) <= LOG_FILE_BYTES);
        let newest = std::fs::read(directory.join(LOG_FILE)).expect("reads");
        assert!(newest.ends_with(b"the end"));
        std::fs::remove_dir_all(&directory).expect("cleans up");
    }
}
