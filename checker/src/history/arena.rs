//! Where the records of all runs lie: by key, what was written apart from what was read.
//!
//! Everybody who reads a log reads the same records, so a run of reads is first looked for among
//! what stands there already, and shares it if it is the same to the last bit: each part of a log
//! is stored about once, however many clients read it, and so is each state of a growing list. A
//! run is a start and a length, whoever else lies on the same records.
//!
//! Deliberately absent: any promise that equal runs are shared. Only what was stored lately is
//! found again.

use super::{Record, Run, RunKind};

/// Places that are remembered of one key, at most: those further back are stored again.
const RECENT_MAX: usize = 1 << 16;

const NOWHERE: u32 = u32::MAX;

/// What was written to one key, or read from it.
#[derive(Clone, Debug, Default)]
struct Lane {
    records: Vec<Record>,
    /// By a hash of a record, where it lies; reads only. A power of two long, or empty.
    recent: Vec<u32>,
}

/// All records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arena {
    lanes: Vec<Lane>,
    stored: usize,
}

/// Written and read records of a key lie apart.
fn lane_of(run: &Run) -> usize {
    let read = matches!(run.kind, RunKind::Poll | RunKind::Read);
    run.key.at() * 2 + usize::from(read)
}

fn range(run: &Run) -> std::ops::Range<usize> {
    run.start as usize..run.start as usize + run.len as usize
}

impl Arena {
    /// A run's records.
    pub fn of(&self, run: &Run) -> &[Record] {
        match run.len {
            0 => &[],
            _ => &self.lanes[lane_of(run)].records[range(run)],
        }
    }

    /// How many records are stored.
    pub fn stored(&self) -> usize {
        self.stored
    }

    /// Stores a run's records, and says where they begin.
    pub fn store(&mut self, run: &Run, records: &[Record]) -> u32 {
        if records.is_empty() {
            return 0;
        }
        let at = lane_of(run);
        if at >= self.lanes.len() {
            self.lanes.resize_with(at + 1, Lane::default);
        }
        let lane = &mut self.lanes[at];
        let before = lane.records.len();
        let start = match run.kind {
            RunKind::Poll | RunKind::Read => lane.share(records),
            _ => lane.append(records),
        };
        self.stored += lane.records.len() - before;
        start
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        *self = Arena::default();
    }

    /// Every record of a key, each stored one once: those written, and those read.
    pub fn of_key(&self, key: super::KeyId) -> [&[Record]; 2] {
        [0, 1].map(|read| {
            let lane = self.lanes.get(key.at() * 2 + read);
            lane.map_or(&[][..], |lane| &lane.records)
        })
    }

    /// A column beside the records.
    pub fn column<T: Clone>(&self, value: &T) -> Column<T> {
        let lanes = self.lanes.iter();
        Column(
            lanes
                .map(|lane| vec![value.clone(); lane.records.len()])
                .collect(),
        )
    }
}

impl Lane {
    fn append(&mut self, records: &[Record]) -> u32 {
        let start = self.records.len() as u32;
        self.records.extend_from_slice(records);
        start
    }

    /// Where the records lie already, if that is known; at the end of the lane only their beginning
    /// need lie there, and the rest is added.
    fn share(&mut self, records: &[Record]) -> u32 {
        let mask = self.recent.len().wrapping_sub(1);
        let known = self.recent.get(hash(records[0]) & mask).copied();
        if let Some(start) = known.filter(|&start| start != NOWHERE) {
            let there = &self.records[start as usize..];
            let common = there.len().min(records.len());
            if there[..common] == records[..common] {
                self.extend_reads(&records[common..]);
                return start;
            }
        }
        let start = self.records.len() as u32;
        self.extend_reads(records);
        start
    }

    fn extend_reads(&mut self, records: &[Record]) {
        let from = self.records.len();
        self.records.extend_from_slice(records);
        let wanted = self.records.len().next_power_of_two().min(RECENT_MAX);
        let mut from = from;
        if self.recent.len() < wanted {
            self.recent = vec![NOWHERE; wanted];
            from = self.records.len().saturating_sub(wanted);
        }
        let mask = self.recent.len().wrapping_sub(1);
        for (at, &record) in self.records.iter().enumerate().skip(from) {
            self.recent[hash(record) & mask] = at as u32;
        }
    }
}

/// Neighbours in a log have different hashes.
fn hash(record: Record) -> usize {
    match record.offset() {
        Some(offset) => offset as usize,
        None => record.value.code() as usize,
    }
}

/// Something known of each record: of all runs that lie on it.
#[derive(Debug)]
pub(crate) struct Column<T>(Vec<Vec<T>>);

impl<T> Column<T> {
    /// Beside a run's records.
    pub fn of(&self, run: &Run) -> &[T] {
        match run.len {
            0 => &[],
            _ => &self.0[lane_of(run)][range(run)],
        }
    }

    /// Beside every record of a key, as [`Arena::of_key`] gives them.
    pub fn of_key(&self, key: super::KeyId) -> [&[T]; 2] {
        [0, 1].map(|read| {
            self.0
                .get(key.at() * 2 + read)
                .map_or(&[][..], Vec::as_slice)
        })
    }

    /// The same, to write to.
    pub fn of_mut(&mut self, run: &Run) -> &mut [T] {
        match run.len {
            0 => &mut [],
            _ => &mut self.0[lane_of(run)][range(run)],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::{KeyId, Value};

    fn run(kind: RunKind, key: u32, len: usize) -> Run {
        Run::new(kind, KeyId(key), 0, 0, len as u32)
    }

    fn store(arena: &mut Arena, kind: RunKind, key: u32, records: &[Record]) -> Run {
        let mut run = run(kind, key, records.len());
        run.start = arena.store(&run, records);
        run
    }

    fn log(range: std::ops::Range<i64>) -> Vec<Record> {
        let record = |offset| Record {
            offset,
            value: Value::inline(offset * 3).expect("small"),
        };
        range.map(record).collect()
    }

    #[test]
    fn a_log_that_many_read_is_stored_once() {
        let mut arena = Arena::default();
        for _ in 0..10 {
            for from in 0..90 {
                store(&mut arena, RunKind::Poll, 3, &log(from..from + 10));
            }
        }
        assert_eq!(arena.stored(), 99);
        store(&mut arena, RunKind::Send, 3, &log(0..5));
        store(&mut arena, RunKind::Poll, 4, &log(0..5));
        assert_eq!(arena.stored(), 109, "another key, or another kind");
    }

    proptest! {
        #[test]
        fn what_is_stored_comes_back(
            runs in proptest::collection::vec(
                (0u32..3, any::<bool>(), 0i64..30, 0i64..12, 0u8..4), 0..80),
        ) {
            let mut arena = Arena::default();
            let mut stored = Vec::new();
            for (key, read, from, len, twist) in runs {
                let mut records = log(from..from + len);
                match (twist, records.last_mut()) {
                    (0, Some(last)) => last.offset += 1,
                    (1, Some(last)) => last.offset = Record::NO_OFFSET,
                    _ => {}
                }
                let kind = if read { RunKind::Poll } else { RunKind::Send };
                stored.push((store(&mut arena, kind, key, &records), records));
            }
            for (run, records) in &stored {
                prop_assert_eq!(arena.of(run), &records[..]);
            }
            let column = arena.column(&0u8);
            for (run, records) in &stored {
                prop_assert_eq!(column.of(run).len(), records.len());
            }
        }
    }
}
