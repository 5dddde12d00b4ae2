//! Which sandboxes there are, durably: one record each, in `ledger.redb` of the
//! state directory.
//!
//! The registry writes here before it starts, rests or destroys a sandbox, and
//! reads only when it opens. One thread writes; what queues up while it waits for
//! the disk is committed together, so that a thousand starts at once are a few
//! transactions.
//!
//! **Not in here:** secrets' values (a record holds `secret:NAME` as it was
//! written), and anything that the machine itself knows better.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use tidegate_types::{Incarnation, Lifetime, SandboxKey, TemplateName};
use tokio::sync::{oneshot, watch};

/// Version of everything below; another one is refused, never converted in place.
const FORMAT: u64 = 1;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const SANDBOXES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("sandboxes");
const FORMAT_KEY: &str = "format";
/// The highest incarnation ever given, so that a name that was destroyed and is
/// made again gets a higher one.
const INCARNATION_KEY: &str = "incarnation";

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It is not one, or it was damaged.
    #[error(
        "the ledger `{}` is damaged ({reason}); nothing was changed: restore it from a copy, or \
         move it away to begin with no record of the sandboxes (their files stay)",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Another version of tidegate wrote it.
    #[error(
        "the ledger `{}` has format {found} and this version reads format {FORMAT}; nothing was \
         changed: use the version that wrote it, or another state directory",
        .path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// It cannot be read or written.
    #[error("the ledger `{}` cannot be read or written: {reason}", .path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
}

/// What is meant to become of a sandbox, whatever happens to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Intent {
    /// It runs, or is being started.
    Run,
    /// It rests until someone needs it.
    Rest,
    /// It is being removed.
    Destroy,
}

/// What is remembered of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: SandboxKey,
    pub(crate) incarnation: Incarnation,
    pub(crate) template: TemplateName,
    pub(crate) driver: String,
    pub(crate) lifetime: Option<Lifetime>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) intent: Intent,
    pub(crate) changed: SystemTime,
}

/// A record's form on disk, so that renaming a field of ours changes no file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    incarnation: u64,
    template: String,
    driver: String,
    lifetime: Option<StoredLifetime>,
    env: Vec<(String, String)>,
    labels: Vec<(String, String)>,
    intent: Intent,
    changed_unix_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredLifetime {
    KeepAlive,
    SleepAfterMs(u64),
}

enum Change {
    Put(Record),
    Remove(SandboxKey),
}

struct Job {
    change: Change,
    done: oneshot::Sender<Result<(), String>>,
}

/// The open ledger.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    /// `None` once it is closed.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    /// Ends with the writer.
    writer: watch::Receiver<()>,
}

/// What was in it.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) records: HashMap<SandboxKey, Record>,
    pub(crate) highest: Incarnation,
}

/// Why [`Ledger::open`] failed.
pub(crate) enum OpenFailure {
    InUse,
    Directory(PathBuf, io::Error),
    Ledger(LedgerError),
}

