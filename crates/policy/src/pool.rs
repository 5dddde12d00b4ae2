//! Idle instances of one plugin. Several queues, each with a lock that is held to
//! push or pop and never while a plugin runs.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tidegate_types::TenantId;

use crate::instance::Instance;

/// Whose calls an idle instance may serve: a tenant's, or anybody's.
pub(crate) type Owner = Option<TenantId>;

/// One queue: the instance used last stands at the back.
type Queue = Mutex<VecDeque<(Owner, Instance)>>;

/// Threads are numbered as they come: dealt to the queues in turn, and at the cost
/// of one look where hashing their ids took as long as a small call.
static THREADS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static THREAD: u64 = THREADS.fetch_add(1, Relaxed);
}

/// Idle instances, each for an owner. Bounded: the one that was idle longest in
/// a full queue is dropped.
pub(crate) struct Pool {
    queues: Box<[Queue]>,
    /// Of one queue.
    capacity: usize,
    hasher: RandomState,
}

impl Pool {
    /// Room for about `capacity` instances altogether.
    pub(crate) fn new(capacity: usize) -> Self {
        let queues = std::thread::available_parallelism().map_or(4, |n| n.get()).clamp(1, 16);
        Self {
            queues: (0..queues).map(|_| Mutex::default()).collect(),
            capacity: capacity.div_ceil(queues).max(1),
            hasher: RandomState::new(),
        }
    }

    /// The instance of `owner` that was used last: its memory is the warmest.
    pub(crate) fn take(&self, owner: &Owner) -> Option<Instance> {
        let home = self.home(owner);
        // Those that belong to anybody may also lie where another thread left them.
        let reach = if owner.is_some() { 1 } else { self.queues.len() };
        let queues = self.queues.iter().cycle().skip(home).take(reach);
        queues.into_iter().find_map(|queue| pop(queue, owner))
    }

    /// Keeps `instance` for the next call of `owner`.
    pub(crate) fn give_back(&self, owner: Owner, instance: Instance) {
        let Some(queue) = self.queues.get(self.home(&owner)) else { return };
        let surplus = {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push_back((owner, instance));
            if queue.len() > self.capacity { queue.pop_front() } else { None }
        };
        // Freed out here: that takes longer than a push.
        drop(surplus);
    }

    /// Frees every idle instance, for others to have the room.
    pub(crate) fn clear(&self) {
        for queue in &self.queues {
            let freed = std::mem::take(&mut *queue.lock().unwrap_or_else(PoisonError::into_inner));
            drop(freed);
        }
    }

    /// Which queue an owner's instances lie in; anybody's, the calling thread's.
    fn home(&self, owner: &Owner) -> usize {
        let hash = match owner {
            Some(tenant) => self.hasher.hash_one(tenant),
            None => THREAD.with(|thread| *thread),
        };
        (hash % self.queues.len() as u64) as usize
    }
}

fn pop(queue: &Queue, owner: &Owner) -> Option<Instance> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let at = queue.iter().rposition(|(whose, _)| whose == owner)?;
    queue.remove(at).map(|(_, instance)| instance)
}
