//! All that is counted of one meter for one owner: how many there are now, and a
//! bucket for each limit.
//!
//! Limits that differ in any number are different limits with a bucket each, and
//! whoever uses something uses it from all of them. So a limit holds over
//! everything its owner does, also while some of its connections were opened under
//! other limits. A bucket that is made lacks what the fullest use beside it lacks:
//! changing an amount gives nobody a fresh burst.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tidegate_types::{LimitKind, Meter, Scope, SubjectId, TenantId};

use crate::bucket::{Bucket, Reach, Short, Took};
use crate::exceeded::Exceeded;

/// Whose use is counted together: a subject's, or a whole tenant's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) tenant: TenantId,
    /// `None` is the tenant as a whole.
    pub(crate) subject: Option<SubjectId>,
}

impl Owner {
    pub(crate) fn scope(&self) -> Scope {
        if self.subject.is_some() { Scope::Subject } else { Scope::Tenant }
    }
}

/// Which shelf.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ShelfKey {
    pub(crate) owner: Owner,
    pub(crate) meter: Meter,
}

/// Whether a meter says how many there are now, rather than how many there were.
pub(crate) const fn is_level(meter: Meter) -> bool {
    match meter {
        Meter::WebsocketConnections
        | Meter::Sandboxes
        | Meter::MemoryBytes
        | Meter::Processes
        | Meter::StorageBytes
        | Meter::StorageObjects => true,
        Meter::Requests
        | Meter::WebsocketMessages
        | Meter::IngressBytes
        | Meter::EgressBytes
        | Meter::RunningMs
        | Meter::CpuMs => false,
    }
}

/// One limit of one owner.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) kind: LimitKind,
    /// `None` for the ceiling of a level: the shelf's level is compared.
    pub(crate) bucket: Option<Bucket>,
    /// The bucket's mark when it was last saved; only the saver looks.
    saved: Mutex<Option<u128>>,
}

impl Gate {
    fn new(kind: LimitKind, bucket: Option<Bucket>) -> Arc<Self> {
        Arc::new(Self { kind, bucket, saved: Mutex::new(None) })
    }

    /// One that the ledger remembers.
    pub(crate) fn remembered(kind: LimitKind, bucket: Bucket) -> Arc<Self> {
        let saved = Mutex::new(Some(bucket.mark()));
        Arc::new(Self { kind, bucket: Some(bucket), saved })
    }

    /// What the ledger is to be told, if anything.
    pub(crate) fn unsaved(&self, now: u64) -> Option<Saved> {
        let bucket = self.bucket.as_ref()?;
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let (mark, lack) = (bucket.mark(), bucket.lack(now));
        if lack == 0 {
            return saved.take().map(|_| Saved::Full);
        }
        (saved.replace(mark) != Some(mark)).then_some(Saved::Lacks(lack))
    }

    /// Whether forgetting it changes nothing.
    fn is_at_rest(&self, now: u64) -> bool {
        self.bucket.as_ref().is_none_or(|bucket| bucket.lack(now) == 0)
    }
}

/// What the ledger keeps of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saved {
    /// Nothing: it is full.
    Full,
    /// So many units are missing.
    Lacks(u128),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) key: ShelfKey,
    level: AtomicU64,
    gates: ArcSwap<Vec<Arc<Gate>>>,
    /// Held while a gate is looked for, made or removed, so that there are never
    /// two for one limit. Never held on the way of a request whose account is known.
    making: Mutex<()>,
}

impl Shelf {
    pub(crate) fn new(key: ShelfKey) -> Arc<Self> {
        Arc::new(Self {
            key,
            level: AtomicU64::new(0),
            gates: ArcSwap::default(),
            making: Mutex::new(()),
        })
    }

    fn making(&self) -> MutexGuard<'_, ()> {
        // Guards nothing that could be half done.
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate of a limit; made where there is none.
    pub(crate) fn gate(&self, kind: LimitKind, now: u64) -> Arc<Gate> {
        let _making = self.making();
        let gates = self.gates.load();
        if let Some(gate) = gates.iter().find(|gate| gate.kind == kind) {
            return Arc::clone(gate);
        }
        let counts = !(is_level(self.key.meter) && matches!(kind, LimitKind::Ceiling(_)));
        let bucket = counts.then(|| {
            let buckets = gates.iter().filter_map(|gate| gate.bucket.as_ref());
            let lacks = buckets.map(|bucket| bucket.lacks(now)).max().unwrap_or(0);
            Bucket::lacking(kind, lacks, now)
        });
        let gate = Gate::new(kind, bucket);
        self.add(&gates, Arc::clone(&gate));
        gate
    }

