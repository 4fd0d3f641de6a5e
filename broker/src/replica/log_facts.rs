//! What the pure cores may know of a log: its ends and its leader epochs, never its bytes.

pub use crate::log::EpochEnd;
use crate::types::{LeaderEpoch, Offset};

/// The facts of one partition's log at the moment of an event.
pub trait LogFacts {
    /// Offset of the first record that is kept.
    fn log_start(&self) -> Offset;
    /// Offset of the next record: LEO.
    fn log_end(&self) -> Offset;
    /// End of what this replica vouches for, by its durability mode; at most the log's end. It
    /// feeds the high watermark (`own_end` of the rules).
    fn held_end(&self) -> Offset;
    /// Whether everything that was done to the log, truncations included, is held.
    fn is_settled(&self) -> bool;
    /// Epoch of the last record; `None` when no record is kept.
    fn last_epoch(&self) -> Option<LeaderEpoch>;
    /// Where a follower fetches next, and the epoch of the record before that: the log's end, or
    /// else the first record that has to be fetched again, because it is not what was written.
    fn fetch_position(&self) -> (Offset, Option<LeaderEpoch>) {
        (self.log_end(), self.last_epoch())
    }
    /// Where `epoch` ends (KIP-101, KIP-279).
    fn end_offset_for(&self, epoch: LeaderEpoch) -> EpochEnd;
}

/// [`LogFacts::end_offset_for`] over a list of `(epoch, start offset)`, ascending in both.
#[must_use]
pub fn end_offset_in(
    starts: impl DoubleEndedIterator<Item = (LeaderEpoch, Offset)>,
    log_end: Offset,
    asked: LeaderEpoch,
) -> EpochEnd {
    let mut end = log_end;
    for (epoch, start) in starts.rev() {
        if epoch <= asked {
            return EpochEnd { epoch, end };
        }
        end = start;
    }
    EpochEnd { epoch: asked, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_higher_one_starts() {
        let starts = [(1, 0), (2, 3), (5, 7)];
        let end = |asked| {
            let starts = starts.iter().map(|&(e, o)| (LeaderEpoch(e), Offset(o)));
            let found = end_offset_in(starts, Offset(9), LeaderEpoch(asked));
            (found.epoch.get(), found.end.get())
        };
        assert_eq!(end(0), (0, 0), "below every epoch: nothing in common");
        assert_eq!(end(1), (1, 3));
        assert_eq!(end(2), (2, 7));
        assert_eq!(
            end(3),
            (2, 7),
            "between epochs: the largest that is not above"
        );
        assert_eq!(end(5), (5, 9));
        assert_eq!(end(8), (5, 9));
        let empty = end_offset_in(std::iter::empty(), Offset(4), LeaderEpoch(2));
        assert_eq!((empty.epoch, empty.end), (LeaderEpoch(2), Offset(4)));
    }
}
