//! A disk of limited size: a sparse ext4 image on a loop device.
//!
//! The device is held open by the keeper, and the file system is mounted in the
//! sandbox's mount namespace only: when both are gone the kernel detaches it, and
//! the machine's mount table never shows it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use tidegate_keeper::sys::loops;

use crate::state::Place;

const MAKE: &str = "mkfs.ext4";
const DETACHES_WITHIN: Duration = Duration::from_secs(10);

/// Whether disks can be limited here: how, or why not.
pub(crate) fn offered() -> Result<String, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can mount a disk of limited size".into());
    }
    if let Err(error) = fs::metadata("/dev/loop-control") {
        return Err(format!("there are no loop devices (/dev/loop-control: {error})"));
    }
    let found = Command::new(MAKE).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(_) => Ok("ext4 images on loop devices".into()),
        Err(error) => Err(format!("`{MAKE}` cannot be run: {error}")),
    }
}

/// Makes the image of `bytes` unless it is there, and puts it on a loop device.
/// Blocks for some 200 ms the first time.
pub(crate) fn attach(place: &Place, bytes: u64) -> io::Result<OwnedFd> {
    let image = place.disk();
    if !exists(place) {
        let new = place.directory.join("disk.new");
        // Another file each time: what a gateway that was killed had begun to make
        // may still be being written.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.set_len(bytes)?;
        let made = Command::new(MAKE)
            .args(["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"])
            .arg(&new)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()?;
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr);
            return Err(io::Error::other(format!("{MAKE}: {}", why.trim())));
        }
        fs::rename(&new, &image)?;
    }
    // Twice on two devices would destroy it.
    wait_until_free(place)?;
    let file = OpenOptions::new().read(true).write(true).open(&image)?;
    Ok(loops::attach(file)?.0)
}

/// Whether the sandbox has a disk of its own.
pub(crate) fn exists(place: &Place) -> bool {
    fs::symlink_metadata(place.disk()).is_ok()
}

/// Mounts the disk, which its keeper has attached, nowhere: a detached mount.
pub(crate) fn mount(place: &Place) -> io::Result<OwnedFd> {
    let number = device(place)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "its disk is not attached"))?;
    let context = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", format!("/dev/loop{number}"))?;
    rustix::mount::fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

/// The number of the loop device that the disk is on.
fn device(place: &Place) -> io::Result<Option<u32>> {
    if !exists(place) {
        return Ok(None);
    }
    let image = place.disk().canonicalize()?;
    for entry in fs::read_dir("/sys/block")?.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
        let Some(number) = number else { continue };
        let backing = fs::read_to_string(entry.path().join("loop/backing_file"));
        if backing.is_ok_and(|path| std::path::Path::new(path.trim_end()) == image) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Waits until no loop device uses the disk: the kernel unmounts after the last
/// process has ended, not before it says so. Blocks.
pub(crate) fn wait_until_free(place: &Place) -> io::Result<()> {
    let deadline = Instant::now() + DETACHES_WITHIN;
    while device(place)?.is_some() {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "its disk stays in use"));
        }
        // There is no event for it.
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Bytes that the disk takes; `None` for a sandbox without one.
pub(crate) fn used(place: &Place) -> Option<u64> {
    File::open(place.disk()).and_then(|file| file.metadata()).ok().map(|m| m.blocks() * 512)
}
