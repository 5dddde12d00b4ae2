//! How many instances of a plugin there are, and how much memory they have: one
//! plugin must not take what all of them need.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use wasmtime::ResourceLimiter;

/// Elements of one table of an instance. Rust's plugins have some hundreds.
const MAX_TABLE: usize = 65_536;
/// Adapters bring a memory of their own each.
const MAX_MEMORIES: usize = 4;

/// The instances of one plugin in one generation, those at work and those at rest.
#[derive(Debug)]
pub(crate) struct Population {
    most: usize,
    alive: AtomicUsize,
    memory: AtomicU64,
}

impl Population {
    /// At most `most` instances.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, alive: AtomicUsize::new(0), memory: AtomicU64::new(0) })
    }

    /// Room for one more instance, whose memories may have `memory` bytes together.
    pub(crate) fn enter(self: &Arc<Self>, memory: u64) -> Option<Place> {
        let one_more = |alive| (alive < self.most).then_some(alive + 1);
        self.alive.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        let granted = usize::try_from(memory).unwrap_or(usize::MAX);
        let population = Arc::clone(self);
        Some(Place { population, granted, used: 0, refused: false, growing: 0 })
    }

    /// How many there are.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Relaxed)
    }

    /// How many there may be.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Bytes of linear memory of all of them.
    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Relaxed)
    }
}

/// One instance's place, and what it may have of the host's memory. Given back
/// when it is dropped.
pub(crate) struct Place {
    population: Arc<Population>,
    granted: usize,
    /// Bytes of all its memories.
    used: usize,
    /// Whether it was refused more.
    refused: bool,
    /// What was granted last, should the system then not have it.
    growing: usize,
}

impl Place {
    /// Whether so much is gone that the instance should make way for a fresh one
    /// before it fails: memory never shrinks.
    pub(crate) fn worn(&self) -> bool {
        self.used > self.granted / 4 * 3
    }

    /// Whether it was refused memory or tables.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.population.memory.fetch_sub(self.used as u64, Relaxed);
        self.population.alive.fetch_sub(1, Relaxed);
    }
}

impl ResourceLimiter for Place {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let granted = self.used.saturating_add(more) <= self.granted;
        if granted {
            (self.used, self.growing) = (self.used + more, more);
            self.population.memory.fetch_add(more as u64, Relaxed);
        } else {
            self.refused = true;
        }
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let less = std::mem::take(&mut self.growing).min(self.used);
        self.used -= less;
        self.population.memory.fetch_sub(less as u64, Relaxed);
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= MAX_TABLE;
        self.refused |= !granted;
        Ok(granted)
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_than_may_be_and_a_place_comes_back_with_its_memory() {
        let population = Population::new(2);
        let mut first = population.enter(100).expect("room");
        let second = population.enter(100).expect("room");
        assert!(population.enter(100).is_none());
        assert!(first.memory_growing(0, 60, None).expect("judged"));
        // A second memory counts with the first.
        assert!(!first.memory_growing(0, 60, None).expect("judged") && first.was_refused());
        assert!(first.memory_growing(0, 40, None).expect("judged") && first.worn());
        assert_eq!((population.alive(), population.memory()), (2, 100));
        first.memory_grow_failed(wasmtime::format_err!("none left")).expect("noted");
        assert_eq!(population.memory(), 60);
        drop(first);
        assert_eq!((population.alive(), population.memory()), (1, 0));
        drop(second);
        assert!(population.enter(1).is_some());
    }
}
