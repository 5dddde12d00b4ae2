//! Why a component can't be had, and what to do.

use std::fmt;

use tidegate_types::fault::Retry;

/// Why a component can't be had: one sentence of what is wrong, one of what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    /// In one word.
    pub reason: Reason,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Why a component can't be had, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No answer, or one that says "later".
    Unreachable,
    /// There is nothing there.
    NotFound,
    /// The server wants other credentials.
    Forbidden,
    /// What is there isn't a component: too large, no artifact, not readable.
    Unusable,
    /// It has another digest than was asked for.
    WrongDigest,
    /// It has no signature, or somebody else's.
    WrongSignature,
}

impl Reason {
    /// Stable name for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::NotFound => "not-found",
            Self::Forbidden => "forbidden",
            Self::Unusable => "unusable",
            Self::WrongDigest => "wrong-digest",
            Self::WrongSignature => "wrong-signature",
        }
    }
}

impl SourceError {
    pub(crate) fn new(reason: Reason, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason, what: what.into(), remedy: remedy.into() }
    }

    pub(crate) fn unreachable(what: impl Into<String>) -> Self {
        let remedy = "check that this machine reaches it; the source is asked again by itself";
        Self::new(Reason::Unreachable, what, remedy)
    }

    /// Whether trying again may help without anybody doing anything.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self.reason {
            Reason::Unreachable => Retry::Safe,
            _ => Retry::Unsafe,
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl std::error::Error for SourceError {}
