//! What outlives the process: buckets that are not full, in `quota.redb` of the
//! state directory.
//!
//! Written once a second and at the end, in one transaction of what changed. After
//! a crash, what was used in its last second is forgotten: users regain at most
//! that, and never lose anything. What is written is how much is missing and when
//! that was so, on the wall: time that passes while the gateway is away refills.
//!
//! Levels are not in it: what is open or awake is seen anew.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tidegate_types::{LimitKind, Meter, SubjectId, TenantId};

use crate::books::{Books, Changes, Line};
use crate::bucket::Bucket;
use crate::shelf::{Gate, Owner, Saved, ShelfKey};

/// Version of everything below; another one is refused, never converted in place.
const FORMAT: u64 = 1;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
const BUCKETS: TableDefinition<'_, Key<'_>, Lack> = TableDefinition::new("buckets");

/// Tenant, subject (none: empty, which no subject is), meter, amount, period in
/// microseconds (0: a limit that is no rate), burst.
type Key<'a> = (&'a str, &'a str, &'a str, u64, u64, u64);
/// Units that are missing, and when, in Unix microseconds.
type Lack = (u128, u64);

/// Why quotas cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    /// It is no such ledger, or it was damaged.
    #[error(
        "the ledger of quotas `{}` is damaged ({reason}); nothing was changed: restore it from a \
         copy, or move it away to begin with nothing used", .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Another version of tidegate wrote it.
    #[error(
        "the ledger of quotas `{}` has format {found} and this version reads format {FORMAT}; \
         nothing was changed: use the version that wrote it, or move it away to begin with \
         nothing used", .path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// It cannot be read or written.
    #[error("the ledger of quotas `{}` cannot be read or written: {reason}", .path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// No thread could be started.
    #[error("the thread that saves quotas cannot be started: {0}")]
    Thread(String),
}

/// The open ledger.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    database: Database,
}

impl Ledger {
    /// Opens it, or makes it, and puts what it remembers into `books`.
    pub(crate) fn open(dir: &Path, books: &Books) -> Result<Self, QuotaError> {
        let path = dir.join("quota.redb");
        let access =
            |error: io::Error| QuotaError::Access { path: path.clone(), reason: error.to_string() };
        if !path.try_exists().map_err(access)? {
            create(&path)?;
        }
        // The library checks its own invariants by panicking where a file was
        // damaged in ways it did not foresee.
        let opened = std::panic::catch_unwind(|| {
            let database = Database::open(&path).map_err(|error| judge(&path, error))?;
            let remembered = read(&path, &database)?;
            Ok((database, remembered))
        });
        let (database, remembered) = opened.unwrap_or_else(|_| {
            let reason = "it contradicts itself".into();
            Err(QuotaError::Damaged { path: path.clone(), reason })
        })?;
        let (now, wall) = (books.now(), unix_micros(books.clock.wall()));
        for (line, (lack, at)) in remembered {
            let bucket = Bucket::restored(line.kind, lack, wall.saturating_sub(at), now);
            let gate = Gate::remembered(line.kind, bucket);
            books.put(line, gate);
        }
        Ok(Self { path, database })
    }

    /// Writes what changed, durably, in one transaction.
    pub(crate) fn write(&self, changes: &Changes, at: SystemTime) -> Result<(), QuotaError> {
        let at = unix_micros(at);
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut buckets = transaction.open_table(BUCKETS)?;
                for (line, saved) in changes {
                    match saved {
                        Saved::Lacks(units) => {
                            buckets.insert(key(line), (*units, at))?;
                        }
                        Saved::Full => {
                            buckets.remove(key(line))?;
                        }
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|error| QuotaError::Access {
            path: self.path.clone(),
            reason: error.to_string(),
        })
    }
}

/// Under another name until it is whole: a crash in between leaves no half-made
/// ledger that would then count as damaged.
fn create(path: &Path) -> Result<(), QuotaError> {
    let access =
        |error: io::Error| QuotaError::Access { path: path.to_owned(), reason: error.to_string() };
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&unfinished).map_err(access)?;
    let initialise = || -> Result<(), redb::Error> {
        let backend = redb::backends::FileBackend::new(file)?;
        let database = Database::builder().create_with_backend(backend)?;
        let transaction = database.begin_write()?;
        transaction.open_table(BUCKETS)?;
        transaction.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
        transaction.commit()?;
        Ok(())
    };
    initialise().map_err(|error| judge(path, error))?;
    std::fs::rename(&unfinished, path).map_err(access)
}

fn read(path: &Path, database: &Database) -> Result<Vec<(Line, Lack)>, QuotaError> {
    let read = || -> Result<Result<Vec<(Line, Lack)>, QuotaError>, redb::Error> {
        let damaged = |reason: String| QuotaError::Damaged { path: path.to_owned(), reason };
        let transaction = database.begin_read()?;
        let format = transaction.open_table(META)?.get(FORMAT_KEY)?.map(|it| it.value());
        match format {
            Some(FORMAT) => {}
            Some(found) => return Ok(Err(QuotaError::Version { path: path.to_owned(), found })),
            None => return Ok(Err(damaged("it does not say its format".into()))),
        }
        let mut lines = Vec::new();
        for entry in transaction.open_table(BUCKETS)?.iter()? {
            let (key, lack) = entry?;
            match line(key.value()) {
                Ok(line) => lines.push((line, lack.value())),
                Err(reason) => return Ok(Err(damaged(reason))),
            }
        }
        Ok(Ok(lines))
    };
    read().unwrap_or_else(|error| Err(judge(path, error)))
}

fn judge(path: &Path, error: impl Into<redb::Error>) -> QuotaError {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    let error = error.into();
    let (path, reason) = (path.to_owned(), error.to_string());
    match error {
        redb::Error::UpgradeRequired(found) => {
            QuotaError::Version { path, found: u64::from(found) }
        }
        redb::Error::Io(error) if !matches!(error.kind(), InvalidData | UnexpectedEof) => {
            QuotaError::Access { path, reason }
        }
        redb::Error::DatabaseAlreadyOpen => QuotaError::Access { path, reason },
        _ => QuotaError::Damaged { path, reason },
    }
}

fn key(line: &Line) -> Key<'_> {
    let ShelfKey { owner, meter } = &line.shelf;
    let subject = owner.subject.as_ref().map_or("", SubjectId::as_str);
    let (amount, per, burst) = match line.kind {
        LimitKind::Rate { amount, per, burst } => {
            (amount, u64::try_from(per.as_micros()).unwrap_or(u64::MAX).max(1), burst)
        }
        LimitKind::Ceiling(most) => (most, 0, 0),
    };
    (owner.tenant.as_str(), subject, meter.as_str(), amount, per, burst)
}

fn line((tenant, subject, meter, amount, per, burst): Key<'_>) -> Result<Line, String> {
    let name = |error: tidegate_types::BadName| error.to_string();
    let subject = match subject {
        "" => None,
        subject => Some(SubjectId::new(subject).map_err(name)?),
    };
    let known = Meter::ALL.iter().find(|known| known.as_str() == meter);
    let meter = *known.ok_or_else(|| format!("it counts `{meter}`, which is no meter"))?;
    let kind = match per {
        0 => LimitKind::Ceiling(amount),
        per => LimitKind::Rate { amount, per: Duration::from_micros(per), burst },
    };
    let owner = Owner { tenant: TenantId::new(tenant).map_err(name)?, subject };
    Ok(Line { shelf: ShelfKey { owner, meter }, kind })
}

fn unix_micros(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
