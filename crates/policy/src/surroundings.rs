//! What all instances of one plugin share: its name, what it may look up, and
//! what outlives a reload.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tidegate_types::PluginName;
use tidegate_types::meter::{Counter, Histogram};

use crate::interfaces::{Counters, LogBudget};
use crate::{FailureReason, Hook, KeySet, Secrets};

/// What all instances of one plugin share.
pub(crate) struct Surroundings {
    pub(crate) name: PluginName,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) key_sets: Arc<HashMap<String, KeySet>>,
    pub(crate) lasting: Arc<Lasting>,
}

/// What belongs to a plugin's name, whichever component bears it.
#[derive(Default)]
pub(crate) struct Lasting {
    pub(crate) counters: Counters,
    pub(crate) log: LogBudget,
    meters: [HookMeter; Hook::ALL.len()],
}

impl Lasting {
    pub(crate) fn meter(&self, hook: Hook) -> &HookMeter {
        // In range: `Hook`'s discriminants count its variants.
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
    pub(crate) fn failed(&self, reason: FailureReason) -> &Counter {
        // In range: `FailureReason`'s discriminants count its variants.
        &self.failures[reason as usize]
    }
}
