//! What became of a plugin's calls.

use std::time::Duration;

use tidegate_types::meter::{Counter, Histogram};

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)+) => {
        /// What became of a plugin's call to an HTTP service.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum HttpOutcome { $($(#[$doc])* $variant,)+ }

        impl HttpOutcome {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Stable name for metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

outcomes! {
    /// An answer came, whatever its status.
    Answered = "answered",
    /// Refused before anything was sent.
    NotAllowed = "not-allowed",
    /// No whole answer in time.
    TimedOut = "timed-out",
    /// The answer was longer than allowed.
    TooLarge = "too-large",
    /// No connection, one that broke, or too many calls at once.
    Unreachable = "unreachable",
    /// Nobody waited for it any more.
    Abandoned = "abandoned",
}

/// Counts the calls of one plugin.
#[derive(Default)]
pub(crate) struct HttpMeter {
    outcomes: [Counter; HttpOutcome::ALL.len()],
    pub(crate) durations: Histogram,
}

impl HttpMeter {
    pub(crate) fn count(&self, outcome: HttpOutcome, took: Duration) {
        // Always there: the discriminants count the variants.
        if let Some(counter) = self.outcomes.get(outcome as usize) {
            counter.add(1);
        }
        if outcome != HttpOutcome::NotAllowed {
            self.durations.observe(took);
        }
    }

    /// The outcomes that occurred, and how often.
    pub(crate) fn outcomes(&self) -> Vec<(HttpOutcome, u64)> {
        let counts = HttpOutcome::ALL.iter().copied().zip(self.outcomes.iter().map(Counter::get));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}
