//! Who may ask: the token, and which requests are answered at all.

use std::io;
use std::path::Path;

use tidegate_types::Secret;

/// The control token: whoever has it may do everything.
#[derive(Debug, Clone)]
pub struct Token(Secret);

impl Token {
    /// The file's name within the state directory.
    pub const FILE: &str = "control.token";

    /// Takes a token that was read elsewhere.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The token itself, as a client sends it.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// Reads the token of a state directory, or makes one: 256 random bits, mode 0600.
    ///
    /// # Errors
    /// When the file can't be read or made, or others may read it.
    pub fn load_or_create(state_dir: &Path) -> io::Result<Self> {
        let _ = state_dir;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Which requests are answered.
#[derive(Debug, Clone)]
pub struct Access {
    /// What `Authorization: Bearer` must carry.
    pub token: Token,
    /// Host names, besides loopback ones, that a request may be addressed to.
    pub hosts: Vec<String>,
    /// Whether `/metrics` is answered without the token.
    pub open_metrics: OpenMetrics,
}

/// Whether `/metrics` is answered without the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpenMetrics {
    /// It needs the token.
    #[default]
    No,
    /// Whoever reaches the listener may read it.
    Yes,
}
