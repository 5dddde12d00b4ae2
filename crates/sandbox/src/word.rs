//! The one atomic word that lets requests in: a gate and a count.
//!
//! ```text
//!   63 62 | 61 … 32 | 31 … 0
//!   gate  | epoch   | requests in flight
//! ```
//!
//! A request is let in by one compare-and-swap and leaves by one subtraction; no
//! lock, no message. Only the sandbox's actor opens the gate and closes it for
//! good. Everyone may undo a *closing*: that is how a request calls a sleep off.
//!
//! The epoch grows each time the gate opens, so that what is attached knows
//! whether "the gate closes" was meant for it.
//!
//! INVARIANT: `Closing` implies that nothing is in flight. The gate gets there
//! only from a count of zero, and counting someone in leaves it.

use std::sync::atomic::{AtomicU64, Ordering};

const COUNT: u64 = 0xffff_ffff;
const EPOCH_SHIFT: u32 = 32;
const EPOCH: u64 = 0x3fff_ffff << EPOCH_SHIFT;
const GATE_SHIFT: u32 = 62;

/// Whether requests are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Nobody is let in; ask the actor.
    Closed,
    /// Whoever comes is let in.
    Open,
    /// About to close: whoever comes is let in and opens it again.
    Closing,
}

/// Which opening of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Epoch(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fields {
    gate: Gate,
    epoch: Epoch,
    count: u32,
}

impl Fields {
    fn unpack(word: u64) -> Self {
        let gate = match word >> GATE_SHIFT {
            0 => Gate::Closed,
            1 => Gate::Open,
            _ => Gate::Closing,
        };
        // Masked to 30 and 32 bits: neither is cut.
        let (epoch, count) = (((word & EPOCH) >> EPOCH_SHIFT) as u32, (word & COUNT) as u32);
        Self { gate, epoch: Epoch(epoch), count }
    }

    fn pack(self) -> u64 {
        let gate: u64 = match self.gate {
            Gate::Closed => 0,
            Gate::Open => 1,
            Gate::Closing => 2,
        };
        gate << GATE_SHIFT
            | (u64::from(self.epoch.0) << EPOCH_SHIFT & EPOCH)
            | u64::from(self.count)
    }

    fn opened(self) -> Self {
        Self { gate: Gate::Open, epoch: Epoch(self.epoch.0.wrapping_add(1)), ..self }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Word(AtomicU64);

impl Word {
    /// Closed, nobody in flight.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn load(&self) -> Fields {
        Fields::unpack(self.0.load(Ordering::SeqCst))
    }

    /// Changes the word by `change` as one step; nothing happens where it
    /// declines. Returns what the word was before, and is now.
    fn update(&self, change: impl Fn(Fields) -> Option<Fields>) -> Option<(Fields, Fields)> {
        let mut word = self.0.load(Ordering::SeqCst);
        loop {
            let before = Fields::unpack(word);
            let after = change(before)?;
            match self.0.compare_exchange_weak(
                word,
                after.pack(),
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(_) => return Some((before, after)),
                Err(actual) => word = actual,
            }
        }
    }

    /// Counts one request in, unless the gate is closed.
    pub(crate) fn admit(&self) -> Option<Epoch> {
        let (_, now) = self.update(|f| match f.gate {
            Gate::Closed => None,
            Gate::Open => Some(Fields { count: f.count + 1, ..f }),
            Gate::Closing => Some(Fields { count: f.count + 1, ..f }.opened()),
        })?;
        Some(now.epoch)
    }

    /// Which opening of the gate it is, if the gate is open and not about to close:
    /// for visitors, who are not counted and call nothing off.
    pub(crate) fn open_now(&self) -> Option<Epoch> {
        let now = self.load();
        (now.gate == Gate::Open).then_some(now.epoch)
    }

    /// Counts one request out.
    pub(crate) fn leave(&self) {
        let before = self.0.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before & COUNT > 0, "more left than were let in");
    }

    /// Opens a gate that is closing; says whether it was.
    pub(crate) fn call_off(&self) -> bool {
        self.update(|f| (f.gate == Gate::Closing).then(|| f.opened())).is_some()
    }

    /// Opens a closed gate. The actor's.
    pub(crate) fn open(&self) -> Epoch {
        let opened = self.update(|f| (f.gate == Gate::Closed).then(|| f.opened()));
        opened.map_or_else(|| self.load().epoch, |(_, now)| now.epoch)
    }

