//! What all instances of one plugin share: its name, what it may look up, and
//! what outlives a reload.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use tidegate_types::meter::{Counter, Histogram};
use tidegate_types::{PluginName, TemplateName};

use crate::calls::{Calls, HttpMeter};
use crate::interfaces::{Counters, LogBudget};
use crate::journal::Journal;
use crate::{FailureReason, Hook, KeySet, Secrets};

/// What all instances of one plugin share.
pub(crate) struct Surroundings {
    pub(crate) name: PluginName,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) key_sets: Arc<HashMap<String, KeySet>>,
    pub(crate) templates: Arc<HashSet<TemplateName>>,
    /// What it may call; nothing where absent.
    pub(crate) calls: Option<Calls>,
    /// Where it may write lines; nowhere where absent.
    pub(crate) journal: Option<Arc<Journal>>,
    pub(crate) lasting: Arc<Lasting>,
}

/// What belongs to a plugin's name, whichever component bears it.
#[derive(Default)]
pub(crate) struct Lasting {
    pub(crate) counters: Counters,
    pub(crate) log: LogBudget,
    pub(crate) http: HttpMeter,
    meters: [HookMeter; Hook::ALL.len()],
}

impl Lasting {
    pub(crate) fn meter(&self, hook: Hook) -> &HookMeter {
        // Always there: `Hook`'s discriminants count its variants.
        &self.meters[hook as usize]
    }
}

impl fmt::Debug for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lasting")
    }
}

/// What happened in one hook of one plugin.
#[derive(Default)]
pub(crate) struct HookMeter {
    pub(crate) calls: Counter,
    pub(crate) durations: Histogram,
    failures: [Counter; FailureReason::ALL.len()],
}

impl HookMeter {
    pub(crate) fn count_failure(&self, reason: FailureReason) {
        // Always there: `FailureReason`'s discriminants count its variants.
        if let Some(counter) = self.failures.get(reason as usize) {
            counter.add(1);
        }
    }

    /// The reasons that occurred, and how often.
    pub(crate) fn failures(&self) -> Vec<(FailureReason, u64)> {
        let counts = FailureReason::ALL.iter().copied().zip(self.failures.iter().map(Counter::get));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}
