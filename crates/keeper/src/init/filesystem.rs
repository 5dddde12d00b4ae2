//! Carries out a plan: from the machine's mounts to a root of the sandbox's own.
//!
//! Everything that comes from the machine is opened first, then the old root is
//! let go, and only then are paths walked: no link in a root directory or a bind
//! can lead out of what the sandbox may see.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use tidegate_keeper::plan::{Access, Origin, Owner, Plan, Step};
use tidegate_keeper::protocol::{APP_ID, Failure};
use tidegate_keeper::sys::mount::{Forbid, forbid};

use crate::failure::{During, failure};

/// Bytes of the root's own file system: directories, links and small files.
const ROOT_SIZE: &str = "4m";

/// Directories that surely exist, to put the new root on for a moment.
const STAGES: [&str; 4] = ["/tmp", "/run", "/usr", "/proc"];

/// Builds the file system of `plan` and makes it the root of this process.
pub(super) fn build(plan: &Plan, handed: Vec<OwnedFd>) -> Result<(), Failure> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .during("leaving the machine's mounts")?;
    let mut handed: Vec<_> = handed.into_iter().map(Some).collect();
    let mut origins = plan
        .steps
        .iter()
        .map(|step| match step {
            Step::Bind { from: Origin::Handed(number), .. } => handed
                .get_mut(usize::from(*number))
                .and_then(Option::take)
                .map(Some)
                .ok_or_else(|| failure("finding a handed mount", libc::EBADF)),
            Step::Bind { from: Origin::Machine(path), access, .. } => {
                clone(path, *access).map(Some).during(&format!("opening {path}"))
            }
            // A proc can only be made while another one is in full view.
            Step::Processes { .. } => Ok(Some(
                make("proc", &[], MountAttrFlags::MOUNT_ATTR_NOEXEC).during("making /proc")?,
            )),
            _ => Ok(None),
        })
        .collect::<Result<Vec<_>, Failure>>()?;

    enter_empty_root()?;
    for (step, origin) in plan.steps.iter().zip(&mut origins) {
        let name = name_of(step);
        carry_out(step, origin.take()).during(&name)?;
    }
    let sealed = Forbid { writing: true, devices: true, ..Forbid::default() };
    forbid(CWD, c"/", sealed).during("sealing the root")
}

