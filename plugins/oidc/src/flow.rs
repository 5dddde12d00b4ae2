//! One sign-in under way.

use serde::{Deserialize, Serialize};
use tidegate_plugin::host::tokens;
use tidegate_plugin::text::base64url;

/// How long a person has for it.
pub(crate) const LIVES_MS: u64 = 15 * 60_000;

/// Flows that a browser may have under way: cookies have to fit into a head.
pub(crate) const MAX_FLOWS: usize = 4;

/// The first attempt. Another is made by itself when the provider signed with a key
/// that isn't known yet; more would be a loop.
pub(crate) const FIRST: u32 = 1;

/// What is kept of it in its cookie.
#[derive(Serialize, Deserialize)]
pub(crate) struct Flow {
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
    /// Where the person wanted to go: a path of this very host.
    pub(crate) to: String,
    pub(crate) ends_ms: u64,
    pub(crate) attempt: u32,
}

impl Flow {
    pub(crate) fn new(to: String, attempt: u32, now_ms: u64) -> Self {
        let random = || base64url(&tokens::random(32));
        Self {
            state: random(),
            nonce: random(),
            verifier: random(),
            to,
            ends_ms: now_ms.saturating_add(LIVES_MS),
            attempt,
        }
    }

    /// RFC 7636 §4.2.
    pub(crate) fn challenge(&self) -> String {
        base64url(&tokens::sha256(self.verifier.as_bytes()))
    }
}
