//! The cgroups of one run of a command.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_sandbox::driver::Stats;
use tidegate_types::Limits;

use super::{Role, Version};

/// The period that CPU time is handed out for, microseconds: the kernel's default.
const PERIOD: u64 = 100_000;

/// Removing is possible as soon as the kernel has let go of the last process,
/// which is a moment after its end was told.
const REMOVE_WITHIN: Duration = Duration::from_secs(5);

/// Directories, each once or more with what it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    parts: Vec<(Role, Version, PathBuf)>,
}

impl Group {
    pub(super) fn adopt(&mut self, role: Role, version: Version, directory: PathBuf) {
        self.parts.push((role, version, directory));
    }

    fn part(&self, role: Role) -> Option<(Version, &Path)> {
        let part = self.parts.iter().find(|(known, _, _)| *known == role);
        part.map(|(_, version, path)| (*version, path.as_path()))
    }

    fn directories(&self) -> Vec<&Path> {
        let mut all: Vec<_> = self.parts.iter().map(|(_, _, path)| path.as_path()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(super) fn limit(&self, role: Role, limits: &Limits) -> io::Result<()> {
        let Some((version, path)) = self.part(role) else { return Ok(()) };
        let write = |file: &str, value: String| fs::write(path.join(file), value);
        match (role, version) {
            (Role::Memory, Version::V1) => {
                let Some(bytes) = limits.memory else { return Ok(()) };
                write("memory.limit_in_bytes", bytes.to_string())?;
                // Memory and swap together; there without swap accounting: not there.
                ignore_missing(write("memory.memsw.limit_in_bytes", bytes.to_string()))
            }
            (Role::Memory, Version::V2) => {
                let Some(bytes) = limits.memory else { return Ok(()) };
                write("memory.max", bytes.to_string())?;
                ignore_missing(write("memory.swap.max", "0".into()))
            }
            (Role::Cpu, version) => {
                let Some(cores) = limits.cpu else { return Ok(()) };
                let quota = quota(cores);
                match version {
                    Version::V1 => {
                        write("cpu.cfs_period_us", PERIOD.to_string())?;
                        write("cpu.cfs_quota_us", quota.to_string())
                    }
                    Version::V2 => write("cpu.max", format!("{quota} {PERIOD}")),
                }
            }
            (Role::Pids, _) => {
                let Some(count) = limits.pids else { return Ok(()) };
                // Init is not the tenant's.
                write("pids.max", count.saturating_add(1).to_string())
            }
            (Role::CpuAccounts | Role::Freezer, _) => Ok(()),
        }
    }

    /// Puts a process, which has no children yet, into all of them.
    pub(crate) fn add(&self, pid: u32) -> io::Result<()> {
        for directory in self.directories() {
            fs::write(directory.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// Whether [`freeze`](Self::freeze) does anything.
    pub(crate) fn can_freeze(&self) -> bool {
        self.part(Role::Freezer).is_some()
    }

    /// Takes the CPU away; returns when that is so. Blocks for microseconds, or,
    /// in version 1, some milliseconds.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        self.freezer(true)
    }

    /// Undoes [`freeze`](Self::freeze).
    pub(crate) fn thaw(&self) -> io::Result<()> {
        self.freezer(false)
    }

    fn freezer(&self, frozen: bool) -> io::Result<()> {
        let Some((version, path)) = self.part(Role::Freezer) else { return Ok(()) };
        match (version, frozen) {
            (Version::V2, _) => {
                fs::write(path.join("cgroup.freeze"), if frozen { "1" } else { "0" })
            }
            (Version::V1, false) => fs::write(path.join("freezer.state"), "THAWED"),
            (Version::V1, true) => fs::write(path.join("freezer.state"), "FROZEN"),
        }
        .and_then(|()| if frozen { wait_until_frozen(version, path) } else { Ok(()) })
    }

    /// How often the memory limit has killed something.
    pub(crate) fn memory_kills(&self) -> u64 {
        let file = match self.part(Role::Memory) {
            Some((Version::V1, path)) => path.join("memory.oom_control"),
            Some((Version::V2, path)) => path.join("memory.events"),
            None => return 0,
        };
        fs::read_to_string(file).ok().and_then(|text| field(&text, "oom_kill")).unwrap_or(0)
    }

    /// What they account for; `None` for what they do not.
    pub(crate) fn stats(&self) -> Stats {
        let read = |path: PathBuf| fs::read_to_string(path).ok();
        let number = |path: PathBuf| read(path)?.trim().parse::<u64>().ok();
        let memory = self.part(Role::Memory).and_then(|(version, path)| {
            number(path.join(match version {
                Version::V1 => "memory.usage_in_bytes",
                Version::V2 => "memory.current",
            }))
        });
        let cpu = self.part(Role::CpuAccounts).and_then(|(version, path)| match version {
            Version::V1 => number(path.join("cpuacct.usage")).map(Duration::from_nanos),
            Version::V2 => read(path.join("cpu.stat"))
                .and_then(|text| field(&text, "usage_usec"))
                .map(Duration::from_micros),
        });
        let pids = self
            .part(Role::Pids)
            .and_then(|(_, path)| number(path.join("pids.current")))
            .and_then(|count| u32::try_from(count).ok());
        Stats { memory, cpu, pids, disk: None }
    }

    /// Removes them, waiting for the kernel to let go of the last process.
    pub(crate) async fn remove(&self) -> io::Result<()> {
        let deadline = tokio::time::Instant::now() + REMOVE_WITHIN;
        let mut pause = Duration::from_micros(200);
        loop {
            match self.remove_now() {
                None => return Ok(()),
                Some(error) if tokio::time::Instant::now() > deadline => return Err(error),
                // The kernel tells of an empty v1 cgroup by no event.
                Some(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Removes what can be removed and says what is in the way.
    pub(crate) fn remove_now(&self) -> Option<io::Error> {
        let mut problem = None;
        for directory in self.directories() {
            match fs::remove_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => problem = Some(error),
                _ => {}
            }
            // The last sandbox's parent goes too; with others in it, it stays.
            if let Some(parent) = directory.parent() {
                drop(fs::remove_dir(parent));
            }
        }
        problem
    }
}

fn quota(cores: f64) -> u64 {
    // The kernel's least is a millisecond. A float to int cast saturates.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let quota = (cores * 100_000.0) as u64;
    quota.max(1000)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn wait_until_frozen(version: Version, path: &Path) -> io::Result<()> {
    let deadline = std::time::Instant::now() + Duration::from_secs(2);
    loop {
        let frozen = match version {
            Version::V2 => {
                field(&fs::read_to_string(path.join("cgroup.events"))?, "frozen") == Some(1)
            }
            Version::V1 => fs::read_to_string(path.join("freezer.state"))?.trim() == "FROZEN",
        };
        if frozen {
            return Ok(());
        }
        if std::time::Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::yield_now();
    }
}
