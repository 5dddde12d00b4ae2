//! What this machine offers: found out by trying.

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cgroup::{Cgroups, Role};
use crate::{disk, program};

/// What this machine offers for sandboxes and what it does not, with the reason.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// One per thing that was looked at, in the order of importance.
    pub findings: Vec<Finding>,
}

impl Probe {
    /// Whether sandboxes can run at all.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.findings.iter().all(|f| f.works || !f.needed)
    }
}

/// One thing of a machine that sandboxes use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What: `namespaces`, `memory limit`.
    pub what: &'static str,
    /// Whether it works here.
    pub works: bool,
    /// Whether sandboxes cannot run without it.
    pub needed: bool,
    /// How it is done, or why it is not there and what to do.
    pub detail: String,
}

/// What was tried once, when the driver was made. The errors are whole sentences
/// without their period.
#[derive(Debug)]
pub(crate) struct Offers {
    pub(crate) namespaces: Result<(), String>,
    pub(crate) disk_limit: Result<String, String>,
}

impl Offers {
    pub(crate) fn of(program: &Path) -> Self {
        Self { namespaces: namespaces(program), disk_limit: disk::offered() }
    }
}

pub(crate) fn probe() -> Probe {
    let cgroups = Cgroups::discover("probe");
    let finding = |what, result: Result<String, String>, needed| Finding {
        what,
        works: result.is_ok(),
        needed,
        detail: result.unwrap_or_else(|why| why),
    };
    let role = |role| match cgroups.has(role) {
        true => Ok(cgroups.describe(role)),
        false => Err(cgroups.describe(role)),
    };
    let users = match rustix::process::geteuid().is_root() {
        true => Ok("each sandbox has users of the machine of its own".to_owned()),
        false => Err("all sandboxes are the gateway's user; run as root to separate them".into()),
    };
    let landlock = match tidegate_keeper::sys::restrict::landlock_version() {
        0 => Err("the kernel has none; read-only mounts are the only wall then".to_owned()),
        version => Ok(format!("version {version}")),
    };
    let pids = role(Role::Pids).or_else(|why| Ok(format!("by resource limits; {why}")));
    let freezing = role(Role::Freezer).or_else(|why| Ok(format!("by SIGSTOP; {why}")));
    let findings = vec![
        finding(
            "namespaces",
            in_memory_namespaces().map(|()| "user, pid, mount, net, ipc, uts".into()),
            true,
        ),
        finding("separate users", users, false),
        finding("memory limit", role(Role::Memory), false),
        finding("cpu limit", role(Role::Cpu), false),
        finding("process limit", pids, false),
        finding("disk limit", disk::offered(), false),
        finding("freezing", freezing, false),
        finding("landlock", landlock, false),
    ];
    Probe { findings }
}

/// Tries with the program in memory: nothing is written anywhere.
fn in_memory_namespaces() -> Result<(), String> {
    let file = rustix::fs::memfd_create("tidegate-keeper", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|error| error.to_string())?;
    let mut file = std::fs::File::from(file);
    file.write_all(program::PROGRAM).map_err(|error| error.to_string())?;
    // It is opened before the exec closes it.
    namespaces(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))
}

fn namespaces(program: &Path) -> Result<(), String> {
    let output = Command::new(program)
        .arg("probe")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("the keeper cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let (number, step) = said.trim().split_once(' ').unwrap_or(("0", "making namespaces"));
    let error = io::Error::from_raw_os_error(number.parse().unwrap_or(0));
    Err(format!("{step}: {error}"))
}
