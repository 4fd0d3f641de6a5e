//! What the log counts: plain numbers, read at any time, turned into text elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that is added to, or set.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Takes away, for gauges.
    pub fn subtract(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    /// Sets, for gauges.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of values by power of two: bucket `i` holds values below `2^i`.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; Self::BUCKETS],
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// (inclusive upper bound, values at or below it), ascending: Prometheus' `le` buckets.
    pub cumulative: Vec<(u64, u64)>,
    /// Sum of all values.
    pub sum: u64,
    /// Number of values.
    pub count: u64,
}

impl Histogram {
    const BUCKETS: usize = 32;

    /// Counts one value.
    pub fn record(&self, value: u64) {
        let bits = (u64::BITS - value.leading_zeros()) as usize;
        self.buckets[bits.min(Self::BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Everything counted so far.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut count = 0;
        let mut cumulative = Vec::with_capacity(Self::BUCKETS);
        for (bits, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            cumulative.push(((1 << bits) - 1, count));
        }
        HistogramSnapshot {
            cumulative,
            sum: self.sum.load(Ordering::Relaxed),
            count,
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; Self::BUCKETS],
            sum: AtomicU64::new(0),
        }
    }
}

impl HistogramSnapshot {
    /// The bound below which at least `quantile` (0 to 1) of the values are; 0 if there are none.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> u64 {
        let rank = (self.count as f64 * quantile).ceil() as u64;
        let reached = self.cumulative.iter().find(|(_, count)| *count >= rank);
        match self.count {
            0 => 0,
            _ => reached.map_or(0, |(bound, _)| *bound),
        }
    }
}

/// The numbers of one log store.
#[derive(Debug, Default)]
pub struct LogMetrics {
    /// Group commits.
    pub commits: Counter,
    /// Frames written.
    pub frames: Counter,
    /// Bytes written, frame headers included.
    pub bytes: Counter,
    /// Files of the WAL (gauge).
    pub files: Counter,
    /// Files of the WAL that were removed because nothing in them lived.
    pub files_removed: Counter,
    /// Checkpoints made.
    pub checkpoints: Counter,
    /// Bytes of batches that were written again so that an old file could be removed.
    pub copied_bytes: Counter,
    /// Runs of batches that were found not to be what was written.
    pub damaged: Counter,
    /// Those that were replaced by the leader's.
    pub mended: Counter,
    /// Bytes that wait for the committer (gauge).
    pub queued_bytes: Counter,
    /// Bytes of recent batches in memory (gauge).
    pub cached_bytes: Counter,
    /// 1 while appends are refused because the disk is full (gauge).
    pub disk_full: Counter,
    /// Frames per group commit.
    pub group_frames: Histogram,
    /// Bytes per group commit.
    pub group_bytes: Histogram,
    /// Time of one fdatasync, in microseconds.
    pub fsync_micros: Histogram,
    /// Time of one group commit, write and fdatasync, in microseconds.
    pub commit_micros: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_below_the_next_power_of_two() {
        let histogram = Histogram::default();
        for value in [0, 1, 2, 3, 4, 1000, u64::from(u32::MAX)] {
            histogram.record(value);
        }
        let snapshot = histogram.snapshot();
        let at_most = |bound: u64| {
            let found = snapshot.cumulative.iter().find(|(le, _)| *le == bound);
            found.map(|(_, count)| *count)
        };
        assert_eq!(at_most(0), Some(1));
        assert_eq!(at_most(1), Some(2));
        assert_eq!(at_most(3), Some(4));
        assert_eq!(at_most(7), Some(5));
        assert_eq!(at_most(1023), Some(6));
        assert_eq!(snapshot.count, 7);
        assert_eq!(snapshot.quantile(0.5), 3);
        assert_eq!(Histogram::default().snapshot().quantile(0.99), 0);
    }
}
