//! The keeper program: part of this one, written to the state directory to be run.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The program itself, static; see `build.rs`.
pub(crate) const PROGRAM: &[u8] = include_bytes!(env!("TIDEGATE_KEEPER_PROGRAM"));

/// Puts the program into `directory` unless it is there, and returns its path.
/// Programs of other versions stay: keepers of theirs may be running.
pub(crate) fn install(directory: &Path) -> io::Result<PathBuf> {
    let mut name = String::from("keeper-");
    for byte in Sha256::digest(PROGRAM) {
        name.push_str(&format!("{byte:02x}"));
    }
    let path = directory.join(&name);
    if fs::read(&path).is_ok_and(|found| found == PROGRAM) {
        return Ok(path);
    }
    let new = directory.join(format!("{name}.{}", std::process::id()));
    fs::write(&new, PROGRAM)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    fs::rename(&new, &path)?;
    Ok(path)
}
