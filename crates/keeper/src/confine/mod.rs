//! What a process of the sandbox gives up before it runs anything of the tenant's.

mod filter;
mod system_calls;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{CapabilitySet, CapabilitySets};
use tidegate_keeper::protocol::Failure;
use tidegate_keeper::sys::{process, restrict};

use crate::failure::During;

/// Beneath these, and nowhere else, landlock lets the tenant write.
const WRITABLE: [&str; 6] = ["/home", "/var", "/tmp", "/run", "/dev", "/proc"];

/// Becomes `user`, without any capability or a way to ever have one.
pub(crate) fn give_up_privileges(user: u32) -> Result<(), Failure> {
    let step = "giving up privileges";
    for number in 0..64u32 {
        // The kernel knows fewer than 64; EINVAL ends the list.
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error).during(step),
        }
    }
    rustix::thread::clear_ambient_capability_set().during(step)?;
    process::become_user(user).during(step)?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).during(step)?;
    rustix::thread::set_no_new_privs(true).during(step)
}

/// Refuses the system calls that `system_calls.rs` lists. The last thing before
/// an exec.
pub(crate) fn filter_system_calls() -> Result<(), Failure> {
    restrict::install_filter(&mut filter::program()).during("filtering system calls")
}

/// Restricts writing by landlock: a second wall behind read-only mounts.
pub(crate) fn write_where_allowed() -> Result<(), Failure> {
    let step = "restricting writes";
    let directories = WRITABLE
        .iter()
        .map(|path| {
            rustix::fs::open(
                *path,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        })
        .filter(|opened| !matches!(opened, Err(rustix::io::Errno::NOENT)))
        .collect::<Result<Vec<_>, _>>();
    restrict::write_only_beneath(&directories.during(step)?).during(step)
}
