//! One broker of the model: the core under test, and a list for a log.

use std::time::Duration;

use broker::chaos::seeded_bug::BugSet;
use broker::replica::core::{ReplicaCore, Settings};
use broker::replica::log_facts::{EpochEnd, LogFacts, end_offset_in};
use broker::types::{BrokerEpoch, BrokerId, Durability, LeaderEpoch, Offset};

/// A record: the epoch that stamped it, and what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    pub epoch: i32,
    pub value: u8,
}

/// A log in which everything that is written is durable at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListLog(pub Vec<Record>);

impl LogFacts for ListLog {
    fn log_start(&self) -> Offset {
        Offset(0)
    }

    fn log_end(&self) -> Offset {
        Offset(i64::try_from(self.0.len()).expect("a model's log is short"))
    }

    fn held_end(&self) -> Offset {
        self.log_end()
    }

    fn is_settled(&self) -> bool {
        true
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.0.last().map(|record| LeaderEpoch(record.epoch))
    }

    fn end_offset_for(&self, epoch: LeaderEpoch) -> EpochEnd {
        let mut starts: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for (at, record) in self.0.iter().enumerate() {
            if starts
                .last()
                .is_none_or(|(last, _)| last.get() != record.epoch)
            {
                let at = Offset(i64::try_from(at).expect("a model's log is short"));
                starts.push((LeaderEpoch(record.epoch), at));
            }
        }
        end_offset_in(starts.into_iter(), self.log_end(), epoch)
    }
}

impl ListLog {
    pub fn truncate(&mut self, to: Offset) {
        self.0.truncate(index(to));
    }

    /// The first `to` records.
    pub fn below(&self, to: Offset) -> &[Record] {
        &self.0[..index(to).min(self.0.len())]
    }
}

pub fn index(offset: Offset) -> usize {
    usize::try_from(offset.get()).expect("offsets are not negative")
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    pub core: ReplicaCore,
    pub log: ListLog,
    /// How many of the controller's images it has adopted.
    pub images: usize,
}

impl Replica {
    /// A process that starts on `log`, whose checkpoint of the watermark was never written.
    pub fn new(
        (id, broker_epoch): (BrokerId, BrokerEpoch),
        (log, durability): (ListLog, Durability),
        bugs: BugSet,
    ) -> Self {
        let settings = Settings {
            me: id,
            broker_epoch,
            durability,
            // Time has two values here: events happen at 0, ticks a second later. So a tick finds
            // everybody who is behind lagging, as if it had been for long.
            lag_time_max: Duration::ZERO,
            bugs,
        };
        Self {
            core: ReplicaCore::new(settings, Offset(0), &log),
            log,
            images: 0,
        }
    }
}
