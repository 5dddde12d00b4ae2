//! Instances of one plugin that wait for their next call. Several shelves, each
//! with a lock that is held to put or take and never while a plugin runs.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_types::TenantId;

use crate::instance::Instance;
use crate::spent::Spent;
use crate::thread::number;

/// Whose calls an idle instance may serve: a tenant's, or anybody's.
pub(crate) type Owner = Option<TenantId>;

/// More than threads that ask at once, and enough that a tenant's shelf is short.
const SHELVES: usize = 16;

/// Idle instances, each for an owner. How many there are in all is bounded by the
/// plugin's [`Population`](crate::population::Population): who wants a place where
/// there is none takes an idle one's ([`Pool::evict`]).
pub(crate) struct Pool {
    shelves: [Mutex<Shelf>; SHELVES],
    /// Where the next instance is evicted.
    hand: AtomicUsize,
    /// Instances that one tenant may keep idle: as many as can be at work at once,
    /// so that nobody's burst drives others' instances out.
    share: usize,
    hasher: RandomState,
}

/// The instance used last stands at the back.
#[derive(Default)]
struct Shelf {
    idle: std::collections::VecDeque<(Owner, Box<Instance>)>,
    spent: Spent,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self {
            shelves: Default::default(),
            hand: AtomicUsize::new(0),
            share: std::thread::available_parallelism().map_or(4, |n| n.get()).clamp(2, 16),
            hasher: RandomState::new(),
        }
    }

    /// The instance of `owner` that was used last: its memory is the warmest.
    pub(crate) fn take(&self, owner: &Owner) -> Option<Box<Instance>> {
        let home = self.home(owner.as_ref());
        // Those that belong to anybody may also lie where another thread left them.
        let reach = if owner.is_some() { 1 } else { SHELVES };
        let shelves = self.shelves.iter().cycle().skip(home).take(reach);
        shelves.into_iter().find_map(|shelf| {
            let mut shelf = open(shelf);
            let at = shelf.idle.iter().rposition(|(whose, _)| whose == owner)?;
            shelf.idle.remove(at).map(|(_, instance)| instance)
        })
    }

    /// Keeps `instance` for the next call of `owner`, and notes that it computed for
    /// `time`, on account of `tenant`.
    pub(crate) fn give_back(
        &self,
        owner: Owner,
        instance: Box<Instance>,
        tenant: Option<&TenantId>,
        time: Duration,
    ) {
        let Some(shelf) = self.shelves.get(self.home(owner.as_ref())) else { return };
        let surplus = {
            let mut shelf = open(shelf);
            shelf.spent.add(tenant, time);
            let surplus = owner.as_ref().and_then(|_| shelf.surplus(&owner, self.share));
            shelf.idle.push_back((owner, instance));
            surplus
        };
        // Freed out here: that takes longer than a push.
        drop(surplus);
    }

    /// Notes what was computed for `tenant` in an instance that isn't kept.
    pub(crate) fn charge(&self, tenant: Option<&TenantId>, time: Duration) {
        if let Some(shelf) = self.shelves.get(self.home(tenant)) {
            open(shelf).spent.add(tenant, time);
        }
    }

    /// Frees an idle instance for another to have its place: on each shelf in turn
    /// the one that was idle longest. Whether there was any.
    pub(crate) fn evict(&self) -> bool {
        let begin = self.hand.fetch_add(1, Relaxed) % SHELVES;
        let mut shelves = self.shelves.iter().cycle().skip(begin).take(SHELVES);
        let evicted = shelves.find_map(|shelf| open(shelf).idle.pop_front());
        evicted.is_some()
    }

    /// Frees every idle instance, for others to have the room.
    pub(crate) fn clear(&self) {
        for shelf in &self.shelves {
            let freed = std::mem::take(&mut open(shelf).idle);
            drop(freed);
        }
    }

    /// How many instances are idle.
    pub(crate) fn idle(&self) -> usize {
        self.shelves.iter().map(|shelf| open(shelf).idle.len()).sum()
    }

    /// What was computed for whom, who spent most first, in nanoseconds; and for
    /// everybody else together.
    pub(crate) fn spent(&self) -> (Vec<(TenantId, u64)>, u64) {
        let (mut sum, mut others) = (HashMap::new(), 0);
        for shelf in &self.shelves {
            open(shelf).spent.add_to(&mut sum, &mut others);
        }
        let mut spent: Vec<_> = sum.into_iter().collect();
        spent.sort_unstable_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
        (spent, others)
    }

    /// On which shelf an owner's instances lie; anybody's, on the calling thread's.
    fn home(&self, owner: Option<&TenantId>) -> usize {
        match owner {
            Some(tenant) => (self.hasher.hash_one(tenant) % SHELVES as u64) as usize,
            None => number() % SHELVES,
        }
    }
}

impl Shelf {
    /// What `owner` has beyond its share, with one more.
    fn surplus(&mut self, owner: &Owner, share: usize) -> Option<(Owner, Box<Instance>)> {
        let of_owner = |(whose, _): &(Owner, Box<Instance>)| whose == owner;
        if self.idle.iter().filter(|it| of_owner(it)).count() < share {
            return None;
        }
        let oldest = self.idle.iter().position(of_owner)?;
        self.idle.remove(oldest)
    }
}

fn open(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
