//! The safety invariants of replication by name, and the one way to assert them.
//!
//! Assertions stay on in release builds: a broker that has lost the thread stops, it does not
//! answer. They are suspended only where a rule was switched off on purpose (a seeded bug), so
//! that the anomaly shows where users would see it.

use crate::chaos::seeded_bug::BugSet;

/// The invariants that replication asserts. The numbers are those of ARCHITECTURE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// I1: the leader's high watermark never decreases within an epoch.
    HwMonotone,
    /// I2: a raised high watermark is at most the fetch offset of every member of the maximal ISR.
    HwWithinMaximalIsr,
    /// I3: the high watermark rises only while the ISR has at least `min.insync.replicas` members.
    HwNeedsMinIsr,
    /// I4: log start <= LSO <= high watermark <= own end <= log end.
    ViewOrdered,
    /// I5: no byte above a reader's bound reaches it.
    ReadWithinBound,
    /// I10: a message of another leader epoch changes nothing.
    EpochFenced,
    /// I11: a follower truncates before its first append in an epoch, and never below what it
    /// knows to be committed.
    TruncateFirst,
    /// I12: a joiner of the ISR has fetched in this epoch, at or above the high watermark and the
    /// epoch's start.
    JoinerComplete,
    /// I13: a shrink counts after the controller has committed it, an expansion at once.
    MaximalIsr,
    /// I17: acks=all succeeds below the high watermark, acks=1 below the own end.
    AckedIsHeld,
}

/// Stops the process when `holds` is false.
///
/// # Panics
/// When the invariant does not hold and no rule was switched off on purpose.
#[track_caller]
#[inline]
pub fn uphold(which: Invariant, bugs: BugSet, holds: bool) {
    assert!(
        holds || !bugs.is_empty(),
        "safety invariant {which:?} is violated: stopping rather than lying"
    );
}
