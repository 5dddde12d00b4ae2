//! The state directory: what outlives every process.
//!
//! ```text
//! layout                       version of all this
//! lock                         held by the process that uses it
//! bin/keeper-SHA256            the program of keeper and init
//! sandboxes/TENANT/NAME/
//!   record.json                whose it is and which users of the machine are its
//!   control.sock               its keeper
//!   log/output.log             newest output of its command; before that, .log.1
//!   files/{home,var,tmp}       what it may write
//!   disk.ext4                  holds `files` instead, when limits.disk is set
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidegate_keeper::protocol::Ids;
use tidegate_types::SandboxKey;

use crate::config::OpenError;
use crate::program;

/// Grows when an older tidegate would misread the directory.
const LAYOUT: u32 = 1;

/// Users of the machine for sandboxes begin here: above what distributions,
/// systemd and `/etc/subuid` hand out, below what is negative as 32-bit number.
const FIRST_ID: u32 = 0x7000_0000;
/// Users per sandbox.
const IDS_EACH: u32 = 8192;
/// How many ranges there are.
const RANGES: u32 = (0x8000_0000 - FIRST_ID) / IDS_EACH;

/// An open state directory.
#[derive(Debug)]
pub(crate) struct State {
    root: PathBuf,
    program: PathBuf,
    /// Tells this state directory's cgroups and loop devices from others'.
    tag: String,
    /// Ranges that records name; `None` where there is only one user.
    ranges: Option<Mutex<BTreeSet<u32>>>,
    /// Held for as long as this lives.
    _lock: File,
}

/// What is known of a sandbox for as long as any file of it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Whose it is.
    pub(crate) key: SandboxKey,
    /// Number of its range of users; absent without root.
    pub(crate) range: Option<u32>,
}

impl Record {
    /// Which users of the machine are its.
    pub(crate) fn ids(&self) -> Ids {
        match self.range {
            Some(range) => Ids::Range { first: FIRST_ID + range * IDS_EACH, count: IDS_EACH },
            None => Ids::Single,
        }
    }

    /// The user of the machine that `inside` is.
    pub(crate) fn user(&self, inside: u32) -> Option<u32> {
        match self.ids() {
            Ids::Range { first, .. } => Some(first + inside),
            Ids::Single => None,
        }
    }
}

