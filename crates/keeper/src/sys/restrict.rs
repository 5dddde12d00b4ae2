//! Restrictions that a process takes upon itself for good: seccomp and landlock.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// One instruction of a seccomp program.
pub type Instruction = libc::sock_filter;

/// Installs a seccomp program. `no_new_privs` must be set.
///
/// # Errors
/// The system's; `InvalidInput` for more than 65,535 instructions.
pub fn install_filter(program: &mut [Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: `program` points to `len` instructions, which the kernel copies and
    // verifies during the call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0usize, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Kinds of file access that landlock knows, as its header numbers them.
pub mod access {
    /// Opening for writing.
    pub const WRITE_FILE: u64 = 1 << 1;
    /// Removing and making anything.
    pub const REMOVE_AND_MAKE: u64 = 0x1ff0;
    /// Linking and renaming between directories (ABI 2).
    pub const REFER: u64 = 1 << 13;
    /// Truncating (ABI 3).
    pub const TRUNCATE: u64 = 1 << 14;
}

/// Abstract Unix sockets of others cannot be connected to (ABI 6).
const SCOPE_ABSTRACT_SOCKETS: u64 = 1 << 0;
/// Others cannot be sent signals (ABI 6).
const SCOPE_SIGNALS: u64 = 1 << 1;
const RULE_PATH_BENEATH: u32 = 1;
const CREATE_RULESET_VERSION: u32 = 1;

#[repr(C)]
struct RulesetAttributes {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// Which landlock the kernel has; 0 is none.
#[must_use]
pub fn landlock_version() -> u32 {
    // SAFETY: with this flag the kernel wants a null pointer of size 0.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttributes>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).unwrap_or(0)
}

/// Allows this process and its children to write only beneath `writable`, and to
/// reach no abstract socket and no process but their own, as far as the kernel's
/// landlock goes. `no_new_privs` must be set. Without landlock nothing happens.
///
/// # Errors
/// The system's.
pub fn write_only_beneath(writable: &[OwnedFd]) -> io::Result<()> {
    let version = landlock_version();
    if version == 0 {
        return Ok(());
    }
    let mut rights = access::WRITE_FILE | access::REMOVE_AND_MAKE;
    if version >= 2 {
        rights |= access::REFER;
    }
    if version >= 3 {
        rights |= access::TRUNCATE;
    }
    let scoped = if version >= 6 { SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS } else { 0 };
    let attributes = RulesetAttributes { handled_access_fs: rights, handled_access_net: 0, scoped };
    // An older kernel refuses a larger structure unless the rest is zero: it is.
    // SAFETY: the pointer is to a structure of the stated size; a new descriptor
    // is returned, ours alone.
    let ruleset = unsafe {
        let fd = libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            size_of::<RulesetAttributes>(),
            0u32,
        );
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?)
    };
    for directory in writable {
        let rule = PathBeneath { allowed_access: rights, parent_fd: directory.as_raw_fd() };
        // SAFETY: the pointer is to a structure of the form that the kind of rule
        // asks for; the kernel only reads it.
        let result = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                ruleset.as_raw_fd(),
                RULE_PATH_BENEATH,
                &raw const rule,
                0u32,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: takes a descriptor and a flag word.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
