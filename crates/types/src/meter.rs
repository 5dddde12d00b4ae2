//! Counters and histograms that cost one atomic addition: what the request path
//! may touch. Rendering them is the `control` crate's affair.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of a [`Histogram`]'s buckets, in microseconds; what is larger
/// falls into one more bucket. From one plugin call to one cold start.
pub const BOUNDS_MICROS: [u64; 18] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000,
    5_000_000, 20_000_000, 60_000_000,
];

/// How long things took.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    /// Counts per bucket (not cumulative; the last is the overflow) and the sum
    /// in microseconds. Not one consistent instant: observations may fall between.
    #[must_use]
    pub fn snapshot(&self) -> ([u64; BOUNDS_MICROS.len() + 1], u64) {
        (std::array::from_fn(|i| self.buckets[i].load(Relaxed)), self.sum_micros.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [5, 6, 100_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let (counts, sum) = histogram.snapshot();
        assert_eq!((counts[0], counts[1], counts[BOUNDS_MICROS.len()]), (1, 1, 1));
        assert_eq!(sum, 100_000_011);
    }
}
