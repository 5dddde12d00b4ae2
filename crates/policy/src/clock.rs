//! The engine's clock: one thread that moves its epoch on, so that a running plugin
//! notices when its time is up. It rests while nothing runs: a gateway without
//! requests wakes no processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use wasmtime::Engine;

use crate::deadline::MAX_DEADLINE;

/// How often a running plugin can notice that its time is up.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// INVARIANT: longer than any call goes without telling that it runs. It tells at
/// its beginning and at each interruption, which comes after half a deadline.
pub(crate) const REST_AFTER: Duration = MAX_DEADLINE.saturating_mul(2);

/// Where a call tells that it needs the clock.
pub(crate) struct Clock {
    wanted: AtomicBool,
    stopped: AtomicBool,
    thread: std::sync::OnceLock<Thread>,
}

impl Clock {
    /// Keeps the clock going, and wakes it where it rests. One load on all but a
    /// few calls in a minute.
    pub(crate) fn wanted(&self) {
        if !self.wanted.load(SeqCst) {
            self.wanted.store(true, SeqCst);
            self.wake();
        }
    }

    /// A wake-up that comes before the thread rests makes its rest end at once.
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// The thread. Ends with the last generation.
pub(crate) struct Ticker {
    clock: Arc<Clock>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: Engine, rest_after: Duration) -> std::io::Result<Self> {
        let clock = Arc::new(Clock {
            wanted: AtomicBool::new(true),
            stopped: AtomicBool::new(false),
            thread: std::sync::OnceLock::new(),
        });
        let ticks = u32::try_from(rest_after.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
        let ticked = Arc::clone(&clock);
        let run = move || run(&engine, &ticked, ticks);
        let thread = thread::Builder::new().name("policy-clock".into()).spawn(run)?;
        // First and only time: `start` is the only place that sets it.
        let _ = clock.thread.set(thread.thread().clone());
        Ok(Self { clock, thread: Some(thread) })
    }

    pub(crate) fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }
}

fn run(engine: &Engine, clock: &Clock, rest_after: u32) {
    let mut until_rest = rest_after;
    while !clock.stopped.load(SeqCst) {
        if until_rest == 0 {
            until_rest = rest_after;
            if !clock.wanted.swap(false, SeqCst) {
                thread::park();
            }
        } else {
            until_rest -= 1;
            thread::park_timeout(TICK);
        }
        engine.increment_epoch();
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.clock.stopped.store(true, SeqCst);
        self.clock.wake();
        if let Some(thread) = self.thread.take() {
            // It can't panic, and if it did there would be nothing left to do.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Config, Instance, Module, Store, Trap};

    use super::*;

    #[test]
    fn a_clock_that_rests_is_woken_by_the_next_call() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).expect("an engine");
        // Rests after every second tick: nearly always.
        let ticker = Ticker::start(engine.clone(), 2 * TICK).expect("a thread");
        let forever = r#"(module (func (export "f") (loop (br 0))))"#;
        let module = Module::new(&engine, wat::parse_str(forever).expect("well-formed"));
        let module = module.expect("compiles");
        for _ in 0..50 {
            let mut store = Store::new(&engine, ());
            let clock = ticker.clock();
            store.epoch_deadline_callback(move |_| {
                clock.wanted();
                Ok(wasmtime::UpdateDeadline::Interrupt)
            });
            store.set_epoch_deadline(1);
            let instance = Instance::new(&mut store, &module, &[]).expect("instantiates");
            let f = instance.get_typed_func::<(), ()>(&mut store, "f").expect("exported");
            ticker.clock().wanted();
            let error = f.call(&mut store, ()).expect_err("is interrupted");
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
        }
    }
}
