//! WebSocket messages, for placements that let a plugin see them.

use bytes::Bytes;

/// One whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl Message {
    /// Its payload's length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether its payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the client.
    ToSandbox,
    /// From the application.
    ToClient,
}

impl Way {
    /// The other one.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::ToSandbox => Self::ToClient,
            Self::ToClient => Self::ToSandbox,
        }
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageVerdict {
    /// It goes on as this: itself, or what a plugin made of it.
    Forward(Message),
    /// It goes nowhere; the connection stays.
    Discard,
    /// Both sides are closed with this.
    Close {
        /// 1000, or 3000 to 4999 (RFC 6455 §7.4), or 1008.
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
}
