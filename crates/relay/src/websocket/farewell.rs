//! How a WebSocket that is relayed message by message ends, and what each side is
//! told of it.
//!
//! | what happened | the client gets | the application gets |
//! |---|---|---|
//! | the client closed | its own code back | the client's code and reason |
//! | the application closed | the application's code and reason | its own code back |
//! | the client went away | - | the end of the connection |
//! | the application went away | the end of the connection | - |
//! | the client broke the protocol | 1002, 1007 or 1009 | 1001 |
//! | the application broke the protocol | 1011 | 1002, 1007 or 1009 |
//! | the client is silent | 1001 | 1001 |
//! | the application is silent | 1011 | 1001 |
//! | the gate says close | its code and reason | the same |
//! | the gate failed | 1011, the decision's id | the same |
//! | a quota is used up | 1008 `quota` | 1001 |
//! | the gateway closes | [`CloseReason::code`] | 1001 |

use tidegate_types::Way;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::CloseReason;

/// Why a conversation is over. A way stands for the side that sends that way.
#[derive(Debug)]
pub(crate) enum Over {
    /// One side closed.
    Closed { by: Way, frame: Option<CloseFrame> },
    /// One side's connection ended without a close frame.
    Broken { by: Way },
    /// One side broke the protocol; it is told how.
    Fault { by: Way, frame: CloseFrame },
    /// Nothing comes from one side, not even an answer to a ping.
    Silent(Way),
    /// The gate said so, or failed.
    Both(CloseFrame),
    /// The gateway has a reason of its own.
    Gateway(CloseReason),
}

/// What one side is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bye {
    /// A close frame.
    Close(Option<CloseFrame>),
    /// It closed; the answer is queued already.
    Answer,
    /// Nothing more; its connection ends after what is queued.
    End,
    /// It has gone.
    Nothing,
}

impl Over {
    pub(super) fn broken(by: Way) -> Self {
        Self::Broken { by }
    }

    pub(super) fn quota() -> Self {
        Self::Gateway(CloseReason::QuotaUsedUp)
    }

    pub(super) fn both(code: u16, reason: String) -> Self {
        // A control frame has room for 123 bytes of it (RFC 6455 §5.5).
        let end = reason.floor_char_boundary(123);
        let reason = reason.get(..end).unwrap_or_default();
        Self::Both(CloseFrame { code: code.into(), reason: reason.into() })
    }

    /// What the client and the application are told.
    pub(super) fn byes(self) -> (Bye, Bye) {
        let away = |text: &'static str| frame(CloseCode::Away, text);
        let error = |text: &'static str| frame(CloseCode::Error, text);
        match self {
            Self::Closed { by: Way::ToSandbox, frame } => (Bye::Answer, Bye::Close(frame)),
            Self::Closed { by: Way::ToClient, frame } => (Bye::Close(frame), Bye::Answer),
            // Whoever is left sees the same: a connection that ends.
            Self::Broken { by: Way::ToSandbox } => (Bye::Nothing, Bye::End),
            Self::Broken { by: Way::ToClient } => (Bye::End, Bye::Nothing),
            Self::Fault { by: Way::ToSandbox, frame } => {
                (Bye::Close(Some(frame)), away("the client broke the protocol"))
            }
            Self::Fault { by: Way::ToClient, frame } => {
                (error("the application broke the protocol"), Bye::Close(Some(frame)))
            }
            Self::Silent(Way::ToSandbox) => {
                (away("silent for too long"), away("the client is silent"))
            }
            Self::Silent(Way::ToClient) => {
                (error("the application is silent"), away("silent for too long"))
            }
            Self::Both(frame) => (Bye::Close(Some(frame.clone())), Bye::Close(Some(frame))),
            Self::Gateway(reason) => {
                (frame(reason.code().into(), reason.text()), away(reason.text()))
            }
        }
    }
}

fn frame(code: CloseCode, text: &'static str) -> Bye {
    Bye::Close(Some(CloseFrame { code, reason: text.into() }))
}
