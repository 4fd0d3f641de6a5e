//! One partition of a correct cluster: a log of which a prefix is committed, and its leaders.
//!
//! Invariants: what is below the high watermark never changes; only what is below it is read or
//! acknowledged; epochs grow. Records of a transaction are readable once it is committed and no
//! earlier transaction is open; aborted ones leave a gap.

use std::collections::BTreeSet;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Where a record stands in its transaction's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not part of a transaction, or of a committed one.
    Plain,
    /// Its transaction is open.
    Open,
    /// Its transaction was aborted: nobody ever reads it.
    Aborted,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub offset: i64,
    pub epoch: i64,
    pub value: i64,
    pub state: State,
}

/// A leader that was deposed and does not know it yet.
#[derive(Clone, Copy, Debug)]
pub struct Deposed {
    pub broker: i64,
    pub epoch: i64,
    pub watermark: i64,
    pub stable: i64,
}

/// One partition.
#[derive(Debug)]
pub struct Partition {
    pub number: u32,
    pub log: Vec<Record>,
    /// The next offset to give out.
    pub end: i64,
    /// Everything below is committed.
    pub watermark: i64,
    pub epoch: i64,
    pub leader: i64,
    pub deposed: Option<Deposed>,
    /// Offsets of records of open transactions.
    open: BTreeSet<i64>,
    /// Everything below is decided for good: no change of leader takes it away.
    settled: i64,
    next_value: i64,
}

impl Partition {
    /// Empty, led by one of three brokers.
    pub fn new(number: u32) -> Partition {
        Partition {
            number,
            log: Vec::new(),
            end: 0,
            watermark: 0,
            epoch: 0,
            leader: i64::from(number % 3) + 1,
            deposed: None,
            open: BTreeSet::new(),
            settled: 0,
            next_value: 0,
        }
    }

    /// A value that no message of this partition has.
    pub fn fresh_value(&mut self) -> i64 {
        self.next_value += 1;
        self.next_value
    }

    /// Appends a record; not committed yet.
    pub fn append(&mut self, value: i64, state: State) -> i64 {
        let offset = self.end;
        if state == State::Open {
            self.open.insert(offset);
            self.settled = offset + 1;
        }
        self.log.push(Record {
            offset,
            epoch: self.epoch,
            value,
            state,
        });
        self.end += 1;
        offset
    }

    /// A control record takes an offset that nobody ever reads.
    pub fn append_control(&mut self) {
        self.end += 1;
    }

    /// The followers have caught up.
    pub fn replicate(&mut self) {
        self.watermark = self.end;
    }

    /// Whether the record of that value at that offset is committed.
    pub fn is_committed(&self, offset: i64, value: i64) -> bool {
        offset < self.watermark
            && self
                .find(offset)
                .is_some_and(|record| record.value == value)
    }

    fn find(&self, offset: i64) -> Option<&Record> {
        let at = self
            .log
            .binary_search_by_key(&offset, |record| record.offset)
            .ok()?;
        Some(&self.log[at])
    }

    /// Puts other values at two offsets: each other's.
    pub fn swap_values(&mut self, a: i64, b: i64) {
        let place = |offset: i64| {
            self.log
                .binary_search_by_key(&offset, |record| record.offset)
        };
        if let (Ok(a), Ok(b)) = (place(a), place(b)) {
            let value = self.log[a].value;
            self.log[a].value = self.log[b].value;
            self.log[b].value = value;
        }
    }

    /// Decides the fate of a transaction's record.
    pub fn decide(&mut self, offset: i64, state: State) {
        if let Ok(at) = self
            .log
            .binary_search_by_key(&offset, |record| record.offset)
        {
            self.log[at].state = state;
            self.open.remove(&offset);
        }
    }

    /// What a consumer may read next from a position, up to a number of records, and where it
    /// stands afterwards.
    pub fn read(&self, position: i64, limit: usize) -> (Vec<(i64, i64)>, i64) {
        let mut records = Vec::new();
        let mut next = position;
        let from = self.log.partition_point(|record| record.offset < position);
        for record in &self.log[from..] {
            let open = record.state == State::Open;
            if record.offset >= self.watermark || open || records.len() == limit {
                return (records, next);
            }
            next = record.offset + 1;
            if record.state == State::Plain {
                records.push((record.offset, record.value));
            }
        }
        (records, next.max(self.stable()))
    }

    /// The last stable offset: the first record of an open transaction, or the watermark.
    pub fn stable(&self) -> i64 {
        let open = self.open.first().copied().unwrap_or(i64::MAX);
        open.min(self.watermark)
    }

    /// Another broker takes over. It has everything that is committed, and of the rest as much as
    /// it happens to have; the offsets after that are given out again. Records of transactions
    /// stay: their coordinator has seen them replicated.
    pub fn fail_over(&mut self, random: &mut ChaCha8Rng, brokers: i64) {
        self.deposed = Some(Deposed {
            broker: self.leader,
            epoch: self.epoch,
            watermark: self.watermark,
            stable: self.stable(),
        });
        self.leader = self.leader % brokers + 1;
        self.epoch += 1;
        let keep = random.random_range(self.watermark..=self.end);
        let keep = keep.max(self.settled);
        while self.log.last().is_some_and(|record| record.offset >= keep) {
            self.log.pop();
        }
        self.end = keep;
    }

    /// Everybody has heard of the last change of leader.
    pub fn forget_deposed(&mut self) {
        self.deposed = None;
    }
}
