//! What the pictures and tables show, computed from the history in one pass each.
//!
//! Invariants: everything is in ns since the run began, clipped to `[0, end]`; everything has a
//! fixed order; what a picture needs is bounded by the number of bins, not by the length of the
//! history, and where many values fall into one bin the smallest and the largest survive.

pub mod availability;
pub mod errors;
pub mod faults;
pub mod latency;
pub mod leaders;
pub mod lookup;
pub mod names;
pub mod order;
pub mod rate;
pub mod unseen;
pub mod watermark;

use crate::history::{History, Op, Outcome, Record, RunKind};

/// The run's time, cut into bins of equal width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bins {
    /// Width of a bin in ns.
    pub width: i64,
    /// How many there are; at least one.
    pub count: usize,
    /// End of the run in ns; at least one.
    pub end: i64,
}

impl Bins {
    /// Bins of a round width for a run of `end` ns, at most `limit` of them.
    #[must_use]
    pub fn of(end: i64, limit: usize) -> Bins {
        let end = end.max(1);
        let mut width: i64 = 1_000_000;
        let steps = [2, 5, 10];
        let mut decade: i64 = 1_000_000;
        'search: while end / width >= limit as i64 {
            for step in steps {
                width = decade.saturating_mul(step);
                if end / width < limit as i64 {
                    break 'search;
                }
            }
            decade = decade.saturating_mul(10);
        }
        let count = (end / width + 1) as usize;
        Bins { width, count, end }
    }

    /// The bin of a moment.
    #[must_use]
    pub fn at(&self, ns: i64) -> usize {
        ((ns.max(0) / self.width) as usize).min(self.count - 1)
    }

    /// When a bin begins.
    #[must_use]
    pub fn start(&self, bin: usize) -> i64 {
        bin as i64 * self.width
    }

    /// When a bin ends; the last one with the run.
    #[must_use]
    pub fn stop(&self, bin: usize) -> i64 {
        ((bin as i64 + 1) * self.width).min(self.end)
    }
}

/// When the last event of the history happened, in ns; 0 where no event has a time.
#[must_use]
pub fn end_of(history: &History) -> i64 {
    let ops = history.ops().iter();
    ops.map(|op| op.invoked.time.max(op.completed.time))
        .chain(history.nemesis.iter().map(|step| step.at.time))
        .chain(history.phases.iter().map(|phase| phase.at.time))
        .max()
        .unwrap_or(0)
        .max(0)
}

/// When an operation ended, as far as the history says: open ones last until the end.
#[must_use]
pub fn ended(op: &Op, end: i64) -> i64 {
    match op.outcome {
        Outcome::Open => end,
        _ => op.completed.time.max(op.invoked.time).max(0),
    }
}

/// One message of a send, with the time at which its producer heard of it.
#[derive(Clone, Copy, Debug)]
pub struct SentMessage {
    /// Its key.
    pub key: crate::history::KeyId,
    /// Offset and value.
    pub record: Record,
    /// When it was acknowledged, or given up.
    pub heard: i64,
    /// Whether it was acknowledged (history.md: a micro-op with an offset, whatever the
    /// operation's type; but nothing of a failed transaction was).
    pub acknowledged: bool,
}

/// Calls `visit` for each message that an operation sent.
///
/// A history may say when each message was acknowledged, in a field `ack-times` beside the value
/// (ns since the run began, one entry for each micro-op, null where it was not acknowledged);
/// without it, all were heard of when the operation completed.
pub fn sent(history: &History, op: &Op, end: i64, mut visit: impl FnMut(SentMessage)) {
    let times = history
        .detail(op)
        .and_then(|detail| detail.other.get("ack-times"))
        .and_then(serde_json::Value::as_array);
    let ended = ended(op, end);
    let transaction = op.function == crate::history::Function::Txn;
    for run in history.runs(op) {
        if run.kind != RunKind::Send {
            continue;
        }
        for (at, record) in history.records(run).iter().enumerate() {
            let heard = times
                .and_then(|times| times.get(run.micro_op() as usize + at)?.as_i64())
                .filter(|time| (0..=ended).contains(time))
                .unwrap_or(ended);
            let acknowledged = match transaction {
                true => op.outcome == Outcome::Ok,
                false => record.offset().is_some(),
            };
            visit(SentMessage {
                key: run.key,
                record: *record,
                heard,
                acknowledged,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_round_and_cover_the_run() {
        for (end, limit) in [(0, 480), (1, 480), (60_000_000_000, 480), (i64::MAX, 480)] {
            let bins = Bins::of(end, limit);
            assert!(bins.count <= limit && bins.count >= 1, "{end}");
            assert_eq!(bins.at(bins.end), bins.count - 1, "{end}");
            assert_eq!(bins.at(-5), 0);
        }
        assert_eq!(Bins::of(60_000_000_000, 480).width, 200_000_000);
    }
}
