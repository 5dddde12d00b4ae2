//! Why a request could not be relayed, and the one table that says what the
//! client sees of it.

use std::io;
use std::time::Duration;

use http::{Response, StatusCode};
use tidegate_types::{DecisionId, Retry, Source};

use crate::{BodyError, RelayBody, problem};

/// Why a request got no answer from its sandbox.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The application does not listen, or the sandbox could not be dialled.
    #[error("port {port} in the sandbox could not be reached")]
    Connect {
        /// Port inside.
        port: u16,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The connection to the application took too long.
    #[error("port {port} in the sandbox did not accept within {after:?}")]
    ConnectTimeout {
        /// Port inside.
        port: u16,
        /// The limit.
        after: Duration,
    },
    /// The application closed the connection instead of answering.
    #[error("the application closed the connection before it answered")]
    Closed(#[source] hyper::Error),
    /// The application's answer is not HTTP, or not to what was asked.
    #[error("the application's answer is not valid HTTP")]
    BadAnswer(#[source] Option<hyper::Error>),
    /// The head of the answer took too long.
    #[error("the application did not answer within {0:?}")]
    AnswerTimeout(Duration),
    /// The client's body broke the rules of framing.
    #[error("the request's body is malformed")]
    ClientMalformed(#[source] hyper::Error),
    /// The client went away, or stopped sending its body.
    #[error("the client went away before its request was complete")]
    ClientGone(#[source] hyper::Error),
    /// A quota was used up before the request was complete.
    #[error("a quota is used up")]
    QuotaUsedUp,
    /// The path that the placement asked for is not one.
    #[error("the placement's path `{0}` is not a valid path")]
    Path(String),
}

impl RelayError {
    /// Sorts an error of the HTTP client into whose fault it is.
    pub(crate) fn from_hyper(error: hyper::Error) -> Self {
        use std::error::Error as _;
        if error.is_user() {
            let cause = error.source().and_then(|cause| cause.downcast_ref::<BodyError>());
            return match cause {
                Some(BodyError::QuotaUsedUp) => Self::QuotaUsedUp,
                Some(cause) if cause.is_malformed() => Self::ClientMalformed(error),
                _ => Self::ClientGone(error),
            };
        }
        if error.is_parse() || error.is_parse_too_large() {
            return Self::BadAnswer(Some(error));
        }
        Self::Closed(error)
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Source {
        self.row().0
    }

    /// Whether the request may simply be sent again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.row().1
    }

    /// The status that the client sees.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.row().2).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Stable name for clients, metrics and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.row().3
    }

    /// The table: blame, retry, status, code. 499 is never read by anyone but the
    /// access log: its client is gone.
    fn row(&self) -> (Source, Retry, u16, &'static str) {
        use Retry::{Safe, Unsafe};
        use Source::{Client, Policy, Sandbox};
        match self {
            Self::Connect { .. } => (Sandbox, Safe, 502, "sandbox-unreachable"),
            Self::ConnectTimeout { .. } => (Sandbox, Safe, 504, "sandbox-connect-timeout"),
            Self::Closed(_) => (Sandbox, Unsafe, 502, "sandbox-closed-connection"),
            Self::BadAnswer(_) => (Sandbox, Unsafe, 502, "sandbox-bad-answer"),
            Self::AnswerTimeout(_) => (Sandbox, Unsafe, 504, "sandbox-answer-timeout"),
            Self::ClientMalformed(_) => (Client, Unsafe, 400, "malformed-body"),
            Self::ClientGone(_) => (Client, Unsafe, 499, "client-gone"),
            Self::QuotaUsedUp => (Client, Unsafe, 429, "quota-exceeded"),
            Self::Path(_) => (Policy, Unsafe, 503, "placement-path"),
        }
    }

    /// What the client gets.
    #[must_use]
    pub fn answer(&self, decision: DecisionId) -> Response<RelayBody> {
        // The placement's path is the operator's affair: the client sees no more
        // of it than that something failed.
        let detail = match self {
            Self::Path(_) => "a plugin failed".to_owned(),
            _ => self.to_string(),
        };
        problem(self.status(), self.code(), &detail, decision)
    }
}
