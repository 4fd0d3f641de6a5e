//! Unseen messages over time: acknowledged, and not read by anybody yet.

use rustc_hash::FxHashMap;

use super::{Bins, ended, sent};
use crate::history::{History, KeyId, Outcome, RunKind, Value};

/// Unseen messages by key.
#[derive(Clone, Debug, Default)]
pub struct Unseen {
    /// By key (dense), by bin: how many at the bin's end.
    pub keys: Vec<Vec<u64>>,
    /// Messages acknowledged, by key; values that were acknowledged twice count once.
    pub acknowledged: Vec<u64>,
    /// Of these, never read by an ok poll.
    pub never: Vec<u64>,
}

impl Unseen {
    /// Messages acknowledged in the whole run.
    #[must_use]
    pub fn acknowledged_in_all(&self) -> u64 {
        self.acknowledged.iter().sum()
    }

    /// Messages acknowledged and never read.
    #[must_use]
    pub fn never_in_all(&self) -> u64 {
        self.never.iter().sum()
    }
}

const NEVER: i64 = i64::MAX;

/// Follows every acknowledged message until its first read.
#[must_use]
pub fn unseen(history: &History, bins: &Bins) -> Unseen {
    let keys = history.keys().len();
    // When each message was acknowledged, and when it was first read.
    let mut life: FxHashMap<(KeyId, Value), (i64, i64)> = FxHashMap::default();
    for op in history.ops().iter().filter(|op| op.function.is_data()) {
        sent(history, op, bins.end, |message| {
            if message.acknowledged {
                let life = life.entry((message.key, message.record.value));
                let (acknowledged, _) = life.or_insert((NEVER, NEVER));
                *acknowledged = (*acknowledged).min(message.heard);
            }
        });
        if op.outcome != Outcome::Ok {
            continue;
        }
        let time = ended(op, bins.end);
        for run in history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Poll)
        {
            for record in history.records(run) {
                let life = life.entry((run.key, record.value));
                let (_, read) = life.or_insert((NEVER, NEVER));
                *read = (*read).min(time);
            }
        }
    }
    let mut unseen = Unseen {
        keys: vec![vec![0; bins.count]; keys],
        acknowledged: vec![0; keys],
        never: vec![0; keys],
    };
    let mut changes = vec![vec![0i64; bins.count]; keys];
    // The order of this iteration cannot be seen: sums do not depend on it.
    for ((key, _), (acknowledged, read)) in life {
        if acknowledged == NEVER {
            continue;
        }
        unseen.acknowledged[key.at()] += 1;
        changes[key.at()][bins.at(acknowledged)] += 1;
        match read {
            NEVER => unseen.never[key.at()] += 1,
            read => changes[key.at()][bins.at(read.max(acknowledged))] -= 1,
        }
    }
    for (series, changes) in unseen.keys.iter_mut().zip(&changes) {
        let mut now = 0i64;
        for (value, change) in series.iter_mut().zip(changes) {
            now += change;
            *value = now.max(0) as u64;
        }
    }
    unseen
}
