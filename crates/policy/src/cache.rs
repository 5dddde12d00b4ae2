//! Compiled components between starts. An entry is a checksum and what the
//! compiler made; it is called after the component's digest and the engine's
//! settings, so it is never wrong, only missing.
//!
//! The directory's content is run as machine code: it is used only while nobody
//! but this process' user can write it. Nothing in it comes from outside.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::sys;

/// How many entries are kept; the oldest go first.
const KEPT: usize = 64;
const CHECKSUM: usize = 32;

/// A directory of compiled components, or none.
pub(crate) struct Cache {
    dir: Option<PathBuf>,
}

/// The content of an entry whose checksum was right, in a directory of our own.
pub(crate) struct Genuine {
    entry: Vec<u8>,
}

impl Genuine {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.entry.get(CHECKSUM..).unwrap_or_default()
    }
}

impl Cache {
    /// Uses `dir`, making it where it doesn't exist. A directory that can't be
    /// trusted or made is not used, and the log says why: compiling anew is slow,
    /// not wrong.
    pub(crate) fn open(dir: Option<PathBuf>) -> Self {
        let dir = dir.filter(|dir| {
            prepare(dir)
                .inspect_err(|error| {
                    tracing::warn!(
                        dir = %dir.display(),
                        %error,
                        "compiled plugins are not kept; every start compiles them"
                    );
                })
                .is_ok()
        });
        Self { dir }
    }

    /// The component in `bytes`, out of the cache where it is there.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        bytes: &[u8],
        sha256: &str,
    ) -> wasmtime::Result<Component> {
        let Some(dir) = &self.dir else { return Component::new(engine, bytes) };
        let path = dir.join(format!("{sha256}-{:016x}.cwasm", settings(engine)));
        if let Some(genuine) = read(&path) {
            match sys::deserialize(engine, &genuine) {
                Ok(component) => return Ok(component),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "compiled plugin not usable");
                }
            }
        }
        let component = Component::new(engine, bytes)?;
        if let Err(error) = write(dir, &path, &component.serialize()?) {
            tracing::warn!(path = %path.display(), %error, "compiled plugin not kept");
        }
        prune(dir);
        Ok(component)
    }
}

fn prepare(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let found = fs::symlink_metadata(dir)?;
    if !found.is_dir() {
        return Err(io::Error::other("it is not a directory"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(io::Error::other("others than the gateway's user may write into it"));
    }
    Ok(())
}

/// Engine version, target and every setting that machine code depends on.
fn settings(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// `None` when there is no entry or it is damaged; the damaged is removed.
fn read(path: &Path) -> Option<Genuine> {
    let entry = fs::read(path).ok()?;
    let genuine = entry
        .split_at_checked(CHECKSUM)
        .is_some_and(|(checksum, content)| Sha256::digest(content).as_slice() == checksum);
    if genuine {
        return Some(Genuine { entry });
    }
    tracing::warn!(path = %path.display(), "a compiled plugin was damaged; compiling it anew");
    let _ = fs::remove_file(path);
    None
}

/// Whole or not at all, also when several processes write the same entry.
fn write(dir: &Path, path: &Path, artefact: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!(".{:016x}.tmp", rand::random::<u64>()));
    let written = (|| {
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&Sha256::digest(artefact))?;
        file.write_all(artefact)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Drops the oldest entries beyond [`KEPT`]. Best effort: a leftover is only space.
fn prune(dir: &Path) {
    let Ok(files) = fs::read_dir(dir) else { return };
    let mut entries: Vec<_> = files
        .flatten()
        .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
        .collect();
    entries.sort_unstable();
    let surplus = entries.len().saturating_sub(KEPT);
    for (_, path) in entries.into_iter().take(surplus) {
        let _ = fs::remove_file(path);
    }
}