    /// Begins to close an open gate, if nothing is in flight. The actor's.
    pub(crate) fn begin_closing(&self) -> Option<Epoch> {
        let (_, now) = self.update(|f| {
            (f.gate == Gate::Open && f.count == 0).then_some(Fields { gate: Gate::Closing, ..f })
        })?;
        Some(now.epoch)
    }

    /// Closes for good what still is closing: `false` when it was called off. The actor's.
    pub(crate) fn commit(&self) -> bool {
        self.update(|f| (f.gate == Gate::Closing).then_some(Fields { gate: Gate::Closed, ..f }))
            .is_some()
    }

    /// Closes at once, whatever is in flight. The actor's.
    pub(crate) fn shut(&self) -> Epoch {
        let shut = self.update(|f| Some(Fields { gate: Gate::Closed, ..f }));
        shut.map_or_else(Epoch::default, |(_, now)| now.epoch)
    }

    /// How many requests are in flight.
    pub(crate) fn in_flight(&self) -> u32 {
        self.load().count
    }

    #[cfg(test)]
    fn gate(&self) -> Gate {
        self.load().gate
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_an_open_one_counts() {
        let word = Word::new();
        assert_eq!(word.admit(), None);
        let epoch = word.open();
        assert_eq!((word.admit(), word.admit()), (Some(epoch), Some(epoch)));
        assert_eq!(word.in_flight(), 2);
        word.leave();
        assert_eq!((word.in_flight(), word.gate()), (1, Gate::Open));
    }

    #[test]
    fn the_gate_begins_to_close_only_when_nothing_is_in_flight() {
        let word = Word::new();
        assert_eq!(word.begin_closing(), None);
        word.open();
        word.admit();
        assert_eq!(word.begin_closing(), None);
        word.leave();
        assert!(word.begin_closing().is_some());
        assert!(word.commit());
        assert_eq!((word.gate(), word.admit()), (Gate::Closed, None));
    }

    #[test]
    fn a_request_before_the_commit_calls_it_off() {
        let word = Word::new();
        let first = word.open();
        assert_eq!(word.begin_closing(), Some(first));
        let second = word.admit().expect("still let in");
        assert!(second > first, "what attaches now must not be told to close");
        assert!(!word.commit());
        assert_eq!((word.gate(), word.in_flight()), (Gate::Open, 1));
    }

    #[test]
    fn a_client_byte_calls_it_off_too_and_only_while_closing() {
        let word = Word::new();
        assert!(!word.call_off());
        word.open();
        assert!(!word.call_off());
        word.begin_closing();
        assert!(word.call_off());
        assert!(!word.commit());
    }

    #[test]
    fn shutting_keeps_the_count() {
        let word = Word::new();
        word.open();
        word.admit();
        word.shut();
        assert_eq!((word.admit(), word.in_flight()), (None, 1));
        word.leave();
        assert_eq!(word.in_flight(), 0);
    }

    /// Four threads come and go while a fifth closes and opens the gate: whenever
    /// a closing commits, nobody is inside, and nobody gets in until it opens.
    #[test]
    fn under_contention_nobody_is_inside_a_closed_gate() {
        const ROUNDS: u32 = 20_000;
        let word = Arc::new(Word::new());
        let inside = Arc::new(AtomicU64::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let visitors: Vec<_> = (0..4)
            .map(|_| {
                let (word, inside, over) = (word.clone(), inside.clone(), over.clone());
                thread::spawn(move || {
                    let mut let_in = 0_u64;
                    while !over.load(Ordering::SeqCst) {
                        if word.admit().is_some() {
                            inside.fetch_add(1, Ordering::SeqCst);
                            let_in += 1;
                            inside.fetch_sub(1, Ordering::SeqCst);
                            word.leave();
                        }
                        thread::yield_now();
                    }
                    let_in
                })
            })
            .collect();
        let (mut committed, mut called_off) = (0, 0);
        word.open();
        for _ in 0..ROUNDS {
            if word.begin_closing().is_none() {
                thread::yield_now();
                continue;
            }
            thread::yield_now();
            if word.commit() {
                assert_eq!(inside.load(Ordering::SeqCst), 0);
                assert_eq!(word.in_flight(), 0);
                committed += 1;
                word.open();
            } else {
                called_off += 1;
            }
        }
        over.store(true, Ordering::SeqCst);
        let let_in: u64 = visitors.into_iter().map(|v| v.join().expect("no panic")).sum();
        assert_eq!(word.in_flight(), 0);
        assert!(let_in > 0 && committed + called_off > 0, "{let_in} {committed} {called_off}");
    }
}