fn enter_empty_root() -> Result<(), Failure> {
    let step = "making the root";
    let options = [("size", ROOT_SIZE), ("nr_inodes", "4k"), ("mode", "0755")];
    let root = make("tmpfs", &options, MountAttrFlags::empty()).during(step)?;
    let placed = STAGES.iter().any(|stage| {
        attach(&root, stage).and_then(|()| Ok(rustix::process::fchdir(&root)?)).is_ok()
    });
    if !placed {
        return Err(failure(step, libc::ENOENT));
    }
    // The old root lands on top of the new one, and from there it goes.
    rustix::process::pivot_root(".", ".").during("entering the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).during("leaving the machine's root")?;
    rustix::process::chdir("/").during("entering the root")
}

fn name_of(step: &Step) -> String {
    match step {
        Step::Directory { at, .. } | Step::File { at, .. } | Step::Link { at, .. } => {
            format!("making {at}")
        }
        Step::Bind { at, .. }
        | Step::Memory { at, .. }
        | Step::Processes { at }
        | Step::Terminals { at } => format!("mounting {at}"),
        Step::Seal { at } | Step::Hide { at } => format!("covering {at}"),
        Step::Unmount { at } => format!("unmounting {at}"),
    }
}

fn carry_out(step: &Step, origin: Option<OwnedFd>) -> io::Result<()> {
    match step {
        Step::Directory { at, mode } => {
            make_directories(at)?;
            Ok(rustix::fs::chmod(at.as_str(), Mode::from_raw_mode(*mode))?)
        }
        Step::Link { at, to } => {
            make_directories(parent(at))?;
            Ok(rustix::fs::symlink(to.as_str(), at.as_str())?)
        }
        Step::File { at, content } => {
            make_directories(parent(at))?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::open(at.as_str(), flags, Mode::from_raw_mode(0o644))?;
            io::Write::write_all(&mut std::fs::File::from(file), content)
        }
        Step::Bind { from, at, access } => {
            let tree = match (origin, from) {
                (Some(tree), _) => tree,
                (None, Origin::Inside(path)) => clone(path, *access)?,
                (None, _) => return Err(Errno::BADF.into()),
            };
            forbid(&tree, c"", forbidden(*access))?;
            make_mount_point(&tree, at)?;
            attach(&tree, at)
        }
        Step::Memory { at, size, mode, owner } => {
            let (size, mode) = (size.to_string(), format!("{mode:o}"));
            let app = APP_ID.to_string();
            let mut options = vec![("size", size.as_str()), ("mode", mode.as_str())];
            if *owner == Owner::App {
                options.extend([("uid", app.as_str()), ("gid", app.as_str())]);
            }
            make_directories(at)?;
            attach(&make("tmpfs", &options, MountAttrFlags::empty())?, at)
        }
        Step::Processes { at } => {
            make_directories(at)?;
            attach(&origin.ok_or(Errno::BADF)?, at)
        }
        Step::Terminals { at } => {
            make_directories(at)?;
            let options = [("ptmxmode", "0666"), ("mode", "0620")];
            attach(&make("devpts", &options, MountAttrFlags::MOUNT_ATTR_NOEXEC)?, at)
        }
        Step::Seal { at } => match clone(at, Access::ReadOnly) {
            Ok(tree) => {
                forbid(&tree, c"", forbidden(Access::ReadOnly))?;
                attach(&tree, at)
            }
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(error),
        },
        Step::Hide { at } => hide(at),
        Step::Unmount { at } => Ok(rustix::mount::unmount(at.as_str(), UnmountFlags::DETACH)?),
    }
}

fn forbidden(access: Access) -> Forbid {
    match access {
        Access::ReadOnly => {
            Forbid { writing: true, devices: true, executing: false, recursive: true }
        }
        Access::ReadWrite => Forbid { devices: true, ..Forbid::default() },
        Access::Device => Forbid { executing: true, ..Forbid::default() },
    }
}

fn hide(at: &str) -> io::Result<()> {
    let kind = match rustix::fs::lstat(at) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if kind == FileType::Directory {
        let options = [("size", "4k"), ("mode", "0555")];
        return attach(&make("tmpfs", &options, MountAttrFlags::MOUNT_ATTR_RDONLY)?, at);
    }
    let nothing = clone("/dev/null", Access::Device)?;
    attach(&nothing, at)
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// A detached copy of what is mounted at `path`.
fn clone(path: &str, access: Access) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if access == Access::ReadOnly {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

/// A detached new file system, without set-user-id programs and device nodes.
fn make(kind: &str, options: &[(&str, &str)], more: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(&context, *key, *value)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | more;
    // Devices cannot be made without privileges in the machine; what is bound into
    // a tmpfs keeps its own flags. devpts is nothing but devices.
    let flags = if kind == "devpts" { flags } else { flags | MountAttrFlags::MOUNT_ATTR_NODEV };
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

fn attach(tree: &OwnedFd, at: &str) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", CWD, at, flags)?)
}

fn make_mount_point(tree: &OwnedFd, at: &str) -> io::Result<()> {
    let stat = rustix::fs::statat(tree.as_fd(), "", AtFlags::EMPTY_PATH)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return make_directories(at);
    }
    make_directories(parent(at))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    match rustix::fs::open(at, flags, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        // A read-only directory: it must have the file already.
        Err(Errno::ROFS | Errno::ACCESS) if rustix::fs::lstat(at).is_ok() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn make_directories(at: &str) -> io::Result<()> {
    for (end, _) in at.match_indices('/').skip(1).chain([(at.len(), "")]) {
        let path = CString::new(at.get(..end).unwrap_or(at))?;
        if rustix::fs::stat(path.as_c_str()).is_ok() {
            continue;
        }
        match rustix::fs::mkdir(path.as_c_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn parent(at: &str) -> &str {
    at.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent })
}
