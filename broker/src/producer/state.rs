//! What one partition remembers of its idempotent producers (KIP-98, KIP-360): the last five
//! batches of each, so that a repeated batch is answered with its first offset and a gap or a
//! reordering is refused.
//!
//! Invariants:
//! * I19: the state is a fold over the batch headers of the log, in offset order, and of nothing
//!   else (no clock): replicas with equal logs have equal states. After truncation it is folded
//!   again from the log. When the beginning of the log is deleted, what it said of producers is
//!   stored with the log's new start, and a fold begins with that; a replica that begins at the
//!   leader's log start has not seen what was deleted, and knows that it may have forgotten.
//! * I20: sequences of one producer epoch are contiguous in the log; a repetition of one of the
//!   last five batches is told apart and keeps its original offset; a lower epoch is refused.
//!
//! Rules are those of Kafka 4.x (`ProducerAppendInfo`, `ProducerStateEntry`) with one difference:
//! Kafka accepts any first sequence from a producer that it does not know, because it may have
//! forgotten it. We do so only when something can have been forgotten
//! ([`ProducerStates::may_have_forgotten`]);
//! while the whole log is there, an unknown producer has to start at 0. Else the second of two
//! pipelined first batches would be accepted when the first one failed, and the first one refused
//! for ever.
//!
//! Memory is bound by their number, within the fold: who wrote longest ago is forgotten when there
//! are more than [`PRODUCERS_REMEMBERED`].
//!
//! Deliberately absent: expiry by wall clock (`producer.id.expiration.ms`; it would make replicas
//! differ, and trusts the clients' timestamps),
//! transactions (they come with the transaction index).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::invariants::{Invariant, uphold};
use crate::log::BatchHeader;
use crate::types::{Offset, ProducerEpoch, ProducerId};

/// How many batches of a producer are remembered: as many as a client may have in flight.
pub const BATCHES_REMEMBERED: usize = 5;

/// Form of what [`ProducerStates::store`] writes.
const STORED_VERSION: u8 = 1;

/// How many producers of one partition are remembered: some 3 MB.
pub const PRODUCERS_REMEMBERED: usize = 10_000;

/// The part of a record batch's header that concerns its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequencedBatch {
    /// Who produced it; only batches with an id of at least 0 belong here.
    pub producer_id: ProducerId,
    /// The producer's incarnation.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, 0 ..= 2^31-1.
    pub base_sequence: i32,
    /// Number of records (last offset delta + 1), at least 1.
    pub records: i32,
    /// Largest timestamp in the batch, in ms since 1970.
    pub max_timestamp_ms: i64,
}

/// One remembered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppendedBatch {
    /// Sequence number of its first record.
    pub first_sequence: i32,
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Largest timestamp in the batch, in ms since 1970.
    pub max_timestamp_ms: i64,
}

/// What becomes of a batch that a leader is asked to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append it, then [`ProducerStates::fold`] it.
    Accept,
    /// It is in the log already: answer with these offsets, once they are committed.
    Duplicate(AppendedBatch),
    /// OUT_OF_ORDER_SEQUENCE_NUMBER (45): a gap, or older than what is remembered.
    OutOfOrderSequence {
        /// What the next sequence number would have to be.
        expected: i32,
    },
    /// INVALID_PRODUCER_EPOCH (47): a newer incarnation of this producer has written.
    InvalidProducerEpoch {
        /// The newest epoch in the log.
        current: ProducerEpoch,
    },
    /// INVALID_RECORD (87): a negative epoch or sequence, or no records.
    Malformed,
}

/// What is remembered of one producer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProducerEntry {
    epoch: ProducerEpoch,
    batches: VecDeque<AppendedBatch>,
}

/// Every idempotent producer of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProducerStates {
    producers: BTreeMap<ProducerId, ProducerEntry>,
    /// Everybody by their newest batch, in the order of the log.
    by_age: BTreeSet<(Offset, ProducerId)>,
    forgotten: bool,
    /// Rules that are switched off.
    bugs: BugSet,
}

impl SequencedBatch {
    /// What `header` says about its producer; `None` when it was not produced idempotently.
    #[must_use]
    pub fn of(header: &BatchHeader) -> Option<Self> {
        (header.producer_id.get() >= 0).then(|| Self {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            records: header.last_offset_delta.saturating_add(1),
            max_timestamp_ms: header.max_timestamp,
        })
    }

