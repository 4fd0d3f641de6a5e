//! Leader epoch -> offset of its first record: a fold over the headers of the log's batches.

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
