//! The whole: accounts for the request path, readings from the sampler, a listing
//! for operators, and the thread that saves.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tidegate_types::meter::Counter;
use tidegate_types::{Identity, Limit, Meter, SubjectId, TenantId};

use crate::account::Account;
use crate::books::{Books, Changes};
use crate::clock::{Clock, Monotonic};
use crate::ledger::{Ledger, QuotaError};
use crate::level::Level;
use crate::shelf::{Owner, ShelfKey};
use crate::usage::{self, Usage};

/// What is used is saved that often; a crash forgets at most what was used since.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// What quotas need to begin.
#[derive(Debug)]
pub struct QuotaConfig {
    /// Where `quota.redb` is, or will be; the directory exists.
    pub state_dir: PathBuf,
    /// What buckets are filled by.
    pub clock: Arc<dyn Clock>,
}

impl QuotaConfig {
    /// With the system's clock.
    #[must_use]
    pub fn new(state_dir: PathBuf) -> Self {
        Self { state_dir, clock: Arc::new(Monotonic::default()) }
    }
}

/// What one sandbox uses now, for the meters that are measured.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Whose it is.
    pub tenant: TenantId,
    /// Who used it last, where that is known.
    pub subject: Option<SubjectId>,
    /// How much: bytes, processes.
    pub value: u64,
}

/// Everything that is counted. One per gateway.
pub struct Quotas {
    books: Arc<Books>,
    saves: Arc<Counter>,
    saver: Mutex<Option<Saver>>,
}

struct Saver {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (accounts, shelves) = self.books.sizes();
        f.debug_struct("Quotas")
            .field("accounts", &accounts)
            .field("shelves", &shelves)
            .finish_non_exhaustive()
    }
}

impl Quotas {
    /// Reads the ledger, or makes one, and begins to save to it. Blocks: not for an
    /// async task.
    ///
    /// Time that passed since the ledger was written has refilled the buckets; a
    /// wall clock that was set back counts as no time.
    ///
    /// # Errors
    /// [`QuotaError`]; nothing was changed then.
    pub fn open(config: QuotaConfig) -> Result<Arc<Self>, QuotaError> {
        let QuotaConfig { state_dir, clock } = config;
        let books = Books::new(clock);
        let ledger = Ledger::open(&state_dir, &books)?;
        let saves = Arc::new(Counter::default());
        let (stop, stopped) = mpsc::channel();
        let (kept, counted) = (Arc::clone(&books), Arc::clone(&saves));
        let thread = thread::Builder::new()
            .name("tidegate-quota".into())
            .spawn(move || save_until(&stopped, &kept, &ledger, &counted))
            .map_err(|error| QuotaError::Thread(error.to_string()))?;
        let saver = Mutex::new(Some(Saver { stop, thread }));
        Ok(Arc::new(Self { books, saves, saver }))
    }

    /// The account of an identity under the limits that policy gave it. While both
    /// stay the same this is a look into a map.
    ///
    /// Limits with other numbers are other limits: they begin with as much used as
    /// the ones before.
    #[must_use]
    pub fn account(&self, who: &Identity, limits: &[Limit]) -> Account {
        Account::new(self.books.holdings(who, limits))
    }

    /// Counts `n` of `meter` for a tenant of which no account is known: on the limits
    /// that are remembered of it.
    pub fn charge_tenant(&self, tenant: &TenantId, meter: Meter, n: u64) {
        let owner = Owner { tenant: tenant.clone(), subject: None };
        if let Some(shelf) = self.books.known(&ShelfKey { owner, meter }) {
            shelf.charge(n, self.books.now());
        }
    }

    /// One of `meter` that is there already, of a tenant of which no account is known.
    #[must_use]
    pub fn occupy_tenant(&self, tenant: &TenantId, meter: Meter) -> Option<Level> {
        let owner = Owner { tenant: tenant.clone(), subject: None };
        Level::on([(self.books.shelf(ShelfKey { owner, meter }), None)]).ok()
    }

    /// The tenants who have a limit of `meter` at present: for whom measuring it is
    /// worth while.
    #[must_use]
    pub fn limited(&self, meter: Meter) -> HashSet<TenantId> {
        let shelves = self.books.all().into_iter();
        let limited = shelves.filter(|it| it.key.meter == meter && it.gate_count() > 0);
        limited.map(|shelf| shelf.key.owner.tenant.clone()).collect()
    }

    /// Takes the readings of all sandboxes there are; whoever has none uses nothing.
    pub fn report(&self, meter: Meter, readings: &[Reading]) {
        let mut levels: HashMap<Owner, u64> = HashMap::new();
        for Reading { tenant, subject, value } in readings {
            let mut add = |subject| {
                let owner = Owner { tenant: tenant.clone(), subject };
                let level = levels.entry(owner).or_default();
                *level = level.saturating_add(*value);
            };
            add(None);
            if subject.is_some() {
                add(subject.clone());
            }
        }
        self.books.measure(meter, &levels);
    }

    /// What is known of limits and use, of one tenant or of all, in order. An
    /// identity that was not seen for a while and has nothing used is not in it.
    #[must_use]
    pub fn usage(&self, tenant: Option<&TenantId>) -> Vec<Usage> {
        let now = self.books.now();
        let mut shelves = self.books.all();
        shelves.retain(|shelf| tenant.is_none_or(|tenant| shelf.key.owner.tenant == *tenant));
        shelves.sort_by(|a, b| a.key.cmp(&b.key));
        shelves.iter().flat_map(|shelf| usage::on(shelf, now)).collect()
    }

    /// How often what changed was saved.
    #[must_use]
    pub fn saves(&self) -> u64 {
        self.saves.get()
    }

    /// How many identities and how many counted things are held in memory.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        self.books.sizes()
    }

    /// Saves once more and lets go of the ledger. Blocks until it is done; counting
    /// goes on, in vain. More than once does nothing.
    pub fn close(&self) {
        let saver = self.saver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Saver { stop, thread }) = saver {
            drop(stop);
            // It ended by panicking: there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

impl Drop for Quotas {
    fn drop(&mut self) {
        self.close();
    }
}

fn save_until(stopped: &mpsc::Receiver<()>, books: &Books, ledger: &Ledger, saves: &Counter) {
    // What could not be written stays in here for the next time.
    let mut changes = Changes::new();
    let mut complained = false;
    loop {
        let ends =
            !matches!(stopped.recv_timeout(SAVE_EVERY), Err(mpsc::RecvTimeoutError::Timeout));
        books.look_through(&mut changes);
        if !changes.is_empty() {
            match ledger.write(&changes, books.clock.wall()) {
                Ok(()) => {
                    changes.clear();
                    saves.add(1);
                    complained = false;
                }
                Err(error) if !complained => {
                    complained = true;
                    tracing::error!(%error, "what is used of quotas cannot be saved; tried again every second");
                }
                Err(_) => {}
            }
        }
        if ends {
            return;
        }
    }
}
