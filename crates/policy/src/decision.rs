//! What comes out of asking the plugins: a decision, or a named reason why
//! there is none.

use std::fmt;

use tidegate_types::{Denial, PluginName};

/// The answer of all plugins that serve a hook, asked in order.
#[derive(Debug, Clone)]
pub enum Decision<T> {
    /// A plugin answered.
    Granted {
        /// Which.
        by: PluginName,
        /// Its answer.
        value: T,
    },
    /// A plugin refused: for the client to see.
    Denied {
        /// Which.
        by: PluginName,
        /// Its refusal.
        denial: Denial,
    },
    /// Every plugin abstained, or none serves the hook: the caller denies.
    Unanswered,
    /// A plugin could not decide: 503 with the decision id, and nothing more.
    Failed(PolicyFailure),
}

/// Why there is no decision. Already logged when it is returned.
#[derive(Debug, Clone)]
pub struct PolicyFailure {
    /// Which plugin failed.
    pub plugin: PluginName,
    /// Which hook it was asked.
    pub hook: Hook,
    /// What happened, as a label.
    pub reason: FailureReason,
    /// For the log; never for a client.
    pub detail: String,
}

impl fmt::Display for PolicyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plugin, hook, reason, detail } = self;
        write!(f, "plugin `{plugin}` failed in {}: {}: {detail}", hook.as_str(), reason.as_str())
    }
}

impl std::error::Error for PolicyFailure {}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every one there is, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Stable name for metrics and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

labels! {
    /// Why a plugin could not decide.
    FailureReason {
        /// It trapped: a bug. Its instance is gone.
        Trap = "trap",
        /// It ran out of time. Its instance is gone.
        TimedOut = "timed-out",
        /// It asked for more memory or tables than it was granted, and gave up.
        OutOfMemory = "out-of-memory",
        /// It overflowed its stack. Its instance is gone.
        StackOverflow = "stack-overflow",
        /// It said so itself: a `failure`.
        Declared = "declared",
        /// It answered something that can't be: a status 200 denial, port 0.
        Nonsense = "nonsense",
        /// No instance could be made: all of the host's places are taken.
        Saturated = "saturated",
        /// A fresh instance could not be made ready, though one could at load.
        NotReady = "not-ready",
    }
}

labels! {
    /// A question that plugins are asked.
    Hook {
        /// Who is asking?
        Authenticate = "authenticate",
        /// Which sandbox serves this request?
        Resolve = "resolve",
    }
}
