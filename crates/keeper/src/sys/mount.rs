//! Flags of mounts.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// What a mount forbids.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forbid {
    /// Writing.
    pub writing: bool,
    /// Device nodes.
    pub devices: bool,
    /// Executing.
    pub executing: bool,
    /// With all mounts beneath it.
    pub recursive: bool,
}

/// Sets flags of the mount at `path` beneath `at` (or of `at` itself when `path`
/// is empty): set-user-id programs never work in it, and mounts made in it or in
/// its origin later do not spread.
///
/// # Errors
/// The system's: `mount_setattr(2)`.
pub fn forbid(at: impl AsFd, path: &CStr, what: Forbid) -> io::Result<()> {
    let mut set = libc::MOUNT_ATTR_NOSUID;
    if what.writing {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    if what.devices {
        set |= libc::MOUNT_ATTR_NODEV;
    }
    if what.executing {
        set |= libc::MOUNT_ATTR_NOEXEC;
    }
    let mut flags = libc::AT_SYMLINK_NOFOLLOW;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    if what.recursive {
        flags |= libc::AT_RECURSIVE;
    }
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: `path` is a C string, `attributes` a `mount_attr` whose size is the
    // last argument; the kernel only reads both during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_fd().as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
