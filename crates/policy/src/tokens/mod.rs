//! Signed tokens: the keys that the operator trusts, and what a token must say.

mod key_set;

pub use key_set::{BadKeySet, ClaimRules, KeySet};
