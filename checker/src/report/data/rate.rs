//! Messages per bin: acknowledged, uncertain, failed, read.

use super::{Bins, ended, sent};
use crate::history::{History, Outcome, RunKind};

/// Messages per bin.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Acknowledged.
    pub ok: Vec<u64>,
    /// May have been written.
    pub info: Vec<u64>,
    /// Certainly not written.
    pub fail: Vec<u64>,
    /// Returned by ok polls, each delivery counted.
    pub read: Vec<u64>,
}

impl Rates {
    /// Messages acknowledged, uncertain, failed and read in the whole run.
    #[must_use]
    pub fn totals(&self) -> [u64; 4] {
        [&self.ok, &self.info, &self.fail, &self.read].map(|bins| bins.iter().sum())
    }
}

/// Counts every message of the history into its bin.
#[must_use]
pub fn rates(history: &History, bins: &Bins) -> Rates {
    let empty = || vec![0; bins.count];
    let mut rates = Rates {
        ok: empty(),
        info: empty(),
        fail: empty(),
        read: empty(),
    };
    for op in history.ops().iter().filter(|op| op.function.is_data()) {
        sent(history, op, bins.end, |message| {
            let row = match (message.acknowledged, op.outcome) {
                (true, _) => &mut rates.ok,
                (false, Outcome::Fail) => &mut rates.fail,
                (false, _) => &mut rates.info,
            };
            row[bins.at(message.heard)] += 1;
        });
        if op.outcome != Outcome::Ok {
            continue;
        }
        let polled = history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Poll);
        let read: usize = polled.map(|run| history.records(run).len()).sum();
        rates.read[bins.at(ended(op, bins.end))] += read as u64;
    }
    rates
}
