//! Whose fault an error is, and whether trying again is safe: as data, so that
//! callers decide mechanically instead of reading messages.

/// Who is to blame for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The client sent something wrong or went away.
    Client,
    /// A plugin failed or gave a nonsensical answer.
    Policy,
    /// The application in the sandbox failed or did not answer.
    Sandbox,
    /// The gateway or its machine.
    Gateway,
}

impl Source {
    /// Stable name for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Policy => "policy",
            Self::Sandbox => "sandbox",
            Self::Gateway => "gateway",
        }
    }
}

/// Whether the operation that failed may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Nothing happened yet: repeating is harmless.
    Safe,
    /// Something may have happened: only an idempotent operation may be repeated.
    Unsafe,
}
