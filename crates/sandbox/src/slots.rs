//! How many sandboxes start at once, and who is next.
//!
//! Starting is the most expensive thing a sandbox does. Without a bound, a
//! thousand users who come at nine o'clock all wait for the last of them; with
//! one, the first are served first.
//!
//! Fair between tenants: they take turns, and each one's own starts are in order.
//! So a tenant with a hundred starts delays another's single one by one turn.
//! What this does not bound: how long a start may take (a slot is given back
//! after [`HOLD`] at the latest), nor how much a started sandbox uses.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_types::TenantId;
use tokio::sync::oneshot;

/// The longest that a start which is not ready keeps others waiting.
pub(crate) const HOLD: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Debug)]
pub(crate) struct Slots(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Tenants that wait, in the order of their turns. INVARIANT: exactly those
    /// with an entry in `waiting`, each once.
    turns: VecDeque<TenantId>,
    waiting: HashMap<TenantId, VecDeque<oneshot::Sender<Slot>>>,
}

/// The right to be starting; dropping it gives it to the next.
#[derive(Debug)]
pub(crate) struct Slot(Option<Arc<Slots>>);

impl Slots {
    /// At most `limit` at once; at least one.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            free: limit.max(1),
            turns: VecDeque::new(),
            waiting: HashMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way; a poisoned lock holds a whole state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot.
    ///
    /// # Cancel safety
    /// Dropping it gives up the place in the queue; a slot that was just handed
    /// over goes to the next.
    pub(crate) async fn acquire(self: &Arc<Self>, tenant: &TenantId) -> Slot {
        loop {
            let turn = {
                let mut state = self.lock();
                // Nobody waits while something is free: `release` sees to it.
                if state.free > 0 {
                    state.free -= 1;
                    return Slot(Some(Arc::clone(self)));
                }
                let (give, turn) = oneshot::channel();
                let state = &mut *state;
                state
                    .waiting
                    .entry(tenant.clone())
                    .or_insert_with(|| {
                        state.turns.push_back(tenant.clone());
                        VecDeque::new()
                    })
                    .push_back(give);
                turn
            };
            // An error would mean that the queue was dropped, which the `Arc` rules out.
            if let Ok(slot) = turn.await {
                return slot;
            }
        }
    }

    /// Takes the one whose turn it is out of the queue.
    fn next(&self) -> Option<oneshot::Sender<Slot>> {
        let mut state = self.lock();
        loop {
            let Some(tenant) = state.turns.pop_front() else {
                state.free += 1;
                return None;
            };
            let Some(queue) = state.waiting.get_mut(&tenant) else { continue };
            let next = queue.pop_front();
            if queue.is_empty() {
                state.waiting.remove(&tenant);
            } else {
                state.turns.push_back(tenant);
            }
            if next.is_some() {
                return next;
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(slots) = self.0.take() else { return };
        while let Some(give) = slots.next() {
            match give.send(Self(Some(Arc::clone(&slots)))) {
                Ok(()) => return,
                // Whoever waited has gone. Were this slot dropped as one, it would
                // recurse as deep as the queue is long.
                Err(mut slot) => slot.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).expect("valid")
    }

    #[tokio::test]
    async fn tenants_take_turns_and_each_ones_starts_are_in_order() {
        let slots = Slots::new(1);
        let mut held = Some(slots.acquire(&tenant("x")).await);
        let names = ["a", "a", "a", "b", "c"];
        let mut waiting: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let (slots, name) = (Arc::clone(&slots), tenant(name));
                let mut wait = async move { slots.acquire(&name).await }.boxed();
                assert!((&mut wait).now_or_never().is_none(), "the one slot is taken");
                (i, wait)
            })
            .collect();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(held.take());
            let mut still = Vec::new();
            for (i, mut wait) in waiting {
                match (&mut wait).now_or_never() {
                    Some(slot) => {
                        held = Some(slot);
                        order.push(i);
                    }
                    None => still.push((i, wait)),
                }
            }
            waiting = still;
        }
        assert_eq!(order, [0, 3, 4, 1, 2]);
    }

    #[tokio::test]
    async fn who_gave_up_is_passed_over_and_no_slot_is_lost() {
        let slots = Slots::new(2);
        let first = slots.acquire(&tenant("a")).await;
        let second = slots.acquire(&tenant("a")).await;
        for _ in 0..1000 {
            assert!(slots.acquire(&tenant("a")).now_or_never().is_none());
        }
        let mut last = {
            let slots = Arc::clone(&slots);
            async move { slots.acquire(&tenant("a")).await }.boxed()
        };
        assert!((&mut last).now_or_never().is_none());
        drop(first);
        let last = (&mut last).now_or_never().expect("the others gave up");
        drop((second, last));
        assert_eq!(slots.lock().free, 2);
        assert!(slots.lock().turns.is_empty() && slots.lock().waiting.is_empty());
    }
}