    /// Sequence number of the last record; 0 follows 2^31-1.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        advance(self.base_sequence, self.records - 1)
    }
}

/// The sequence number `by` records after `sequence`: 0 follows 2^31-1.
fn advance(sequence: i32, by: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(by);
    i32::try_from(sum & i64::from(i32::MAX)).expect("masked to 31 bits")
}

impl ProducerStates {
    /// For a log that begins at `log_start`: when that is not 0, batches were deleted, and with
    /// them the memory of producers.
    #[must_use]
    pub fn for_log_starting_at(log_start: Offset) -> Self {
        Self {
            producers: BTreeMap::new(),
            by_age: BTreeSet::new(),
            forgotten: log_start > Offset::ZERO,
            bugs: BugSet::NONE,
        }
    }

    /// Knows nobody, and expects to be told anything: what M26 leaves.
    #[must_use]
    pub fn forgetful() -> Self {
        Self {
            forgotten: true,
            ..Self::default()
        }
    }

    /// The same, from here on without the rules that `bugs` switches off.
    #[must_use]
    pub fn with_bugs(self, bugs: BugSet) -> Self {
        Self { bugs, ..self }
    }

    /// Decides what a leader does with `batch`. Changes nothing.
    #[must_use]
    pub fn validate(&self, batch: &SequencedBatch) -> Verdict {
        if batch.base_sequence < 0 || batch.records < 1 || batch.producer_epoch.get() < 0 {
            return Verdict::Malformed;
        }
        let Some(entry) = self.producers.get(&batch.producer_id) else {
            if batch.base_sequence == 0 || self.forgotten {
                return Verdict::Accept;
            }
            return Verdict::OutOfOrderSequence { expected: 0 };
        };
        if batch.producer_epoch < entry.epoch {
            if self.bugs.has(SeededBug::NoProducerEpochFence) {
                return Verdict::Accept;
            }
            return Verdict::InvalidProducerEpoch {
                current: entry.epoch,
            };
        }
        let expected = if batch.producer_epoch > entry.epoch {
            0
        } else {
            if let Some(original) = entry.find(batch) {
                return Verdict::Duplicate(original);
            }
            entry.next_sequence()
        };
        if batch.base_sequence == expected {
            Verdict::Accept
        } else {
            Verdict::OutOfOrderSequence { expected }
        }
    }

    /// [`ProducerStates::fold`] of a batch that this leader has just appended.
    pub fn appended(&mut self, batch: &SequencedBatch, base_offset: Offset) {
        let goes_on = self.producers.get(&batch.producer_id).is_none_or(|entry| {
            let anew = batch.producer_epoch > entry.epoch && batch.base_sequence == 0;
            let on =
                batch.producer_epoch == entry.epoch && batch.base_sequence == entry.next_sequence();
            anew || on
        });
        uphold(Invariant::SequencesContiguous, self.bugs, goes_on);
        self.fold(batch, base_offset);
    }

    /// Invariant I19: what `fold`, made from the log (of which the beginning may be gone), knows
    /// is the newest part of what is remembered here.
    #[must_use]
    pub fn agrees_with(&self, fold: &ProducerStates) -> bool {
        let newest = |id: &ProducerId, known: &ProducerEntry| {
            self.producers.get(id).is_some_and(|entry| {
                let same = entry.batches.iter().rev().zip(known.batches.iter().rev());
                entry.epoch == known.epoch
                    && entry.batches.len() >= known.batches.len()
                    && same.into_iter().all(|(ours, theirs)| ours == theirs)
            })
        };
        fold.producers.iter().all(|(id, known)| newest(id, known))
    }

