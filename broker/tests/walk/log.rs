//! A log whose tail may be lost.

use broker::replica::log_facts::{EpochEnd, LogFacts, end_offset_in};
use broker::types::{Durability, LeaderEpoch, Offset};

/// A record: the epoch that stamped it, and what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub epoch: i32,
    pub value: u32,
}

/// One replica's log.
#[derive(Clone, Debug)]
pub struct Log {
    pub records: Vec<Record>,
    /// Records that survive power loss.
    pub synced: usize,
    pub durability: Durability,
}

pub fn index(offset: Offset) -> usize {
    usize::try_from(offset.get()).expect("offsets are not negative")
}

pub fn offset(index: usize) -> Offset {
    Offset(i64::try_from(index).expect("a walk's log is short"))
}

impl Log {
    pub fn new(durability: Durability) -> Self {
        Self {
            records: Vec::new(),
            synced: 0,
            durability,
        }
    }

    pub fn truncate(&mut self, to: Offset) {
        self.records.truncate(index(to));
        self.synced = self.synced.min(index(to));
    }

    /// The first `to` records, or all there are.
    pub fn below(&self, to: Offset) -> &[Record] {
        &self.records[..index(to).min(self.records.len())]
    }
}

impl LogFacts for Log {
    fn log_start(&self) -> Offset {
        Offset(0)
    }

    fn log_end(&self) -> Offset {
        offset(self.records.len())
    }

    fn held_end(&self) -> Offset {
        match self.durability {
            Durability::Fsync => offset(self.synced),
            Durability::Replicated => self.log_end(),
        }
    }

    fn is_settled(&self) -> bool {
        self.held_end() == self.log_end()
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.records.last().map(|record| LeaderEpoch(record.epoch))
    }

    fn end_offset_for(&self, epoch: LeaderEpoch) -> EpochEnd {
        let mut starts: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for (at, record) in self.records.iter().enumerate() {
            let known = starts.last().map(|(last, _)| last.get());
            if known != Some(record.epoch) {
                starts.push((LeaderEpoch(record.epoch), offset(at)));
            }
        }
        end_offset_in(starts.into_iter(), self.log_end(), epoch)
    }
}
