//! Which records are old, or too many: where a log is to begin.
//!
//! Records are deleted in segments, as in Kafka: a run of records that is closed when the next
//! ones would make it larger than `segment.bytes`, or are more than `segment.ms` younger than its
//! first. A segment is no file here (all partitions share the WAL's files); where segments end
//! follows from the log and the topic's settings alone, counted from the log's start on, so that
//! nothing about them is stored.
//!
//! By size, the oldest segment goes while what is left is still at least `retention.bytes`. By age,
//! it goes when its youngest record is older than `retention.ms`. Both may take the last segment,
//! too, and neither takes what is not committed.

use super::extent::Extent;
use super::snapshot::LogSnapshot;
use crate::types::Offset;

/// A topic's settings about it; -1 in the last two: without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `segment.bytes`.
    pub segment_bytes: i64,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `retention.bytes`.
    pub retention_bytes: i64,
    /// `retention.ms`.
    pub retention_ms: i64,
}

impl Retention {
    /// Whether anything is ever deleted.
    #[must_use]
    pub const fn deletes(&self) -> bool {
        self.retention_bytes >= 0 || self.retention_ms >= 0
    }
}

/// A run of records that is deleted as a whole.
struct Segment {
    bytes: i64,
    youngest: i64,
    next: Offset,
    extents: usize,
}

impl LogSnapshot {
    /// Where the log begins once what is old, or too much, is deleted, at `now` (milliseconds
    /// since 1970). Never above `committed`.
    #[must_use]
    pub fn start_to_keep(&self, retention: &Retention, now: i64, committed: Offset) -> Offset {
        let mut kept = self.log_start();
        let mut size = i64::try_from(self.state.index.bytes()).unwrap_or(i64::MAX);
        let mut at = 0;
        while let Some(segment) = self.segment(retention, at) {
            let by_size =
                retention.retention_bytes >= 0 && size - segment.bytes >= retention.retention_bytes;
            // Without a timestamp nothing is known of its age.
            let by_age = retention.retention_ms >= 0
                && segment.youngest >= 0
                && now.saturating_sub(segment.youngest) > retention.retention_ms;
            if !(by_size || by_age) || segment.next > committed {
                break;
            }
            kept = segment.next;
            size -= segment.bytes;
            at += segment.extents;
        }
        kept
    }

    /// The segment whose first extent is the one at `at`.
    fn segment(&self, retention: &Retention, at: usize) -> Option<Segment> {
        let first = self.state.index.get(at)?;
        let mut segment = Segment {
            bytes: 0,
            youngest: i64::MIN,
            next: first.next,
            extents: 0,
        };
        for extent in self.state.index.iter_from(at) {
            let fits = |extent: &Extent| {
                let age = extent.max_timestamp.saturating_sub(first.max_timestamp);
                segment.bytes + i64::from(extent.len) <= retention.segment_bytes
                    && age <= retention.segment_ms
            };
            if segment.extents > 0 && !fits(extent) {
                break;
            }
            segment.bytes += i64::from(extent.len);
            segment.youngest = segment.youngest.max(extent.max_timestamp);
            segment.next = extent.next;
            segment.extents += 1;
        }
        Some(segment)
    }
}
