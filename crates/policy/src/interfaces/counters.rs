//! `counters`: numbers that all instances of a plugin share.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::bail;

use crate::bindings::tidegate::host::counters::Host;
use crate::state::State;

/// Keys of one plugin. A full table fails the call rather than forget a counter
/// that may be what holds an attacker back.
const MAX_KEYS: usize = 65_536;
const MAX_KEY: usize = 256;
const SWEEP: Duration = Duration::from_secs(1);

/// The counters of one plugin. The lock is held for one look-up, and never while
/// plugin code runs.
#[derive(Default)]
pub(crate) struct Counters(Mutex<Table>);

#[derive(Default)]
struct Table {
    counts: HashMap<String, (i64, Instant)>,
    swept: Option<Instant>,
}

impl Counters {
    /// The new value; `None` when there is no room for another key.
    fn add(&self, key: String, delta: i64, ttl: Duration, now: Instant) -> Option<i64> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let far = Duration::from_secs(366 * 86_400);
        let ends = now + ttl.min(far);
        if let Some((count, until)) = table.counts.get_mut(&key) {
            if *until <= now {
                (*count, *until) = (0, ends);
            }
            *count = count.saturating_add(delta);
            return Some(*count);
        }
        if table.counts.len() >= MAX_KEYS
            && table.swept.is_none_or(|at| now.duration_since(at) >= SWEEP)
        {
            table.swept = Some(now);
            table.counts.retain(|_, (_, until)| *until > now);
        }
        if table.counts.len() >= MAX_KEYS {
            return None;
        }
        table.counts.insert(key, (delta, ends));
        Some(delta)
    }
}

impl Host for State {
    fn add(&mut self, key: String, delta: i64, ttl_ms: u64) -> wasmtime::Result<i64> {
        self.host_call()?;
        self.reads.note_volatile();
        if key.len() > MAX_KEY {
            bail!("a counter's key of {} bytes; at most {MAX_KEY} are taken", key.len());
        }
        let ttl = Duration::from_millis(ttl_ms);
        match self.around.lasting.counters.add(key, delta, ttl, Instant::now()) {
            Some(count) => Ok(count),
            None => bail!("all of the {MAX_KEYS} counters are in use"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_disappears_its_time_after_its_first_addition() {
        let counters = Counters::default();
        let begin = Instant::now();
        let add = |millis| {
            let now = begin + Duration::from_millis(millis);
            counters.add("k".into(), 2, Duration::from_millis(100), now)
        };
        assert_eq!([add(0), add(99), add(100)], [Some(2), Some(4), Some(2)]);
    }

    #[test]
    fn a_full_table_takes_no_key_until_others_have_ended() {
        let counters = Counters::default();
        let begin = Instant::now();
        let add = |key: usize, at| counters.add(key.to_string(), 1, Duration::from_secs(5), at);
        for key in 0..MAX_KEYS {
            assert_eq!(add(key, begin), Some(1));
        }
        assert_eq!(add(MAX_KEYS, begin), None);
        assert_eq!(add(0, begin), Some(2));
        assert_eq!(add(MAX_KEYS, begin + Duration::from_secs(6)), Some(1));
    }
}
