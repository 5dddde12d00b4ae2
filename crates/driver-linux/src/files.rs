//! A sandbox's writable files: made with the right owners, emptied, removed.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};
use tidegate_keeper::protocol::APP_ID;

use crate::state::Record;

/// Makes `home`, `var` and `tmp` in the directory `top` where they are missing,
/// owned by the tenant's user, and empties `tmp`.
pub(crate) fn prepare(top: &OwnedFd, record: &Record) -> io::Result<()> {
    for (path, mode) in [
        ("home", 0o755),
        ("home/user", 0o700),
        ("var", 0o755),
        ("var/cache", 0o755),
        ("var/lib", 0o755),
        ("var/log", 0o755),
        ("var/tmp", 0o1777),
        ("tmp", 0o1777),
    ] {
        match rustix::fs::mkdirat(top, path, Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            // It is the tenant's now, and whatever they made of it stays.
            Err(rustix::io::Errno::EXIST) => continue,
            // Beneath something that the tenant replaced.
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => {
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(top, path, flags, Mode::empty())?;
        own(&made, record, APP_ID)?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?;
    }
    match rustix::fs::symlinkat("/run", top, "var/run") {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    empty(top.as_fd(), "tmp")
}

/// Gives `file` to the user that `inside` is.
pub(crate) fn own(file: &OwnedFd, record: &Record, inside: u32) -> io::Result<()> {
    if let Some(user) = record.user(inside) {
        rustix::fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))?;
    }
    Ok(())
}

/// Opens a directory of ours.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Removes `path` and everything in it, however deep and whatever its modes.
/// Follows no link and leaves no file system. What is missing is removed already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = match open_directory(parent) {
        Ok(parent) => parent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match empty(parent.as_fd(), name) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Empties the directory `name`.
///
/// A directory found in it is not descended into but moved up into it: tenants
/// can nest deeper than a stack, or a path, is long.
fn empty(parent: rustix::fd::BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let Some(top) = enter(parent, name)? else { return Ok(()) };
    let mut found = Found::default();
    clear(&top, &top, &mut found)?;
    while let Some(name) = found.queue.pop_front() {
        if let Some(directory) = enter(top.as_fd(), &name)? {
            clear(&directory, &top, &mut found)?;
        }
        rustix::fs::unlinkat(&top, &*name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Directories that were moved to the top and not yet removed.
#[derive(Default)]
struct Found {
    queue: VecDeque<String>,
    /// Every name that was ever given.
    names: HashSet<String>,
    number: u64,
}

/// Unlinks all files of `directory` and moves all directories to `top` under
/// names of ours, which go to `found`.
fn clear(directory: &OwnedFd, top: &OwnedFd, found: &mut Found) -> io::Result<()> {
    loop {
        let mut changed = false;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let ours = name.to_str().is_ok_and(|name| found.names.contains(name));
            if ours && std::ptr::eq(directory, top) {
                continue;
            }
            changed = true;
            let kind = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
            if FileType::from_raw_mode(kind) != FileType::Directory {
                rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
                continue;
            }
            // Moving a directory rewrites its `..`: it must be writable for that.
            allow(directory.as_fd(), name)?;
            let new = loop {
                found.number += 1;
                let new = format!(".tidegate-removed-{}", found.number);
                match rustix::fs::renameat_with(
                    directory,
                    name,
                    top,
                    &*new,
                    rustix::fs::RenameFlags::NOREPLACE,
                ) {
                    Ok(()) => break new,
                    Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            };
            found.names.insert(new.clone());
            found.queue.push_back(new);
        }
        // What is changed while it is read may be passed over: until nothing is.
        if !changed {
            return Ok(());
        }
    }
}

/// Opens the directory `name` with the right to empty it; `None` when it is none.
fn enter(parent: rustix::fd::BorrowedFd<'_>, name: &str) -> io::Result<Option<OwnedFd>> {
    let kind = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
    if FileType::from_raw_mode(kind) != FileType::Directory {
        return Ok(None);
    }
    allow(parent, std::ffi::CString::new(name)?.as_c_str())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(Some(rustix::fs::openat(parent, name, flags, Mode::empty())?))
}

/// Makes a directory that we own ours to change. Nobody is there to swap it for a
/// link meanwhile: the sandbox has ended.
fn allow(parent: rustix::fd::BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Ok(rustix::fs::chmodat(parent, name, Mode::from_raw_mode(0o700), AtFlags::empty())?)
}

/// Removes a directory that may be missing or, being shared, not empty.
pub(crate) fn remove_if_empty(path: &Path) {
    drop(fs::remove_dir(path));
}
