//! What all instances of one plugin share: its name, what it may look up, and
//! what outlives a reload.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidegate_types::meter::{BOUNDS_MICROS, Counter, Histogram};
use tidegate_types::{PluginName, TemplateName};

use crate::calls::{Calls, HttpMeter};
use crate::interfaces::{Counters, LogBudget};
use crate::journal::Journal;
use crate::thread::number;
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
    /// For lines about its failures.
    pub(crate) failures: LogBudget,
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

/// Copies of what every call counts: as many as threads that ask at once.
const COPIES: usize = 8;

/// What happened in one hook of one plugin. What every call counts is counted by
/// thread, so that processors don't wait for each other's caches.
#[derive(Default)]
pub(crate) struct HookMeter {
    counted: [Counted; COPIES],
    failures: [Counter; FailureReason::ALL.len()],
}

#[derive(Default)]
#[repr(align(64))]
struct Counted {
    calls: Counter,
    durations: Histogram,
}

impl HookMeter {
    /// Counts a call that begins.
    pub(crate) fn begins(&self) {
        self.counted().calls.add(1);
    }

    /// Counts how long a call took.
    pub(crate) fn took(&self, time: Duration) {
        self.counted().durations.observe(time);
    }

    pub(crate) fn count_failure(&self, reason: FailureReason) {
        // Always there: `FailureReason`'s discriminants count its variants.
        if let Some(counter) = self.failures.get(reason as usize) {
            counter.add(1);
        }
    }

    /// Calls that began.
    pub(crate) fn calls(&self) -> u64 {
        self.counted.iter().map(|counted| counted.calls.get()).sum()
    }

    /// As [`Histogram::snapshot`].
    pub(crate) fn durations(&self) -> ([u64; BOUNDS_MICROS.len() + 1], u64) {
        let (mut buckets, mut micros) = ([0; BOUNDS_MICROS.len() + 1], 0);
        for counted in &self.counted {
            let (more, sum) = counted.durations.snapshot();
            buckets.iter_mut().zip(more).for_each(|(bucket, more)| *bucket += more);
            micros += sum;
        }
        (buckets, micros)
    }

    /// The reasons that occurred, and how often.
    pub(crate) fn failures(&self) -> Vec<(FailureReason, u64)> {
        let counts = FailureReason::ALL.iter().copied().zip(self.failures.iter().map(Counter::get));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    fn counted(&self) -> &Counted {
        &self.counted[number() % COPIES]
    }
}
