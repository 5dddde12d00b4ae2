//! Signed tokens: the keys that the operator trusts, and what a token must say.

mod key_set;
pub(crate) mod seal;
mod verified;
mod verify;

pub use key_set::{BadKeySet, ClaimRules, KeySet};
pub(crate) use verify::{BadToken, verify};
