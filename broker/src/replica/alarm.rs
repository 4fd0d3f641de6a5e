//! PURE: when somebody should look at a partition: its high watermark stands still below the
//! log's end, or a follower is far behind.
//!
//! Replication mends both by itself when it can (laggards leave the ISR, the watermark goes on);
//! an alarm says that it has not, for longer than the settings call normal. Watermarks do not
//! depend on any of this: it only looks.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::types::{BrokerId, Offset};

/// What counts as normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `watermark.alarm.ms`: the watermark may stand still below the log's end for this long.
    pub stalled_for: Duration,
    /// `follower.lag.alarm.records`: a follower may be behind the log's end by this many.
    pub behind: i64,
}

/// What the leader knows at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The high watermark.
    pub hw: Offset,
    /// The log's end.
    pub end: Offset,
    /// Each follower, and the records by which it is behind.
    pub lags: Vec<(BrokerId, i64)>,
}

/// What began or ended with a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The watermark has stood still for this long.
    Stalled(Duration),
    /// It moves again.
    Moves,
    /// The follower is behind by this many records.
    Behind(BrokerId, i64),
    /// It is not any more.
    CaughtUp(BrokerId),
}

/// One leadership, watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmWatch {
    /// The watermark, and since when it has been there with records above it.
    waits: Option<(Offset, Duration)>,
    stalled: bool,
    behind: BTreeSet<BrokerId>,
}

impl AlarmWatch {
    /// Looks at the partition at `now`.
    pub fn look(&mut self, limits: Limits, facts: &Facts, now: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        self.waits = match self.waits {
            _ if facts.hw >= facts.end => None,
            Some((hw, since)) if hw == facts.hw => Some((hw, since)),
            _ => Some((facts.hw, now)),
        };
        let waited = self
            .waits
            .map_or(Duration::ZERO, |(_, since)| now.saturating_sub(since));
        let stalls = waited > limits.stalled_for;
        if stalls != self.stalled {
            self.stalled = stalls;
            changes.push(match stalls {
                true => Change::Stalled(waited),
                false => Change::Moves,
            });
        }
        for (id, lag) in &facts.lags {
            if *lag > limits.behind {
                if self.behind.insert(*id) {
                    changes.push(Change::Behind(*id, *lag));
                }
            } else if self.behind.remove(id) {
                changes.push(Change::CaughtUp(*id));
            }
        }
        changes
    }

    /// Whether the watermark stands still.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// How many followers are far behind.
    #[must_use]
    pub fn behind(&self) -> usize {
        self.behind.len()
    }
}

/// Alarms that were raised in this process, over all partitions.
#[derive(Debug, Default)]
pub struct AlarmCounts {
    /// A watermark stood still.
    pub stalled: AtomicU64,
    /// A follower was far behind.
    pub behind: AtomicU64,
}

impl AlarmCounts {
    /// Counts what began.
    pub fn count(&self, change: Change) {
        match change {
            Change::Stalled(_) => self.stalled.fetch_add(1, Ordering::Relaxed),
            Change::Behind(..) => self.behind.fetch_add(1, Ordering::Relaxed),
            Change::Moves | Change::CaughtUp(_) => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        stalled_for: Duration::from_secs(5),
        behind: 100,
    };

    fn facts(hw: i64, end: i64, lag: i64) -> Facts {
        Facts {
            hw: Offset(hw),
            end: Offset(end),
            lags: vec![(BrokerId(2), lag)],
        }
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_watermark_that_stands_still_below_the_end_rings_once_and_ends_when_it_moves() {
        let mut watch = AlarmWatch::default();
        for second in 0..20 {
            let idle = watch.look(LIMITS, &facts(7, 7, 0), seconds(second));
            assert_eq!(idle, [], "nothing to commit is no alarm");
        }
        assert_eq!(watch.look(LIMITS, &facts(7, 9, 2), seconds(20)), []);
        assert_eq!(watch.look(LIMITS, &facts(7, 12, 5), seconds(25)), []);
        let rung = watch.look(LIMITS, &facts(7, 12, 5), seconds(26));
        assert_eq!(rung, [Change::Stalled(seconds(6))]);
        assert!(watch.is_stalled());
        assert_eq!(watch.look(LIMITS, &facts(7, 12, 5), seconds(40)), []);
        let moved = watch.look(LIMITS, &facts(8, 12, 4), seconds(41));
        assert_eq!(moved, [Change::Moves]);
        assert_eq!(watch.look(LIMITS, &facts(9, 12, 4), seconds(45)), []);
        assert_eq!(
            watch.look(LIMITS, &facts(10, 12, 4), seconds(49)),
            [],
            "it moves, slowly"
        );
    }

    #[test]
    fn a_follower_far_behind_rings_once_and_ends_when_it_has_caught_up() {
        let mut watch = AlarmWatch::default();
        assert_eq!(watch.look(LIMITS, &facts(0, 0, 100), seconds(0)), []);
        let rung = watch.look(LIMITS, &facts(0, 0, 101), seconds(1));
        assert_eq!(rung, [Change::Behind(BrokerId(2), 101)]);
        assert_eq!(watch.behind(), 1);
        assert_eq!(watch.look(LIMITS, &facts(0, 0, 5000), seconds(2)), []);
        let over = watch.look(LIMITS, &facts(0, 0, 3), seconds(3));
        assert_eq!(over, [Change::CaughtUp(BrokerId(2))]);
        assert_eq!(watch, AlarmWatch::default());
    }
}
