//! Batches that are not what was written: found when they are read or by looking through the log
//! from time to time, and replaced by the leader's.
//!
//! A follower that finds some fetches them again, in their place: its log keeps its end and all
//! that is sound. Until then it tells the leader, by where it fetches, that it holds only what is
//! below; so it counts for no watermark above, and leaves the ISR when it stays behind. The copy
//! is written at the WAL's end, as what is copied to make room is. A leader finds nobody to ask: it
//! answers readers with an error, and mends its log once another leads.

use bytes::Bytes;

use super::batch;
use super::committer::Receipt;
use super::frame::Payload;
use super::partition_log::{AppendError, PartitionLog};
use super::recovery::batches_at;
use super::snapshot::LogSnapshot;
use crate::types::{LeaderEpoch, Lsn, Offset};

impl PartitionLog {
    /// Looks at the batches around `offset`, of which somebody said that they are damaged; whether
    /// they are, and were not known to be.
    pub fn note_damage(&mut self, offset: Offset) -> bool {
        let snapshot = self.snapshot();
        let index = &snapshot.state.index;
        let Some(extent) = index.get(index.position(offset)) else {
            return false;
        };
        let damaged = snapshot.check_extent(extent).is_err();
        let new = damaged && self.damaged.insert(extent.base);
        self.store.metrics().damaged.add(u64::from(new));
        new
    }

    /// Where a follower fetches next, and the epoch of the record before that.
    #[must_use]
    pub fn fetch_position(&self) -> (Offset, Option<LeaderEpoch>) {
        let Some(damaged) = self.damaged.first() else {
            return (self.written_end(), self.last_epoch());
        };
        let from = (*damaged).max(self.log_start());
        let before = (from > self.log_start())
            .then(|| self.state.epochs.at(from.plus(-1)))
            .flatten();
        (from, before)
    }

    /// Whether something is to be fetched again.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.damaged.is_empty()
    }

    /// Puts the leader's batches in the place of the first damaged ones. They have to be the same:
    /// offsets, epoch and size; and each one's CRC right.
    ///
    /// # Errors
    /// They are not, or the WAL is closed.
    pub fn mend(&mut self, records: &Bytes) -> Result<(), AppendError> {
        let Some(damaged) = self.damaged.first().copied() else {
            return Ok(());
        };
        let end = self.written_end();
        let index = &self.state.index;
        let Some(extent) = index.get(index.position(damaged)).cloned() else {
            return Ok(());
        };
        let (mut at, mut from) = (0, None);
        while at < records.len() {
            let header = batch::check(&records[at..])?;
            if header.base_offset == extent.base && header.leader_epoch == extent.epoch {
                from = Some(at);
            }
            at += header.size;
            let Some(from) = from.filter(|_| header.next_offset() >= extent.next) else {
                continue;
            };
            if header.next_offset() == extent.next && at - from == extent.len as usize {
                return self.replace(damaged, &records[from..at]);
            }
            break;
        }
        Err(AppendError::NotContiguous {
            end,
            found: damaged,
        })
    }

    fn replace(&mut self, damaged: Offset, batches: &[u8]) -> Result<(), AppendError> {
        let payload = Payload::moved(self.tp, batches);
        let frame_len = payload.frame_len();
        let receipt = Receipt {
            owner: Some(self.owner.clone()),
            cached: None,
        };
        let lsn = self.store.enqueue(payload, receipt)?;
        self.state.moved(batches_at(lsn), batches);
        self.damaged.remove(&damaged);
        self.store.metrics().mended.add(1);
        self.wait_for(Lsn(lsn.get() + frame_len));
        Ok(())
    }

    /// What is no more in the log need not be mended.
    pub(super) fn forget_damage(&mut self) {
        let index = &self.state.index;
        self.damaged.retain(|base| {
            let extent = index.get(index.position(*base));
            extent.is_some_and(|extent| extent.base == *base)
        });
    }
}

impl LogSnapshot {
    /// Looks through batches on disk, from `from` on, about `bytes` of them: where to go on (the
    /// log's end: all was seen), and an offset around which they are not what was written.
    #[must_use]
    pub fn look_through(&self, from: Offset, bytes: usize) -> (Offset, Option<Offset>) {
        let index = &self.state.index;
        let mut left = bytes;
        for extent in index.iter_from(index.position(from)) {
            let in_memory = extent.cached.as_ref().is_some_and(|c| c.get().is_some());
            if !in_memory && self.check_extent(extent).is_err() {
                return (extent.next, Some(extent.base.max(self.log_start())));
            }
            left = left.saturating_sub(extent.len as usize);
            if left == 0 {
                return (extent.next, None);
            }
        }
        (self.end(), None)
    }
}
