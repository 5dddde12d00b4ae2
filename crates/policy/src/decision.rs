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

/// Why there is no decision. Already logged when it is returned, as far as there
/// aren't more than fifty a second of one plugin; beyond at level debug.
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
        /// Calls like this one made it trap before; it isn't asked again until a reload.
        Poisonous = "poisonous",
        /// Whoever asked went away before it answered. Its instance is gone.
        Abandoned = "abandoned",
        /// Its component could not be had, and the operator chose to start without it.
        Missing = "missing",
    }
}

labels! {
    /// A question that plugins are asked. In the order in which a request meets them.
    Hook {
        /// Who is asking?
        Authenticate = "authenticate",
        /// How much may they use?
        Quota = "quota",
        /// Which sandbox serves this request?
        Resolve = "resolve",
        /// Does this request wake a sandbox, or keep it awake?
        Activity = "activity",
        /// What becomes of this WebSocket message?
        Messages = "messages",
        /// What of object storage does this sandbox see?
        Mounts = "mounts",
        /// May this sandbox do this to this object?
        Objects = "objects",
        /// May this sandbox open this connection outwards?
        Egress = "egress",
        /// What happened: told, not asked.
        Observe = "observe",
    }
}

/// How the plugins that serve a hook become one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chain {
    /// In order, until one doesn't abstain; denied when all abstain.
    FirstDecides,
    /// All, in order; what they answer holds together.
    AllTogether,
    /// All, in order, each seeing what the one before made of it.
    OneAfterAnother,
    /// All, in batches, afterwards.
    Told,
}

impl Hook {
    /// How its plugins become one answer.
    #[must_use]
    pub const fn chain(self) -> Chain {
        match self {
            Self::Authenticate | Self::Resolve | Self::Objects | Self::Egress => {
                Chain::FirstDecides
            }
            Self::Quota | Self::Activity | Self::Mounts => Chain::AllTogether,
            Self::Messages => Chain::OneAfterAnother,
            Self::Observe => Chain::Told,
        }
    }

    /// What follows when one of its plugins fails, in a few words for operators.
    #[must_use]
    pub const fn on_failure(self) -> &'static str {
        match self {
            Self::Authenticate | Self::Quota | Self::Resolve | Self::Activity => "503",
            Self::Messages => "close 1011",
            Self::Mounts => "no start",
            Self::Objects | Self::Egress => "refused",
            Self::Observe => "dropped",
        }
    }
}
