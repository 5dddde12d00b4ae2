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

/// An error with all that caused it, as one line for a log: `the outer: the inner`.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
