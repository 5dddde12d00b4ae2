//! How much may be used: what `quota` answers, and what is counted against it.

use std::fmt;
use std::time::Duration;

macro_rules! meters {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)+) => {
        /// Something of which there can be a limit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Meter { $($(#[$doc])* $variant,)+ }

        impl Meter {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Stable name, as the contract with plugins spells it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

meters! {
    /// HTTP requests, upgrades included.
    Requests = "requests",
    /// WebSockets: as a rate, how many are opened; as a ceiling, how many are open.
    WebsocketConnections = "websocket-connections",
    /// Messages, in both directions, of WebSockets that are relayed message by message.
    WebsocketMessages = "websocket-messages",
    /// Bytes from clients towards sandboxes: bodies and WebSockets, without heads.
    IngressBytes = "ingress-bytes",
    /// Bytes from sandboxes towards clients: bodies and WebSockets, without heads.
    EgressBytes = "egress-bytes",
    /// Bytes in object storage.
    StorageBytes = "storage-bytes",
    /// Objects in object storage.
    StorageObjects = "storage-objects",
    /// Sandboxes that are awake.
    Sandboxes = "sandboxes",
    /// Milliseconds that sandboxes were awake, added up over all of them.
    RunningMs = "running-ms",
    /// Milliseconds of processor time, added up over all sandboxes.
    CpuMs = "cpu-ms",
    /// Bytes of memory in use in all sandboxes together.
    MemoryBytes = "memory-bytes",
    /// Processes in all sandboxes together.
    Processes = "processes",
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much of something may be used, and by whom together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Of what.
    pub meter: Meter,
    /// Over which time, if over one at all.
    pub kind: LimitKind,
    /// Who shares it.
    pub scope: Scope,
}

/// A rate or a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// `amount` per `per` in the long run, and at most `burst` at once: a token
    /// bucket that holds `burst` and is filled by `amount` in each `per`.
    Rate {
        /// Units of the meter.
        amount: u64,
        /// Never zero.
        per: Duration,
        /// Units of the meter; never zero.
        burst: u64,
    },
    /// At most this much at any time.
    Ceiling(u64),
}

/// Who shares a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Each subject has its own.
    Subject,
    /// All subjects of the tenant together.
    Tenant,
}

impl Scope {
    /// Stable name, as the contract with plugins spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Tenant => "tenant",
        }
    }
}
