//! One consistent set of plugins, asked in the order of the configuration.

use std::sync::Arc;

use tidegate_types::{DecisionId, Identity, Placement, Principal, RequestFacts};

use crate::Decision;

/// One consistent set of plugins. Everything that one request asks goes to one
/// generation; it lives until its last request ends.
#[derive(Debug)]
pub struct Generation {
    number: u64,
}

impl Generation {
    pub(crate) fn new(number: u64) -> Self {
        Self { number }
    }

    /// Which generation this is; grows by one with each successful reload.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Asks who is asking. Runs plugin code on the calling thread.
    #[must_use]
    pub fn authenticate(&self, _facts: &Arc<RequestFacts>, _id: DecisionId) -> Decision<Principal> {
        Decision::Unanswered
    }

    /// Asks which sandbox serves `who`. Runs plugin code on the calling thread.
    #[must_use]
    pub fn resolve(
        &self,
        _facts: &Arc<RequestFacts>,
        _who: &Arc<Identity>,
        _id: DecisionId,
    ) -> Decision<Placement> {
        Decision::Unanswered
    }
}