impl Ledger {
    /// Opens `DIR/ledger.redb`, or makes it. Blocks: not for an async task.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Contents), OpenFailure> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| OpenFailure::Directory(path, error)
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
        let lock_path = dir.join("ledger.lock");
        let lock = private().truncate(false).open(&lock_path).map_err(at(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => OpenFailure::InUse,
            std::fs::TryLockError::Error(error) => OpenFailure::Directory(lock_path, error),
        })?;
        let path = dir.join("ledger.redb");
        let (database, contents) = open_database(&path).map_err(OpenFailure::Ledger)?;
        let (jobs, queue) = mpsc::channel();
        let (alive, writer) = watch::channel(());
        let spawned = thread::Builder::new().name("tidegate-ledger".into()).spawn(move || {
            write_all(&database, &queue);
            // In this order: who gets the lock finds the file closed, and who hears
            // of the end finds the lock free.
            drop(database);
            drop(lock);
            drop(alive);
        });
        spawned.map_err(at(&path))?;
        Ok((Self { path, jobs: Mutex::new(Some(jobs)), writer }, contents))
    }

    /// Writes what is queued, then lets go of the state directory. What is put
    /// afterwards is refused.
    ///
    /// # Cancel safety
    /// When dropped, it closes all the same.
    pub(crate) async fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut writer = self.writer.clone();
        // Nothing is ever sent: this is the end.
        while writer.changed().await.is_ok() {}
    }

    /// Records a sandbox; it is on disk when this returns.
    ///
    /// # Cancel safety
    /// When dropped, it is written all the same.
    pub(crate) async fn put(&self, record: Record) -> Result<(), LedgerError> {
        self.change(Change::Put(record)).await
    }

    /// Forgets a sandbox, as durably.
    ///
    /// # Cancel safety
    /// As [`put`](Self::put).
    pub(crate) async fn remove(&self, key: &SandboxKey) -> Result<(), LedgerError> {
        self.change(Change::Remove(key.clone())).await
    }

    async fn change(&self, change: Change) -> Result<(), LedgerError> {
        let (done, written) = oneshot::channel();
        if let Some(jobs) = &*self.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            // A writer that is gone drops `done`, which is an answer too.
            let _ = jobs.send(Job { change, done });
        }
        let outcome = written.await.unwrap_or_else(|_| Err("it is closed".into()));
        outcome.map_err(|reason| LedgerError::Access { path: self.path.clone(), reason })
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

/// Reads before it writes: a file that is not an intact ledger of our format is
/// left as it is.
fn open_database(path: &Path) -> Result<(Database, Contents), LedgerError> {
    let access =
        |error: io::Error| LedgerError::Access { path: path.to_owned(), reason: error.to_string() };
    if !path.try_exists().map_err(access)? {
        // Under another name until it is whole: a crash in between leaves no
        // half-made ledger that would then count as damaged.
        let unfinished = path.with_extension("new");
        let file = private().truncate(true).open(&unfinished).map_err(access)?;
        let database = redb::backends::FileBackend::new(file)
            .and_then(|file| Database::builder().create_with_backend(file))
            .map_err(|error| judge(path, &error.into()))?;
        initialise(&database).map_err(|error| judge(path, &error))?;
        drop(database);
        std::fs::rename(&unfinished, path).map_err(access)?;
    }
    peek(path)?;
    // The library checks its own invariants by panicking where a file was damaged
    // in ways it did not foresee.
    let opened = std::panic::catch_unwind(|| {
        let database = Database::open(path).map_err(|error| judge(path, &error.into()))?;
        let contents = read_all(path, &database)?;
        Ok((database, contents))
    });
    opened.unwrap_or_else(|_| {
        Err(LedgerError::Damaged { path: path.to_owned(), reason: "it contradicts itself".into() })
    })
}

/// Refuses another format without writing a byte, where that can be told: after a
/// crash the file has to be repaired before it can be read.
fn peek(path: &Path) -> Result<(), LedgerError> {
    let format = std::panic::catch_unwind(|| {
        let database = redb::ReadOnlyDatabase::open(path).ok()?;
        let meta = database.begin_read().ok()?.open_table(META).ok()?;
        meta.get(FORMAT_KEY).ok()?.map(|format| format.value())
    });
    match format {
        Ok(Some(found)) if found != FORMAT => {
            Err(LedgerError::Version { path: path.to_owned(), found })
        }
        _ => Ok(()),
    }
}

fn initialise(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(SANDBOXES)?;
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT_KEY, FORMAT)?;
        meta.insert(INCARNATION_KEY, 0)?;
    }
    transaction.commit()?;
    Ok(())
}

fn judge(path: &Path, error: &redb::Error) -> LedgerError {
    let (path, reason) = (path.to_owned(), error.to_string());
    match error {
        redb::Error::UpgradeRequired(found) => {
            LedgerError::Version { path, found: u64::from(*found) }
        }
        redb::Error::Io(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            LedgerError::Access { path, reason }
        }
        redb::Error::DatabaseAlreadyOpen => LedgerError::Access { path, reason },
        _ => LedgerError::Damaged { path, reason },
    }
}

