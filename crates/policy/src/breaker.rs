//! Queries of death: a question that killed a plugin again and again is refused
//! without asking, until a reload.
//!
//! A question is known by its *shape*: the hook, what the call read and in which
//! order, and the values that it read (with what the hook is given by value). So a
//! request is refused only when the plugin would have seen exactly what it died of:
//! a client whose cookie kills the plugin is refused, and `GET /` of others isn't,
//! though both began by reading the same path.
//!
//! What a call left behind in a shared instance can't be blamed on the next one
//! either: the last proof is made in a fresh instance, and a question that lives
//! through that is cleared. Calls that used a counter, a random number or an answer
//! from outside prove nothing, nor do time-outs of a machine that was too busy.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

use crate::Hook;
use crate::reads::{Read, ReadSet};
use crate::state::About;

/// How often a question may kill before it isn't asked any more.
pub(crate) const DEATHS: u32 = 3;
/// Different ways of reading in one hook. A plugin's code has a few.
const MAX_WAYS: usize = 16;
/// Shapes per way of reading.
const MAX_SHAPES: usize = 128;

/// What is held against a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing that matters.
    Good,
    /// Once more and it isn't asked again: ask a fresh instance.
    Suspect,
    /// It is not to be asked.
    Poisonous,
}

/// What a call is given by value, as a hash; hooks whose questions are told apart
/// by what they read alone give nothing.
pub(crate) type Given<'g> = &'g (dyn Fn(&mut dyn Hasher) + Sync);

/// The deaths of one plugin. Empty after each reload.
#[derive(Default)]
pub(crate) struct Breaker {
    hooks: [Deaths; Hook::ALL.len()],
    hasher: RandomState,
}

#[derive(Default)]
struct Deaths {
    /// Whether there is anything in the table: all that most calls look at.
    any: AtomicBool,
    table: RwLock<Vec<Way>>,
}

/// Calls that read the same things in the same order.
struct Way {
    reads: Box<[Read]>,
    /// Hash of the values read → deaths. The hash is keyed: nobody outside can aim
    /// at another's.
    shapes: HashMap<u64, u32>,
}

impl Breaker {
    /// What is held against asking `hook` about `about`.
    pub(crate) fn standing(&self, hook: Hook, about: &About, given: Given<'_>) -> Standing {
        let Some(deaths) = self.hooks.get(hook as usize) else { return Standing::Good };
        if !deaths.any.load(Relaxed) {
            return Standing::Good;
        }
        let given = self.given(given);
        let table = deaths.table.read().unwrap_or_else(PoisonError::into_inner);
        let worst = table
            .iter()
            .filter_map(|way| way.shapes.get(&self.hash(&way.reads, about, given)).copied());
        match worst.max() {
            None => Standing::Good,
            Some(deaths) if deaths >= DEATHS => Standing::Poisonous,
            Some(deaths) if deaths + 1 >= DEATHS => Standing::Suspect,
            Some(_) => Standing::Good,
        }
    }

    /// Counts a death. Whether the question won't be asked again.
    pub(crate) fn died(
        &self,
        hook: Hook,
        about: &About,
        given: Given<'_>,
        reads: &ReadSet,
        fresh: bool,
    ) -> bool {
        let (Some(deaths), Some(reads)) = (self.hooks.get(hook as usize), reads.shape()) else {
            return false;
        };
        let hash = self.hash(reads, about, self.given(given));
        let mut table = deaths.table.write().unwrap_or_else(PoisonError::into_inner);
        let count = way(&mut table, reads).count(hash);
        // INVARIANT: only what a fresh instance died of becomes poisonous.
        *count = if fresh { *count + 1 } else { (*count + 1).min(DEATHS - 1) };
        let poisonous = *count >= DEATHS;
        deaths.any.store(true, Relaxed);
        poisonous
    }

    /// A suspect lived through a fresh instance: nothing is held against it.
    pub(crate) fn lived(&self, hook: Hook, about: &About, given: Given<'_>) {
        let Some(deaths) = self.hooks.get(hook as usize) else { return };
        let given = self.given(given);
        let mut table = deaths.table.write().unwrap_or_else(PoisonError::into_inner);
        for way in table.iter_mut() {
            let hash = self.hash(&way.reads, about, given);
            if way.shapes.get(&hash).is_some_and(|count| *count < DEATHS) {
                way.shapes.remove(&hash);
            }
        }
        table.retain(|way| !way.shapes.is_empty());
        deaths.any.store(!table.is_empty(), Relaxed);
    }

    /// How many questions aren't asked any more.
    pub(crate) fn poisonous(&self, hook: Hook) -> usize {
        let Some(deaths) = self.hooks.get(hook as usize) else { return 0 };
        let table = deaths.table.read().unwrap_or_else(PoisonError::into_inner);
        table.iter().map(Way::poisonous).sum()
    }

    /// Made once per question: a message may be long.
    fn given(&self, given: Given<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        given(&mut hasher);
        hasher.finish()
    }

    fn hash(&self, reads: &[Read], about: &About, given: u64) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for read in reads {
            read.feed(about, &mut hasher);
        }
        given.hash(&mut hasher);
        hasher.finish()
    }
}

impl Way {
    fn poisonous(&self) -> usize {
        self.shapes.values().filter(|deaths| **deaths >= DEATHS).count()
    }

