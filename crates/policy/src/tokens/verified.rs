//! The tokens that a key set has accepted, so that the next request with the same
//! one costs a digest instead of a signature.
//!
//! It belongs to one state of one key set's keys, and is forgotten with it. Only
//! tokens that were signed get in, so that nobody without a key can fill it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::verify::Times;

const SHARDS: usize = 16;
/// Tokens of one half of one shard: 16,384 in all.
const HALF: usize = 512;
/// Claims in bytes; longer ones are verified anew each time. So the whole holds
/// 64 MiB at the very most, and a sixteenth of that with tokens as they are.
const MAX_CLAIMS: usize = 4 << 10;

/// What a token is found again by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// What was found out about a token and stays true of it.
#[derive(Clone)]
pub(super) struct Accepted {
    pub(super) claims: Arc<str>,
    pub(super) times: Times,
}

/// See the module. A lock is held for one look-up.
#[derive(Default)]
pub(super) struct Verified([Mutex<Shard>; SHARDS]);

/// Two halves: a full one becomes the old one, and what was old and not asked for
/// since is forgotten. That is nearly the least recently used, for two look-ups.
#[derive(Default)]
struct Shard {
    young: HashMap<Digest, Accepted>,
    old: HashMap<Digest, Accepted>,
}

impl Verified {
    pub(super) fn get(&self, digest: &Digest) -> Option<Accepted> {
        let mut shard = self.shard(digest)?.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(accepted) = shard.young.get(digest) {
            return Some(accepted.clone());
        }
        let accepted = shard.old.remove(digest)?;
        shard.put(*digest, accepted.clone());
        Some(accepted)
    }

    pub(super) fn put(&self, digest: Digest, accepted: Accepted) {
        if accepted.claims.len() <= MAX_CLAIMS
            && let Some(shard) = self.shard(&digest)
        {
            shard.lock().unwrap_or_else(PoisonError::into_inner).put(digest, accepted);
        }
    }

    fn shard(&self, digest: &Digest) -> Option<&Mutex<Shard>> {
        let Digest([first, ..]) = digest;
        self.0.get(usize::from(*first) % SHARDS)
    }
}

impl Shard {
    fn put(&mut self, digest: Digest, accepted: Accepted) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, accepted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> Accepted {
        Accepted { claims: "{}".into(), times: Times::for_ever() }
    }

    #[test]
    fn it_is_bounded_and_forgets_first_what_was_not_asked_for() {
        let verified = Verified::default();
        let asked_for = Digest::of("asked for");
        verified.put(asked_for, accepted());
        for number in 0..100_000 {
            verified.put(Digest::of(&number.to_string()), accepted());
            if number % 1_000 == 0 {
                assert!(verified.get(&asked_for).is_some(), "after {number}");
            }
        }
        assert!(verified.get(&Digest::of("0")).is_none());
        let kept = verified.0.iter().map(|shard| {
            let shard = shard.lock().expect("not poisoned");
            shard.young.len() + shard.old.len()
        });
        assert!(kept.sum::<usize>() <= 2 * HALF * SHARDS);
    }

    #[test]
    fn claims_that_are_too_long_are_not_kept() {
        let verified = Verified::default();
        let long = Accepted { claims: "x".repeat(MAX_CLAIMS + 1).into(), ..accepted() };
        verified.put(Digest::of("long"), long);
        assert!(verified.get(&Digest::of("long")).is_none());
    }
}
