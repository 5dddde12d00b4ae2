//! The sharded maps: accounts by identity, shelves by owner and meter.
//!
//! Both only hold what matters. An account that was not asked for lately is
//! dropped (making it anew is cheap), and then every bucket that is full again:
//! forgetting a full bucket changes nothing. So memory is bounded by what was
//! used within the longest period, however many subjects there are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use tidegate_types::{Identity, Limit, LimitKind, Meter, Scope};

use crate::clock::Clock;
use crate::shelf::{Gate, Held, Owner, Saved, Shelf, ShelfKey};

/// What an account is made of; see [`Account`](crate::Account).
#[derive(Debug)]
pub(crate) struct Holdings {
    pub(crate) owner: Owner,
    pub(crate) limits: Box<[Limit]>,
    /// In the order of the limits.
    pub(crate) held: Box<[Held]>,
    /// Asked for since the last look.
    asked_for: AtomicBool,
    pub(crate) clock: Arc<dyn Clock>,
    /// For what is rare. A reference that counts would be one word that all cores
    /// write to with every request.
    pub(crate) books: Weak<Books>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) clock: Arc<dyn Clock>,
    accounts: DashMap<Owner, Arc<Holdings>>,
    shelves: DashMap<ShelfKey, Arc<Shelf>>,
    me: Weak<Self>,
}

/// A bucket as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    pub(crate) shelf: ShelfKey,
    pub(crate) kind: LimitKind,
}

/// What has changed since the last look.
pub(crate) type Changes = HashMap<Line, Saved>;

impl Books {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            clock,
            accounts: DashMap::new(),
            shelves: DashMap::new(),
            me: Weak::clone(me),
        })
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.micros()
    }

    /// The holdings of an identity under these limits.
    pub(crate) fn holdings(&self, who: &Identity, limits: &[Limit]) -> Arc<Holdings> {
        let owner = Owner { tenant: who.tenant.clone(), subject: Some(who.subject.clone()) };
        if let Some(known) = self.accounts.get(&owner)
            && *known.limits == *limits
        {
            known.asked_for.store(true, Relaxed);
            return Arc::clone(&known);
        }
        let made = Arc::new(self.make(owner.clone(), limits));
        self.accounts.insert(owner, Arc::clone(&made));
        made
    }

    fn make(&self, owner: Owner, limits: &[Limit]) -> Holdings {
        let now = self.now();
        let mut held: Vec<Held> = Vec::with_capacity(limits.len());
        for limit in limits {
            let owner = match limit.scope {
                Scope::Subject => owner.clone(),
                Scope::Tenant => Owner { tenant: owner.tenant.clone(), subject: None },
            };
            let shelf = self.shelf(ShelfKey { owner, meter: limit.meter });
            let gate = shelf.gate(limit.kind, now);
            // The same limit twice is one limit: it is not to be counted twice.
            if !held.iter().any(|other| Arc::ptr_eq(&other.gate, &gate)) {
                held.push(Held { shelf, gate });
            }
        }
        Holdings {
            owner,
            limits: limits.into(),
            held: held.into(),
            asked_for: AtomicBool::new(true),
            clock: Arc::clone(&self.clock),
            books: Weak::clone(&self.me),
        }
    }

    /// The shelf called `key`; made where there is none.
    pub(crate) fn shelf(&self, key: ShelfKey) -> Arc<Shelf> {
        if let Some(shelf) = self.shelves.get(&key) {
            return Arc::clone(&shelf);
        }
        let made = self.shelves.entry(key.clone()).or_insert_with(|| Shelf::new(key));
        Arc::clone(&made)
    }

    /// The shelf called `key`, if there is one.
    pub(crate) fn known(&self, key: &ShelfKey) -> Option<Arc<Shelf>> {
        self.shelves.get(key).map(|shelf| Arc::clone(&shelf))
    }

    /// Puts in what the ledger remembers.
    pub(crate) fn put(&self, line: Line, gate: Arc<Gate>) {
        self.shelf(line.shelf).put(gate);
    }

    /// Every shelf, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Shelf>> {
        self.shelves.iter().map(|shelf| Arc::clone(&shelf)).collect()
    }

    /// Sets the levels of `meter` to these, and all others of it to nothing.
    pub(crate) fn measure(&self, meter: Meter, levels: &HashMap<Owner, u64>) {
        for shelf in &self.shelves {
            if shelf.key.meter == meter {
                shelf.set_level(levels.get(&shelf.key.owner).copied().unwrap_or(0));
            }
        }
    }

    /// Drops what nobody has asked for since the last time, and what is full.
    /// Adds to `changes` what the ledger does not know yet.
    pub(crate) fn look_through(&self, changes: &mut Changes) {
        self.accounts.retain(|_, holdings| {
            // References are only handed out under this shard's lock.
            holdings.asked_for.swap(false, Relaxed) || Arc::strong_count(holdings) > 1
        });
        let now = self.now();
        self.shelves.retain(|key, shelf| {
            let mut note = |gate: &Gate| {
                if let Some(saved) = gate.unsaved(now) {
                    changes.insert(Line { shelf: key.clone(), kind: gate.kind }, saved);
                }
            };
            let (gone, empty) = shelf.forget(now);
            gone.iter().for_each(|gate| note(gate));
            shelf.gates().iter().for_each(|gate| note(gate));
            !(empty && Arc::strong_count(shelf) == 1)
        });
    }

    /// How many accounts, shelves there are.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.accounts.len(), self.shelves.len())
    }
}
