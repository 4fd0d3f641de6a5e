//! Leader epoch -> offset of its first record: a fold over the headers of the log's batches.
//!
//! Invariants: epochs and start offsets both rise; an entry without records of its own remains
//! only as the last trace of what the log's start has passed. Never stored: it is rebuilt by
//! replay (invariant I19).

use std::sync::Arc;

use crate::types::{LeaderEpoch, Offset};

/// Answer to "where does that epoch end in your log?" (KIP-101, KIP-320).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EpochEnd {
    /// Largest epoch in the log that is not above the one asked for; the one asked for if the
    /// log has none that small.
    pub epoch: LeaderEpoch,
    /// Where the next higher epoch begins, or the log's end.
    pub end: Offset,
}

/// The epochs of one log, oldest first. Cloning is cheap: snapshots share the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EpochCache {
    starts: Arc<Vec<(LeaderEpoch, Offset)>>,
}

impl EpochCache {
    /// As it was listed by [`Self::list`]; `None` when no log has such epochs.
    pub fn from_list(starts: Vec<(LeaderEpoch, Offset)>) -> Option<Self> {
        let rising =
            |pair: &[(LeaderEpoch, Offset)]| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1;
        let starts = starts.windows(2).all(rising).then(|| Arc::new(starts))?;
        Some(Self { starts })
    }

    /// Every epoch with its start, oldest first.
    pub fn list(&self) -> &[(LeaderEpoch, Offset)] {
        &self.starts
    }

    /// Epoch of the last batch that the log has or had.
    pub fn last(&self) -> Option<LeaderEpoch> {
        self.starts.last().map(|(epoch, _)| *epoch)
    }

    /// Epoch of the batch at `offset` (in the batch that the log's start lies in, the first).
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.starts.partition_point(|(_, start)| *start <= offset);
        self.starts
            .get(after.saturating_sub(1))
            .map(|(epoch, _)| *epoch)
    }

    /// Takes in a batch that begins at `base`.
    pub fn push(&mut self, epoch: LeaderEpoch, base: Offset) {
        assert!(
            self.last().is_none_or(|last| last <= epoch),
            "epoch {epoch} at {base} after {:?}",
            self.last()
        );
        if self.last() == Some(epoch) {
            return;
        }
        let starts = Arc::make_mut(&mut self.starts);
        // An epoch that begins where this one does has no record left.
        while starts.pop_if(|(_, start)| *start >= base).is_some() {}
        starts.push((epoch, base));
    }

    /// See [`EpochEnd`]; `log_end` is where the last epoch ends.
    pub fn end_offset_for(&self, asked: LeaderEpoch, log_end: Offset) -> EpochEnd {
        let above = self.starts.partition_point(|(epoch, _)| *epoch <= asked);
        EpochEnd {
            epoch: match above.checked_sub(1) {
                Some(floor) => self.starts[floor].0,
                None => asked,
            },
            end: self.starts.get(above).map_or(log_end, |(_, start)| *start),
        }
    }

    /// The log now ends at `end`.
    pub fn truncate(&mut self, end: Offset) {
        let keep = self.starts.partition_point(|(_, start)| *start < end);
        if keep < self.starts.len() {
            Arc::make_mut(&mut self.starts).truncate(keep);
        }
    }

    /// The log now begins at `start`: the epoch in force there stays, as of `start`.
    pub fn advance_start(&mut self, start: Offset) {
        let after = self.starts.partition_point(|(_, first)| *first <= start);
        let floor = after.saturating_sub(1);
        if after > 0 && (floor > 0 || self.starts[0].1 < start) {
            let starts = Arc::make_mut(&mut self.starts);
            starts.drain(..floor);
            starts[0].1 = start;
        }
    }

    /// The log was emptied.
    pub fn clear(&mut self) {
        self.starts = Arc::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(starts: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::default();
        for (epoch, base) in starts {
            cache.push(LeaderEpoch(*epoch), Offset(*base));
        }
        cache
    }

    fn end(cache: &EpochCache, asked: i32, log_end: i64) -> (i32, i64) {
        let found = cache.end_offset_for(LeaderEpoch(asked), Offset(log_end));
        (found.epoch.get(), found.end.get())
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let cache = cache(&[(1, 0), (1, 3), (2, 5), (5, 9)]);
        assert_eq!(end(&cache, 0, 12), (0, 0), "older than the log");
        assert_eq!(end(&cache, 1, 12), (1, 5));
        assert_eq!(end(&cache, 4, 12), (2, 9), "the largest not above");
        assert_eq!(end(&cache, 5, 12), (5, 12));
        assert_eq!(end(&cache, 9, 12), (5, 12));
        let at = |offset| cache.at(Offset(offset)).map(LeaderEpoch::get);
        assert_eq!(
            [at(0), at(4), at(5), at(30)].map(Option::unwrap),
            [1, 1, 2, 5]
        );
        assert_eq!(end(&EpochCache::default(), 3, 0), (3, 0));
    }

    #[test]
    fn truncation_forgets_epochs_that_lost_all_records() {
        let mut cut = cache(&[(1, 0), (2, 5), (5, 9)]);
        cut.truncate(Offset(9));
        assert_eq!(cut, cache(&[(1, 0), (2, 5)]));
        cut.truncate(Offset(6));
        assert_eq!(cut, cache(&[(1, 0), (2, 5)]));
        cut.truncate(Offset(0));
        assert_eq!(cut.last(), None);
    }

    #[test]
    fn the_epoch_in_force_at_the_start_stays() {
        let mut cut = cache(&[(1, 0), (2, 5), (5, 9)]);
        cut.advance_start(Offset(0));
        assert_eq!(cut, cache(&[(1, 0), (2, 5), (5, 9)]));
        cut.advance_start(Offset(7));
        assert_eq!(cut, cache(&[(2, 7), (5, 9)]));
        cut.advance_start(Offset(20));
        assert_eq!(cut, cache(&[(5, 20)]), "the whole log is gone");
        assert_eq!(end(&cut, 5, 20), (5, 20));
    }
}
