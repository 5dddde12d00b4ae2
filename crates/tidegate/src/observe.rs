//! What happened, told to plugins that want to know: never waited for.
//!
//! ```text
//! emit ─▶ queue (8192) ─▶ batches (≤ 64 or 200 ms)  ─▶ one lane per observer ─▶ on-events
//!  one atomic load         one task                     each at its own pace
//!  when nobody wants it
//! ```
//!
//! Whatever doesn't fit is dropped and counted: a slow observer loses events, and
//! nobody waits for it, other observers included.
//!
//! **Not in here:** what an observer does with what it is told.

mod delivery;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tidegate_policy::{Generation, Hook, Refused, Witness};
use tidegate_sandbox::{Change, Watch};
use tidegate_types::Event;
use tidegate_types::meter::Counter;
use tokio::sync::mpsc;

pub(crate) use delivery::Delivery;

/// Events that wait for the task that hands them on.
const QUEUE: usize = 8_192;

/// Takes what happened from whoever it happened to.
#[derive(Debug)]
pub(crate) struct Observer {
    /// Whether any plugin of the generation that serves wants to know.
    wanted: AtomicBool,
    queue: mpsc::Sender<Event>,
    meters: Arc<Meters>,
}

/// What became of events.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    /// Taken from whoever they happened to.
    pub(crate) taken: Counter,
    /// Lost because the queue was full.
    pub(crate) queue_full: Counter,
    /// Lost, once per observer, because it was slow.
    pub(crate) observer_slow: Counter,
    /// Lost, once per observer, because it failed.
    pub(crate) observer_failed: Counter,
}

impl Observer {
    /// An observer, and what it takes: for [`Delivery::start`].
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Event>) {
        let (queue, events) = mpsc::channel(QUEUE);
        let (wanted, meters) = (AtomicBool::new(false), Arc::default());
        (Arc::new(Self { wanted, queue, meters }), events)
    }

    /// Tells what `event` makes, where anybody wants to know; else it isn't made. Never
    /// waits.
    pub(crate) fn emit(&self, event: impl FnOnce() -> Event) {
        if !self.wanted.load(Relaxed) {
            return;
        }
        match self.queue.try_send(event()) {
            Ok(()) => self.meters.taken.add(1),
            Err(_) => self.meters.queue_full.add(1),
        }
    }

    /// What became of events.
    pub(crate) fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }
}

impl Witness for Observer {
    fn refused(&self, refused: &Refused<'_>) {
        self.emit(|| told::refused(refused));
    }

    fn serves(&self, generation: &Generation) {
        self.wanted.store(generation.serves(Hook::Observe), Relaxed);
    }
}

impl Watch for Observer {
    fn changed(&self, change: &Change<'_>) {
        self.emit(|| told::changed(change));
    }
}

#[cfg(test)]
mod tests {
    use tidegate_types::EventKind;

    use super::*;

    fn event() -> Event {
        Event::now(EventKind::Quota).with("meter", "requests")
    }

    #[test]
    fn what_nobody_wants_to_know_is_not_even_made() {
        let (observer, _events) = Observer::new();
        observer.emit(|| unreachable!("nobody wants it"));
        assert_eq!(observer.meters().taken.get(), 0);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (observer, mut events) = Observer::new();
        observer.wanted.store(true, Relaxed);
        for _ in 0..QUEUE + 10 {
            observer.emit(event);
        }
        let meters = observer.meters();
        assert_eq!((meters.taken.get(), meters.queue_full.get()), (QUEUE as u64, 10));
        assert!(events.try_recv().is_ok());
        observer.emit(event);
        assert_eq!(meters.queue_full.get(), 10);
    }
}
