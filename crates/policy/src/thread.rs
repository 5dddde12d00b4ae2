//! Which thread this is, as a small number: what is kept apart by thread is found
//! at the cost of one look, where hashing a thread's id took as long as a small call.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Threads are numbered as they come.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Relaxed);
}

/// The calling thread's number.
pub(crate) fn number() -> usize {
    THREAD.with(|thread| *thread)
}
