//! How long sends took: quantiles per bin, and single operations for the scatter.

use super::{Bins, SentMessage, sent};
use crate::history::{Function, History, Outcome};

/// Quantiles of one bin, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// Half were faster.
    pub p50: i64,
    /// 95 of 100 were faster.
    pub p95: i64,
    /// 99 of 100 were faster.
    pub p99: i64,
    /// The slowest.
    pub max: i64,
    /// How many there were.
    pub count: usize,
}

/// One operation of the scatter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When it began.
    pub invoked: i64,
    /// How long it took, in ns.
    pub took: i64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Latencies of a run.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// By bin of the acknowledgement; none where nothing was acknowledged.
    pub bins: Vec<Option<Quantiles>>,
    /// Of the whole run.
    pub whole: Option<Quantiles>,
    /// Sends and transactions, in the order of their completions.
    pub points: Vec<Point>,
    /// Single messages were timed, not whole batches.
    pub by_message: bool,
}

/// Computes the latencies of sends and transactions.
#[must_use]
pub fn latency(history: &History, bins: &Bins) -> Latency {
    let mut heard: Vec<(u32, i64)> = Vec::new();
    let mut latency = Latency::default();
    for op in history.ops() {
        if !matches!(op.function, Function::Send | Function::Txn) || op.invoked.time < 0 {
            continue;
        }
        let begin = op.invoked.time;
        let end = super::ended(op, bins.end);
        latency.points.push(Point {
            invoked: begin,
            took: end - begin,
            outcome: op.outcome,
        });
        let by_message = history
            .detail(op)
            .is_some_and(|detail| detail.other.contains_key("ack-times"));
        latency.by_message |= by_message;
        if by_message {
            sent(history, op, bins.end, |message: SentMessage| {
                if message.acknowledged {
                    let bin = bins.at(message.heard) as u32;
                    heard.push((bin, (message.heard - begin).max(0)));
                }
            });
        } else if op.outcome == Outcome::Ok {
            heard.push((bins.at(end) as u32, end - begin));
        }
    }
    heard.sort_unstable();
    latency.bins = vec![None; bins.count];
    for chunk in heard.chunk_by(|a, b| a.0 == b.0) {
        latency.bins[chunk[0].0 as usize] = Some(quantiles(chunk));
    }
    heard.sort_unstable_by_key(|(_, took)| *took);
    latency.whole = (!heard.is_empty()).then(|| quantiles(&heard));
    latency
}

fn quantiles(sorted: &[(u32, i64)]) -> Quantiles {
    let at = |share: f64| {
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1].1
    };
    Quantiles {
        p50: at(0.50),
        p95: at(0.95),
        p99: at(0.99),
        max: at(1.0),
        count: sorted.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let hundred: Vec<(u32, i64)> = (1..=100).map(|n| (0, n)).collect();
        let q = quantiles(&hundred);
        assert_eq!(
            (q.p50, q.p95, q.p99, q.max, q.count),
            (50, 95, 99, 100, 100)
        );
        let one = quantiles(&[(0, 7)]);
        assert_eq!((one.p50, one.max), (7, 7));
    }
}