    /// The deaths of one shape. A full table forgets first what has not been proven,
    /// then everything: who can find so many must be let die now and then.
    fn count(&mut self, hash: u64) -> &mut u32 {
        if self.shapes.len() >= MAX_SHAPES && !self.shapes.contains_key(&hash) {
            self.shapes.retain(|_, deaths| *deaths >= DEATHS);
            if self.shapes.len() >= MAX_SHAPES {
                self.shapes.clear();
            }
        }
        self.shapes.entry(hash).or_insert(0)
    }
}

/// The way of reading that `reads` is, which takes the place of the least useful
/// one where there is no room.
fn way<'t>(table: &'t mut Vec<Way>, reads: &[Read]) -> &'t mut Way {
    let there = table.iter().position(|way| *way.reads == *reads);
    let at = there.unwrap_or_else(|| {
        if table.len() >= MAX_WAYS {
            let least = table.iter().enumerate().min_by_key(|(_, way)| way.poisonous());
            let least = least.map_or(0, |(at, _)| at);
            table.swap_remove(least);
        }
        table.push(Way { reads: reads.into(), shapes: HashMap::new() });
        table.len() - 1
    });
    &mut table[at]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_types::{Identity, SubjectId, TenantId};

    use super::*;
    use crate::reads::Getter;

    fn about(subject: &str) -> About {
        let identity = Identity {
            subject: SubjectId::new(subject).expect("a subject"),
            tenant: TenantId::new("t").expect("a tenant"),
            claims: vec![],
        };
        About { identity: Some(Arc::new(identity)), ..About::default() }
    }

    fn reads(what: &[(Getter, &str)]) -> ReadSet {
        let mut reads = ReadSet::default();
        for (what, name) in what {
            reads.note(*what, (*name).to_owned());
        }
        reads
    }

    const NOTHING: Given<'_> = &|_| {};

    #[test]
    fn only_the_question_that_killed_a_fresh_instance_is_not_asked_again() {
        let breaker = Breaker::default();
        let (mallory, alice) = (about("mallory"), about("alice"));
        let read = reads(&[(Getter::Tenant, ""), (Getter::Subject, "")]);
        let died = |fresh| breaker.died(Hook::Quota, &mallory, NOTHING, &read, fresh);
        let standing = |who: &About| breaker.standing(Hook::Quota, who, NOTHING);
        assert_eq!(standing(&mallory), Standing::Good);
        assert!(!died(true));
        assert_eq!(standing(&mallory), Standing::Good);
        // However often it dies where others have been before.
        assert!(!died(false) && !died(false) && !died(false));
        assert_eq!(standing(&mallory), Standing::Suspect);
        assert!(died(true));
        assert_eq!((standing(&mallory), standing(&alice)), (Standing::Poisonous, Standing::Good));
        assert_eq!(breaker.standing(Hook::Resolve, &mallory, NOTHING), Standing::Good);
    }

    #[test]
    fn a_suspect_that_lives_is_cleared_and_what_is_poisonous_stays() {
        let breaker = Breaker::default();
        let who = about("alice");
        let read = reads(&[(Getter::Subject, "")]);
        let died = || breaker.died(Hook::Quota, &who, NOTHING, &read, true);
        let standing = || breaker.standing(Hook::Quota, &who, NOTHING);
        died();
        died();
        assert_eq!(standing(), Standing::Suspect);
        breaker.lived(Hook::Quota, &who, NOTHING);
        assert_eq!(standing(), Standing::Good);
        assert!(!died() && !died() && died());
        breaker.lived(Hook::Quota, &who, NOTHING);
        assert_eq!((standing(), breaker.poisonous(Hook::Quota)), (Standing::Poisonous, 1));
    }

    #[test]
    fn what_a_hook_is_given_by_value_is_part_of_the_question() {
        let breaker = Breaker::default();
        let who = about("alice");
        let given = |text: &'static str| {
            move |hasher: &mut dyn Hasher| {
                hasher.write(text.as_bytes());
            }
        };
        for _ in 0..DEATHS {
            breaker.died(Hook::Messages, &who, &given("kill"), &ReadSet::default(), true);
        }
        let standing = |text| breaker.standing(Hook::Messages, &who, &given(text));
        assert_eq!((standing("kill"), standing("hello")), (Standing::Poisonous, Standing::Good));
    }

    #[test]
    fn a_call_that_depended_on_more_than_it_read_proves_nothing() {
        let breaker = Breaker::default();
        let who = about("alice");
        let mut read = reads(&[(Getter::Subject, "")]);
        read.note_volatile();
        for _ in 0..10 {
            assert!(!breaker.died(Hook::Quota, &who, NOTHING, &read, true));
        }
        let mut endless = ReadSet::default();
        (0..10_000).for_each(|n| endless.note(Getter::Claim, n.to_string()));
        assert!(endless.shape().is_none());
        read.clear();
        assert!(read.shape().is_some());
    }

    #[test]
    fn the_table_is_bounded_however_many_ways_there_are_to_die() {
        let breaker = Breaker::default();
        for n in 0..10_000_u32 {
            let who = about(&n.to_string());
            let read = reads(&[(Getter::Subject, ""), (Getter::Claim, &(n % 100).to_string())]);
            for _ in 0..=(n % DEATHS) {
                breaker.died(Hook::Quota, &who, NOTHING, &read, true);
            }
        }
        let table = breaker.hooks[Hook::Quota as usize].table.read().expect("not poisoned");
        assert!(table.len() <= MAX_WAYS);
        assert!(table.iter().all(|way| way.shapes.len() <= MAX_SHAPES));
    }
}
