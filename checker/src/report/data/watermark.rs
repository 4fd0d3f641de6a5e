//! How far watermarks lag behind acknowledgements, seen from outside: when a broker was asked for
//! its high watermark, how many messages below the highest acknowledged offset did it not cover?
//!
//! A correct leader answers 0 for acks=all from the moment of the acknowledgement on; with acks=1
//! and acks=0 a lag is normal. A deposed leader that does not know it yet may answer anything: its
//! answers (an epoch below the highest one seen before, or in the next answer after it) are left
//! out, as in the definition of `stale-watermark`.

use super::{Bins, sent};
use crate::history::{Function, History, Sample};

/// Lag by key and bin.
#[derive(Clone, Debug, Default)]
pub struct WatermarkLag {
    /// By key (dense), by bin: the worst answer of the bin, where there was one.
    pub keys: Vec<Vec<Option<u64>>>,
    /// Answers that held a watermark.
    pub answers: u64,
    /// Of these, answers that did not cover an acknowledged message.
    pub behind: u64,
    /// The worst of all.
    pub worst: u64,
    /// Answers of deposed leaders, left out of everything else.
    pub deposed: u64,
}

/// Offsets above this are no offsets of a log but the work of a bug (`invalid-offset`); one of
/// them would flatten the whole picture.
const ABSURD: i64 = 1 << 40;

/// Compares each answer with what had been acknowledged before it was asked for.
#[must_use]
pub fn lag(history: &History, bins: &Bins) -> WatermarkLag {
    let acknowledged = acknowledged_ends(history, bins);
    let mut lag = WatermarkLag {
        keys: vec![vec![None; bins.count]; history.keys().len()],
        ..WatermarkLag::default()
    };
    let deposed = deposed(history);
    for (sample, deposed) in history.samples.iter().zip(deposed) {
        let Sample {
            op,
            key,
            high_watermark,
            ..
        } = sample;
        let Some(watermark) = high_watermark else {
            continue;
        };
        if deposed {
            lag.deposed += 1;
            continue;
        }
        let op = history.op(*op);
        let before = &acknowledged[key.at()];
        let at = before.partition_point(|(seq, _)| *seq < op.invoked.seq);
        let end = at.checked_sub(1).map_or(0, |at| before[at].1);
        let behind = (end - watermark).max(0) as u64;
        lag.answers += 1;
        lag.behind += u64::from(behind > 0);
        lag.worst = lag.worst.max(behind);
        let slot = &mut lag.keys[key.at()][bins.at(super::ended(op, bins.end))];
        *slot = Some(slot.map_or(behind, |worst| worst.max(behind)));
    }
    lag
}

/// By sample: whether it is an answer of a deposed leader.
fn deposed(history: &History) -> Vec<bool> {
    let mut deposed = vec![false; history.samples.len()];
    // By key: the highest epoch so far, and the last answer.
    let mut known: Vec<(i64, Option<usize>)> = vec![(i64::MIN, None); history.keys().len()];
    for (at, sample) in history.samples.iter().enumerate() {
        let Some(epoch) = sample.epoch else {
            continue;
        };
        let (highest, last) = &mut known[sample.key.at()];
        if epoch < *highest {
            deposed[at] = true;
        } else if epoch > *highest
            && let Some(last) = *last
        {
            deposed[last] = true;
        }
        *highest = epoch.max(*highest);
        *last = Some(at);
    }
    deposed
}

/// By key: (position in the history, one past the highest offset acknowledged up to it).
fn acknowledged_ends(history: &History, bins: &Bins) -> Vec<Vec<(u32, i64)>> {
    let mut ends: Vec<Vec<(u32, i64)>> = vec![Vec::new(); history.keys().len()];
    for op in history.ops() {
        if op.function != Function::Send {
            continue;
        }
        sent(history, op, bins.end, |message| {
            let Some(offset) = message.record.offset() else {
                return;
            };
            if !message.acknowledged || !(0..ABSURD).contains(&offset) {
                return;
            }
            let ends = &mut ends[message.key.at()];
            let highest = ends.last().map_or(0, |(_, end)| *end);
            if offset < highest {
                return;
            }
            match ends.last_mut() {
                Some((seq, end)) if *seq == op.completed.seq => *end = offset + 1,
                _ => ends.push((op.completed.seq, offset + 1)),
            }
        });
    }
    ends
}
