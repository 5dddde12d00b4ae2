//! Changes to one sandbox happen one after the other, and each to its end.
//!
//! Whoever asked for a change may stop waiting for it at any point: a start that
//! is overtaken by a destroy is. Half a change is nothing that the next could
//! build on (a file system being made, a keeper that nobody knows), so it goes on
//! in a task of its own, and the next change waits for it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_sandbox::driver::{DriverError, SandboxId};
use tidegate_types::{Incarnation, SandboxKey};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::driver::LinuxDriver;
use crate::sandbox::system;

/// Whose turn it is, for every sandbox that is being changed.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<SandboxKey, Arc<Turn<()>>>>);

impl Turns {
    /// Waits for the turn. Dropping this gives up the place in the queue.
    async fn take(&self, key: &SandboxKey) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody has or waits for.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(key.clone()).or_default())
        };
        turn.lock_owned().await
    }
}

impl LinuxDriver {
    /// Makes `change` once the earlier changes to `key` are done. Dropped before it
    /// began, nothing happens; later, it happens all the same.
    pub(crate) async fn in_turn<T, C, F>(
        &self,
        key: &SandboxKey,
        change: C,
    ) -> Result<T, DriverError>
    where
        T: Send + 'static,
        C: FnOnce(Arc<Self>) -> F,
        F: Future<Output = Result<T, DriverError>> + Send + 'static,
    {
        let turn = self.turns.take(key).await;
        let id = SandboxId { key: key.clone(), incarnation: Incarnation::default() };
        let failed = |error: io::Error| system(&id, "changing it", error);
        // Whoever called us holds it.
        let driver = self.me.upgrade().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let change = change(driver);
        // Ends by itself: every step of a change has a limit.
        let changed = tokio::spawn(async move {
            let _turn = turn;
            change.await
        });
        changed.await.map_err(|error| failed(io::Error::other(error)))?
    }
}