    /// Puts in a gate that the ledger remembers.
    pub(crate) fn put(&self, gate: Arc<Gate>) {
        let _making = self.making();
        self.add(&self.gates.load(), gate);
    }

    fn add(&self, gates: &[Arc<Gate>], gate: Arc<Gate>) {
        self.gates.store(Arc::new(gates.iter().cloned().chain([gate]).collect()));
    }

    pub(crate) fn gates(&self) -> Arc<Vec<Arc<Gate>>> {
        self.gates.load_full()
    }

    /// Removes what nobody refers to and what is full; says what it removed, and
    /// whether nothing is left.
    pub(crate) fn forget(&self, now: u64) -> (Vec<Arc<Gate>>, bool) {
        let _making = self.making();
        let gates = self.gates.load();
        // One reference is this list's. Others only come to be under the lock.
        let goes = |gate: &Arc<Gate>| Arc::strong_count(gate) == 1 && gate.is_at_rest(now);
        let (gone, kept): (Vec<_>, Vec<_>) = gates.iter().partition(|gate| goes(gate));
        let gone: Vec<_> = gone.into_iter().cloned().collect();
        let empty = kept.is_empty() && self.level() == 0;
        if !gone.is_empty() {
            self.gates.store(Arc::new(kept.into_iter().cloned().collect()));
        }
        (gone, empty)
    }

    /// Counts `n` in every bucket but those of `but`, which were asked.
    pub(crate) fn charge_others(&self, n: u64, now: u64, but: &[Held]) {
        let gates = self.gates.load();
        for gate in gates.iter() {
            let asked = but.iter().any(|held| std::ptr::eq(&*held.gate, &**gate));
            // What nobody refers to any more fills up and is forgotten.
            if !asked && Arc::strong_count(gate) > 1 {
                gate.bucket.iter().for_each(|bucket| bucket.charge(n, now));
            }
        }
    }

    /// Counts `n` in every bucket, allowed or not.
    pub(crate) fn charge(&self, n: u64, now: u64) {
        for gate in self.gates.load().iter() {
            gate.bucket.iter().for_each(|bucket| bucket.charge(n, now));
        }
    }

    pub(crate) fn gate_count(&self) -> usize {
        self.gates.load().len()
    }

    // ---- the level ----

    pub(crate) fn level(&self) -> u64 {
        self.level.load(Relaxed)
    }

    /// One more, if there are fewer than `ceiling`.
    pub(crate) fn rise(&self, ceiling: Option<u64>) -> Result<(), ()> {
        let ceiling = ceiling.unwrap_or(u64::MAX);
        let rise = |level: u64| (level < ceiling).then(|| level.saturating_add(1));
        self.level.fetch_update(Relaxed, Relaxed, rise).map(drop).map_err(drop)
    }

    /// One less.
    pub(crate) fn fall(&self) {
        let fall = |level: u64| level.checked_sub(1);
        // Whoever falls has risen.
        let _ = self.level.fetch_update(Relaxed, Relaxed, fall);
    }

    /// What was measured.
    pub(crate) fn set_level(&self, level: u64) {
        self.level.store(level, Relaxed);
    }
}

/// A limit that an account has.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) gate: Arc<Gate>,
}

impl Held {
    pub(crate) fn meter(&self) -> Meter {
        self.shelf.key.meter
    }

    pub(crate) fn exceeded(&self, retry_after: Option<std::time::Duration>) -> Exceeded {
        Exceeded {
            meter: self.meter(),
            scope: self.shelf.key.owner.scope(),
            limit: self.gate.kind,
            retry_after,
        }
    }

    /// Takes from the bucket; a limit without one lets everything pass.
    pub(crate) fn take(&self, n: u64, now: u64, reach: Reach) -> Result<Option<Took>, Exceeded> {
        let Some(bucket) = &self.gate.bucket else { return Ok(None) };
        let taken = bucket.take(n, now, reach);
        taken.map(Some).map_err(|Short { retry_after }| self.exceeded(retry_after))
    }

    pub(crate) fn give_back(&self, took: Option<Took>, now: u64) {
        if let (Some(bucket), Some(took)) = (&self.gate.bucket, took) {
            bucket.give_back(took, now);
        }
    }

    /// The ceiling, where this limit is one of a level.
    pub(crate) fn ceiling(&self) -> Option<u64> {
        match self.gate.kind {
            LimitKind::Ceiling(most) if is_level(self.meter()) => Some(most),
            _ => None,
        }
    }
}
