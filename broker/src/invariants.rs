//! The safety invariants by name, and the one way to assert them.
//!
//! Assertions stay on in release builds: a broker that has lost the thread stops, it does not
//! answer. They are suspended only where a rule was switched off on purpose (a seeded bug), so
//! that the anomaly shows where users would see it; [`tripped`] then says which would have failed.
//!
//! Where each one is asserted and checked, and which seeded bug trips it, is told by [`TABLE`].

use std::fmt;

use crate::chaos::seeded_bug::BugSet;

mod table;

#[cfg(test)]
#[path = "invariants/links_test.rs"]
pub(crate) mod links;

pub use table::{Entry, LATER, Link, TABLE, link, markdown};

/// What is asserted while a broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Invariant {
    /// I1: the leader's high watermark never decreases within an epoch.
    HwMonotone = 1,
    /// I2: a raised high watermark is at most the fetch offset of every member of the maximal ISR.
    HwWithinMaximalIsr = 2,
    /// I3: the high watermark rises only while the ISR has at least `min.insync.replicas` members.
    HwNeedsMinIsr = 3,
    /// I4: log start <= LSO <= high watermark <= own end <= log end.
    ViewOrdered = 4,
    /// I5: no byte above a reader's bound reaches it.
    ReadWithinBound = 5,
    /// I6: a leader's log holds every committed offset; it knows at least of its own watermark.
    LeaderComplete = 6,
    /// I7: so does the log of everybody who may be elected.
    CandidatesComplete = 7,
    /// I8: two logs are equal below the lesser of their watermarks.
    LogsMatch = 8,
    /// I9: whoever may be elected counts for the high watermark.
    QuorumsOverlap = 9,
    /// I10: a message of another leader epoch changes nothing.
    EpochFenced = 10,
    /// I11: a follower truncates before its first append in an epoch, and never below what it
    /// knows to be committed.
    TruncateFirst = 11,
    /// I12: a joiner of the ISR has fetched in this epoch, at or above the high watermark and the
    /// epoch's start, and is the incarnation that is registered.
    JoinerComplete = 12,
    /// I13: a shrink counts after the controller has committed it, an expansion at once.
    MaximalIsr = 13,
    /// I14: leader epochs, partition epochs and broker epochs grow with every committed change.
    EpochsGrow = 14,
    /// I15: a leader is elected from the ISR, else from the ELR, else there is none.
    CleanElection = 15,
    /// I16: a broker whose log may lack acknowledged records leaves every ISR and ELR.
    LostLogsLeave = 16,
    /// I17: acks=all succeeds below the high watermark, acks=1 below the own end.
    AckedIsHeld = 17,
    /// I18: what counts as durable was synced.
    SyncedBeforeDurable = 18,
    /// I19: what is remembered of producers is the fold over the log.
    ProducersAreFolded = 19,
    /// I20: sequence numbers are contiguous, and a duplicate keeps its first offset.
    SequencesContiguous = 20,
    /// I25: answers leave a connection in the order of their requests.
    AnswersInOrder = 25,
    /// I26: a stored batch is what was received, but for base offset and leader epoch.
    BatchesUntouched = 26,
}

/// Stops the process when `holds` is false.
///
/// # Panics
/// When the invariant does not hold and no rule was switched off on purpose.
#[track_caller]
#[inline]
pub fn uphold(which: Invariant, bugs: BugSet, holds: bool) {
    uphold_that(which, bugs, holds, || "no more is known");
}

/// [`uphold`] with what is known about it, which is put into words only when it does not hold.
///
/// # Panics
/// When the invariant does not hold and no rule was switched off on purpose.
#[track_caller]
#[inline]
pub fn uphold_that<T: fmt::Display>(
    which: Invariant,
    bugs: BugSet,
    holds: bool,
    what: impl FnOnce() -> T,
) {
    if holds {
        return;
    }
    note(which);
    assert!(
        !bugs.is_empty(),
        "safety invariant I{} ({which:?}) is violated: stopping rather than lying; {}",
        which as u8,
        what()
    );
}

#[cfg(feature = "seeded-bugs")]
mod tripped {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::Invariant;

    thread_local! {
        static TRIPPED: RefCell<BTreeSet<Invariant>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn note(which: Invariant) {
        TRIPPED.with_borrow_mut(|tripped| tripped.insert(which));
    }

    /// What did not hold on this thread since it was asked last, seeded bugs being in force.
    pub fn tripped() -> BTreeSet<Invariant> {
        TRIPPED.take()
    }
}

#[cfg(feature = "seeded-bugs")]
pub use tripped::tripped;

#[cfg(feature = "seeded-bugs")]
use tripped::note;

#[cfg(not(feature = "seeded-bugs"))]
fn note(_: Invariant) {}
