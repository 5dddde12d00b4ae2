//! What the request path counts of its own.

use std::time::Duration;

use dashmap::DashMap;
use tidegate_types::meter::{Counter, Histogram};

use super::refusal::Refusal;

/// Counters of the request path. Refusals may take a shard's lock for a moment;
/// what is relayed takes none.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    refusals: DashMap<&'static str, Counter>,
    /// From the head of a request to the head of its answer.
    pub(crate) duration: Histogram,
}

impl Meters {
    pub(crate) fn count(&self, refusal: &Refusal) {
        self.refusals.entry(refusal.reason()).or_default().add(1);
    }

    pub(crate) fn answered(&self, took: Duration) {
        self.duration.observe(took);
    }

    /// Reasons and how often each occurred.
    pub(crate) fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.refusals.iter().map(|entry| (*entry.key(), entry.value().get())).collect()
    }
}
