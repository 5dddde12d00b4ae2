//! Signed tokens: the keys that the operator trusts, and what a token must say.

mod key_set;
mod verify;

pub use key_set::{BadKeySet, ClaimRules, KeySet};
pub(crate) use verify::{BadToken, verify};