impl State {
    pub(crate) fn open(root: &Path) -> Result<Self, OpenError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        make_root(root).map_err(io(root))?;
        let root = root.canonicalize().map_err(io(root))?;
        let lock_path = root.join("lock");
        let lock = File::create(&lock_path).map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: root }),
            Err(TryLockError::Error(source)) => {
                return Err(OpenError::Io { path: lock_path, source });
            }
        }
        check_layout(&root)?;
        for directory in ["bin", "sandboxes"] {
            let path = root.join(directory);
            make_directory(&path).map_err(io(&path))?;
        }
        let bin = root.join("bin");
        let program = program::install(&bin).map_err(io(&bin))?;
        let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let tag = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        let ranges = rustix::process::geteuid().is_root().then(Mutex::default);
        let state = Self { root, program, tag, ranges, _lock: lock };
        for record in state.records()? {
            if let (Some(ranges), Some(range)) = (&state.ranges, record.range) {
                ranges.lock().unwrap_or_else(PoisonError::into_inner).insert(range);
            }
        }
        Ok(state)
    }

    /// Every record there is.
    pub(crate) fn records(&self) -> Result<Vec<Record>, OpenError> {
        let all = self.root.join("sandboxes");
        let list = |path: &Path| -> Result<Vec<PathBuf>, OpenError> {
            let io = |source| OpenError::Io { path: path.to_owned(), source };
            let entries = fs::read_dir(path).map_err(io)?;
            entries.map(|entry| entry.map(|entry| entry.path()).map_err(io)).collect()
        };
        let mut records = Vec::new();
        for tenant in list(&all)? {
            for place in list(&tenant)? {
                let Some(record) = read_record(&place)? else { continue };
                if self.place(&record.key).directory != place {
                    let path = place.join("record.json");
                    let reason = format!("it is of another sandbox, `{}`", record.key);
                    return Err(OpenError::Damaged { path, reason });
                }
                records.push(record);
            }
        }
        Ok(records)
    }

    pub(crate) fn place(&self, key: &SandboxKey) -> Place {
        let tenant = self.root.join("sandboxes").join(key.tenant.path_component());
        Place { directory: tenant.join(key.name.as_str()), tenant }
    }

    /// Makes the sandbox's directory and its record, or reads the one it has.
    pub(crate) fn claim(&self, key: &SandboxKey) -> io::Result<(Place, Record)> {
        let place = self.place(key);
        make_directory(&place.tenant)?;
        make_directory(&place.directory)?;
        if let Some(record) = read_record(&place.directory).map_err(io::Error::other)? {
            return Ok((place, record));
        }
        let record = Record { key: key.clone(), range: self.free_range(key)? };
        let bytes = serde_json::to_vec_pretty(&record).map_err(io::Error::other)?;
        let new = place.directory.join("record.new");
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        // Files get this range's owners next: the record must not be lost before.
        file.sync_all()?;
        fs::rename(&new, place.record())?;
        File::open(&place.directory)?.sync_all()?;
        Ok((place, record))
    }

    fn free_range(&self, key: &SandboxKey) -> io::Result<Option<u32>> {
        let Some(ranges) = &self.ranges else { return Ok(None) };
        let mut used = ranges.lock().unwrap_or_else(PoisonError::into_inner);
        // Where to begin differs between state directories and sandboxes, so that
        // two gateways on one machine rarely use the same users.
        let seed = Sha256::digest(format!("{} {key}", self.tag));
        let start = seed.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let free = (0..RANGES)
            .map(|step| (start % RANGES + step) % RANGES)
            .find(|range| !used.contains(range))
            .ok_or_else(|| io::Error::other(format!("all {RANGES} ranges of users are in use")))?;
        used.insert(free);
        Ok(Some(free))
    }

    /// Forgets a sandbox whose files are gone.
    pub(crate) fn release(&self, record: &Record) {
        if let (Some(ranges), Some(range)) = (&self.ranges, record.range) {
            ranges.lock().unwrap_or_else(PoisonError::into_inner).remove(&range);
        }
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }
}

/// Where one sandbox's files are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Shared by the tenant's sandboxes.
    pub(crate) tenant: PathBuf,
    /// Its own.
    pub(crate) directory: PathBuf,
}

impl Place {
    pub(crate) fn record(&self) -> PathBuf {
        self.directory.join("record.json")
    }
    pub(crate) fn control(&self) -> PathBuf {
        self.directory.join(tidegate_keeper::protocol::CONTROL_SOCKET)
    }
    pub(crate) fn logs(&self) -> PathBuf {
        self.directory.join("log")
    }
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.join("files")
    }
    pub(crate) fn disk(&self) -> PathBuf {
        self.directory.join("disk.ext4")
    }
}

/// The record in a sandbox's directory; `None` when there is none, as after a
/// crash between making the directory and the record.
pub(crate) fn read_record(directory: &Path) -> Result<Option<Record>, OpenError> {
    let path = directory.join("record.json");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    let record: Record = serde_json::from_slice(&bytes)
        .map_err(|error| OpenError::Damaged { path: path.clone(), reason: error.to_string() })?;
    if record.range.is_some_and(|range| range >= RANGES) {
        return Err(OpenError::Damaged { path, reason: "its range does not exist".into() });
    }
    Ok(Some(record))
}

fn check_layout(root: &Path) -> Result<(), OpenError> {
    let path = root.join("layout");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim() == LAYOUT.to_string() => Ok(()),
        Ok(found) => Err(OpenError::Layout {
            path: root.to_owned(),
            found: found.trim().chars().take(20).collect(),
            known: LAYOUT,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(&path, format!("{LAYOUT}\n")).map_err(|source| OpenError::Io { path, source })
        }
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

/// The state directory itself. One that exists keeps its mode: it may be shared,
/// by mistake too, and everything of ours in it is closed to others by itself. But
/// whoever may write in it could put something else in our things' place.
fn make_root(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o711).recursive(true).create(path)?;
    if fs::metadata(path)?.permissions().mode() & 0o022 != 0 {
        let reason = "others may write in it: take that right away (chmod go-w), or use another \
                      directory";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(())
}

/// A directory that only we may enter; it may exist.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().mode(0o700).recursive(true).create(path)
        }
        Err(error) => Err(error),
    }
}