    /// Takes note of `batch`, which is in the log from `base_offset` on. Called for every batch
    /// with a producer id, in offset order: after an append, by a follower for what it fetched,
    /// and in replay. A log is not argued with: what it holds was validated by a leader.
    pub fn fold(&mut self, batch: &SequencedBatch, base_offset: Offset) {
        let entry = self
            .producers
            .entry(batch.producer_id)
            .or_insert_with(|| ProducerEntry {
                epoch: batch.producer_epoch,
                batches: VecDeque::with_capacity(BATCHES_REMEMBERED),
            });
        if let Some(newest) = entry.batches.back() {
            self.by_age.remove(&(newest.base_offset, batch.producer_id));
        }
        if entry.epoch != batch.producer_epoch {
            entry.epoch = batch.producer_epoch;
            entry.batches.clear();
        }
        let remembered = match self.bugs.has(SeededBug::DedupeWindow1) {
            false => BATCHES_REMEMBERED,
            true => 1,
        };
        if entry.batches.len() == remembered {
            entry.batches.pop_front();
        }
        entry.batches.push_back(AppendedBatch {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset,
            last_offset: base_offset.plus(i64::from(batch.records) - 1),
            max_timestamp_ms: batch.max_timestamp_ms,
        });
        self.by_age.insert((base_offset, batch.producer_id));
        if self.producers.len() > PRODUCERS_REMEMBERED
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.producers.remove(&oldest);
            self.forgotten = true;
        }
    }

    /// What [`ProducerStates::restore`] makes again, without the batches from `below` on: those are
    /// folded from the log.
    #[must_use]
    pub fn store(&self, below: Offset) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(STORED_VERSION);
        out.put_u8(self.forgotten.into());
        for (id, entry) in &self.producers {
            let old = |batch: &&AppendedBatch| batch.last_offset < below;
            let batches: Vec<_> = entry.batches.iter().filter(old).collect();
            if batches.is_empty() {
                continue;
            }
            out.put_i64_le(id.get());
            out.put_i16_le(entry.epoch.get());
            out.put_u8(u8::try_from(batches.len()).expect("at most five"));
            for batch in batches {
                out.put_i32_le(batch.first_sequence);
                out.put_i32_le(batch.last_sequence);
                out.put_i64_le(batch.base_offset.get());
                out.put_i64_le(batch.last_offset.get());
                out.put_i64_le(batch.max_timestamp_ms);
            }
        }
        out.freeze()
    }

    /// What was stored; `None` when it is nothing that [`ProducerStates::store`] wrote.
    #[must_use]
    pub fn restore(mut stored: &[u8]) -> Option<Self> {
        let from = &mut stored;
        if from.len() < 2 || from.get_u8() != STORED_VERSION {
            return None;
        }
        let mut states = Self {
            forgotten: from.get_u8() != 0,
            ..Self::default()
        };
        while !from.is_empty() {
            if from.len() < 11 {
                return None;
            }
            let id = ProducerId(from.get_i64_le());
            let epoch = ProducerEpoch(from.get_i16_le());
            let count = usize::from(from.get_u8());
            if count == 0 || count > BATCHES_REMEMBERED || from.len() < count * 32 {
                return None;
            }
            let batches: VecDeque<_> = (0..count)
                .map(|_| AppendedBatch {
                    first_sequence: from.get_i32_le(),
                    last_sequence: from.get_i32_le(),
                    base_offset: Offset(from.get_i64_le()),
                    last_offset: Offset(from.get_i64_le()),
                    max_timestamp_ms: from.get_i64_le(),
                })
                .collect();
            let newest = batches.back()?.base_offset;
            states.by_age.insert((newest, id));
            states
                .producers
                .insert(id, ProducerEntry { epoch, batches });
        }
        Some(states)
    }

    /// Whether batches were deleted or there were too many producers, so that an unknown producer
    /// may have been known once.
    #[must_use]
    pub fn may_have_forgotten(&self) -> bool {
        self.forgotten
    }

    /// The offset after the last record that is remembered.
    #[must_use]
    pub fn end(&self) -> Offset {
        let newest = |entry: &ProducerEntry| entry.batches.back().map(|batch| batch.last_offset);
        let last = self.producers.values().filter_map(newest).max();
        last.map_or(Offset::ZERO, |last| last.plus(1))
    }

    /// Number of producers remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// What is remembered of one producer.
    #[must_use]
    pub fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&id)
    }
}

impl ProducerEntry {
    /// The newest epoch seen.
    #[must_use]
    pub fn epoch(&self) -> ProducerEpoch {
        self.epoch
    }

    /// The remembered batches, oldest first.
    pub fn batches(&self) -> impl Iterator<Item = &AppendedBatch> {
        self.batches.iter()
    }

    fn find(&self, batch: &SequencedBatch) -> Option<AppendedBatch> {
        let last_sequence = batch.last_sequence();
        let same = |known: &&AppendedBatch| {
            known.first_sequence == batch.base_sequence && known.last_sequence == last_sequence
        };
        self.batches.iter().find(same).copied()
    }

    fn next_sequence(&self) -> i32 {
        let newest = self.batches.back();
        newest.map_or(0, |batch| advance(batch.last_sequence, 1))
    }
}

#[cfg(test)]
#[path = "state_test.rs"]
mod tests;
