//! One of something that is open now.

use std::sync::Arc;

use crate::shelf::Shelf;

/// Counts one for its subject and its tenant until it is dropped: an open
/// WebSocket, a sandbox that is awake.
#[derive(Debug)]
pub struct Level(Vec<Arc<Shelf>>);

impl Level {
    /// Counts in each of `shelves`, unless one of them has as many as its ceiling
    /// says; then in none, and the answer is which.
    pub(crate) fn on(
        shelves: impl IntoIterator<Item = (Arc<Shelf>, Option<u64>)>,
    ) -> Result<Self, Arc<Shelf>> {
        let mut counted = Self(Vec::with_capacity(2));
        for (shelf, ceiling) in shelves {
            match shelf.rise(ceiling) {
                Ok(()) => counted.0.push(shelf),
                // Dropping what was counted takes it back.
                Err(()) => return Err(shelf),
            }
        }
        Ok(counted)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        self.0.iter().for_each(|shelf| shelf.fall());
    }
}