fn read_all(path: &Path, database: &Database) -> Result<Contents, LedgerError> {
    let damaged = |reason: String| LedgerError::Damaged { path: path.to_owned(), reason };
    let judged = |error: redb::Error| judge(path, &error);
    let transaction = database.begin_read().map_err(|e| judged(e.into()))?;
    let meta = transaction.open_table(META).map_err(|e| judged(e.into()))?;
    let read = |key| meta.get(key).map(|v| v.map(|v| v.value())).map_err(|e| judged(e.into()));
    match read(FORMAT_KEY)? {
        Some(FORMAT) => {}
        Some(found) => return Err(LedgerError::Version { path: path.to_owned(), found }),
        None => return Err(damaged("it does not say its format".into())),
    }
    let mut contents = Contents {
        highest: Incarnation(read(INCARNATION_KEY)?.unwrap_or_default()),
        ..Contents::default()
    };
    let sandboxes = transaction.open_table(SANDBOXES).map_err(|e| judged(e.into()))?;
    for entry in sandboxes.iter().map_err(|e| judged(e.into()))? {
        let (key, value) = entry.map_err(|e| judged(e.into()))?;
        let (tenant, name) = key.value();
        let record = decode(tenant, name, value.value())
            .map_err(|reason| damaged(format!("its record of `{tenant}/{name}`: {reason}")))?;
        contents.highest = contents.highest.max(record.incarnation);
        contents.records.insert(record.key.clone(), record);
    }
    Ok(contents)
}

/// Until every sender is gone.
fn write_all(database: &Database, queue: &mpsc::Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let jobs: Vec<Job> = std::iter::once(first).chain(queue.try_iter()).collect();
        let outcome = write(database, &jobs).map_err(|error| error.to_string());
        for job in jobs {
            // Who asked may have gone.
            let _ = job.done.send(outcome.clone());
        }
    }
}

fn write(database: &Database, jobs: &[Job]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut sandboxes = transaction.open_table(SANDBOXES)?;
        let mut meta = transaction.open_table(META)?;
        let mut highest = meta.get(INCARNATION_KEY)?.map_or(0, |v| v.value());
        for job in jobs {
            match &job.change {
                Change::Put(record) => {
                    let key = (record.key.tenant.as_str(), record.key.name.as_str());
                    let value =
                        encode(record).map_err(|error| redb::Error::Io(io::Error::other(error)))?;
                    sandboxes.insert(key, value.as_slice())?;
                    highest = highest.max(record.incarnation.0);
                }
                Change::Remove(key) => {
                    sandboxes.remove((key.tenant.as_str(), key.name.as_str()))?;
                }
            }
        }
        meta.insert(INCARNATION_KEY, highest)?;
    }
    transaction.commit()?;
    Ok(())
}

fn encode(record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    serde_json::to_vec(&Stored {
        incarnation: record.incarnation.0,
        template: record.template.as_str().to_owned(),
        driver: record.driver.clone(),
        lifetime: record.lifetime.map(|lifetime| match lifetime {
            Lifetime::KeepAlive => StoredLifetime::KeepAlive,
            Lifetime::SleepAfter(idle) => StoredLifetime::SleepAfterMs(millis(idle)),
        }),
        env: record.env.clone(),
        labels: record.labels.clone(),
        intent: record.intent,
        changed_unix_ms: millis(record.changed.duration_since(UNIX_EPOCH).unwrap_or_default()),
    })
}

fn decode(tenant: &str, name: &str, value: &[u8]) -> Result<Record, String> {
    let text = |error: tidegate_types::BadName| error.to_string();
    let stored: Stored = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    Ok(Record {
        key: SandboxKey {
            tenant: tenant.parse().map_err(text)?,
            name: name.parse().map_err(text)?,
        },
        incarnation: Incarnation(stored.incarnation),
        template: stored.template.parse().map_err(text)?,
        driver: stored.driver,
        lifetime: stored.lifetime.map(|lifetime| match lifetime {
            StoredLifetime::KeepAlive => Lifetime::KeepAlive,
            StoredLifetime::SleepAfterMs(ms) => Lifetime::SleepAfter(Duration::from_millis(ms)),
        }),
        env: stored.env,
        labels: stored.labels,
        intent: stored.intent,
        changed: UNIX_EPOCH + Duration::from_millis(stored.changed_unix_ms),
    })
}
