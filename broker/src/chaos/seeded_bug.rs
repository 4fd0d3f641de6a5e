//! Seeded bugs: each removes one rule, so that an alarm can be shown to ring.
//!
//! A [`BugSet`] is part of the configuration of every pure core and shell, never a global: models
//! and simulations run with and without a bug side by side. Without the feature `seeded-bugs`
//! the set is a type of size zero that is always empty, and the compiler drops every branch on it.
//!
//! Use: `if cfg.bugs.has(SeededBug::HwIsLeo) { .. }` at the one place where the rule is decided.

/// One removed rule. The identifiers (M01 ..) are those of the catalogue of seeded bugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SeededBug {
    /// M01: readers are bounded by the log end offset instead of the high watermark.
    HwIsLeo = 1,
    /// M02: the high watermark that readers see is refreshed every 5 s.
    HwSync5s = 2,
    /// M03: a new leader truncates to the watermark that it was told last.
    HwFromMetadata = 3,
    /// M04: the high watermark is the leader's own end, followers do not count.
    HwAtLocalFsync = 4,
    /// M05: acks=all answers after the local append.
    AcksAllAs1 = 5,
    /// M07: a leader that hears nothing of its proposal falls back to a quorum of 1.
    QuorumFallback1 = 7,
    /// M08: a follower truncates to its own high watermark, not by epoch (before KIP-101).
    TruncateToHw = 8,
    /// M09: the leader never reports a diverging epoch.
    NoTruncate = 9,
    /// M10: a follower cuts to the leader's end of an epoch, whatever its own (KIP-279).
    EpochEndOffByOne = 10,
    /// M11: a fetch of another epoch counts as progress (before KIP-320).
    NoEpochFence = 11,
    /// M12: a deposed leader shrinks its ISR to itself and goes on acknowledging.
    ZombieSelfIsr = 12,
    /// M13: a proposed, smaller ISR counts for the high watermark before the controller commits
    /// it.
    ShrinkBeforeCommit = 13,
    /// M14: a joiner counts for the high watermark only once the leader knows that it joined.
    ExpandAfterCommit = 14,
    /// M15: a joiner is admitted at a stale high watermark, below the leader epoch's start
    /// offset.
    ExpandWithoutLeso = 15,
    /// M16: the controller lets a replaced incarnation join the ISR (before KIP-903).
    StaleBrokerEpoch = 16,
    /// M17: `min.insync.replicas` is looked at before the append and never again.
    MinIsrOnlyAtAppend = 17,
    /// M18: the high watermark moves with any number of replicas in sync (before KIP-966).
    HwMovesUnderMinIsr = 18,
    /// M19: any live replica may be elected.
    UncleanElection = 19,
    /// M20: there are no eligible leader replicas: the last of the ISR leads again, whatever it
    /// lost.
    LastReplicaStanding = 20,
    /// M21: acks=1 answers before the record is held.
    AckBeforeAppend = 21,
    /// M22: in fsync mode what is written counts as held before it is durable.
    AckBeforeFsync = 22,
    /// M23: a failed fdatasync is logged and taken for a success.
    FsyncErrorIgnored = 23,
    /// M24: recovery does not check the CRC of what a frame holds.
    TornTailAccepted = 24,
    /// M25: replay stops one frame early.
    RecoveryDropsLast = 25,
    /// M26: sequence numbers are remembered by a leader for its own leadership only.
    ProducerStateNotRebuilt = 26,
    /// M27: a batch is remembered later than the next one is checked.
    CheckThenActSequences = 27,
    /// M28: one batch of a producer is remembered, not five.
    DedupeWindow1 = 28,
    /// M29: a duplicate is answered with the log's end.
    DuplicateNewOffset = 29,
    /// M30: batches of a replaced incarnation of a producer are accepted.
    NoProducerEpochFence = 30,
    /// M42: a new leader tells its stale watermark as the latest offset.
    LatestBeforeLeso = 42,
    /// M43: a fetch between the watermark and the log's end is out of range.
    RangeErrorAboveHw = 43,
    /// M45: a fetch does not look again after it has registered.
    LostWakeup = 45,
    /// M46: answers leave a connection as they are ready.
    ResponseOutOfOrder = 46,
    /// M48: replicas are placed on brokers 1, 2 and 3.
    HardcodedAssignment = 48,
    /// M49: a follower that lags stays in the ISR.
    IsrNeverShrinks = 49,
    /// M50: the first batch after a roll of the WAL is skipped by readers.
    SegmentBoundary = 50,
    /// M51: an offset is sought for a later timestamp, not for the same or a later one.
    TimeIndexStrict = 51,
    /// M52: a new controller goes on with the deadlines of its former term.
    StickyControllerClock = 52,
    /// M53: who waits for acks=all is not failed with the leadership, and completes in a later
    /// one.
    WaitersOutliveEpoch = 53,
    /// M54: a duplicate of a batch that is not committed yet is acknowledged at once.
    DuplicateAckedEarly = 54,
    /// M55: a restarted leader goes on in the epoch that it had (KAFKA-18106).
    SameEpochResume = 55,
    /// M56: a pending change of the ISR is taken back when its answer was lost.
    RollbackOnUnknown = 56,
}

impl SeededBug {
    /// Every seeded bug that is built.
    pub const ALL: &'static [SeededBug] = &[
        SeededBug::HwIsLeo,
        SeededBug::HwSync5s,
        SeededBug::HwFromMetadata,
        SeededBug::HwAtLocalFsync,
        SeededBug::AcksAllAs1,
        SeededBug::QuorumFallback1,
        SeededBug::TruncateToHw,
        SeededBug::NoTruncate,
        SeededBug::EpochEndOffByOne,
        SeededBug::NoEpochFence,
        SeededBug::ZombieSelfIsr,
        SeededBug::ShrinkBeforeCommit,
        SeededBug::ExpandAfterCommit,
        SeededBug::ExpandWithoutLeso,
        SeededBug::StaleBrokerEpoch,
        SeededBug::MinIsrOnlyAtAppend,
        SeededBug::HwMovesUnderMinIsr,
        SeededBug::UncleanElection,
        SeededBug::LastReplicaStanding,
        SeededBug::AckBeforeAppend,
        SeededBug::AckBeforeFsync,
        SeededBug::FsyncErrorIgnored,
        SeededBug::TornTailAccepted,
        SeededBug::RecoveryDropsLast,
        SeededBug::ProducerStateNotRebuilt,
        SeededBug::CheckThenActSequences,
        SeededBug::DedupeWindow1,
        SeededBug::DuplicateNewOffset,
        SeededBug::NoProducerEpochFence,
        SeededBug::LatestBeforeLeso,
        SeededBug::RangeErrorAboveHw,
        SeededBug::LostWakeup,
        SeededBug::ResponseOutOfOrder,
        SeededBug::HardcodedAssignment,
        SeededBug::IsrNeverShrinks,
        SeededBug::SegmentBoundary,
        SeededBug::TimeIndexStrict,
        SeededBug::StickyControllerClock,
        SeededBug::WaitersOutliveEpoch,
        SeededBug::DuplicateAckedEarly,
        SeededBug::SameEpochResume,
        SeededBug::RollbackOnUnknown,
    ];

    /// The catalogue's name, as `--seeded-bug` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SeededBug::HwIsLeo => "hw-is-leo",
            SeededBug::HwSync5s => "hw-sync-5s",
            SeededBug::HwFromMetadata => "hw-from-metadata",
            SeededBug::HwAtLocalFsync => "hw-at-local-fsync",
            SeededBug::AcksAllAs1 => "acks-all-as-1",
            SeededBug::QuorumFallback1 => "quorum-fallback-1",
            SeededBug::TruncateToHw => "truncate-to-hw",
            SeededBug::NoTruncate => "no-truncate",
            SeededBug::EpochEndOffByOne => "epoch-end-off-by-one",
            SeededBug::NoEpochFence => "no-epoch-fence",
            SeededBug::ZombieSelfIsr => "zombie-self-isr",
            SeededBug::ShrinkBeforeCommit => "shrink-before-commit",
            SeededBug::ExpandAfterCommit => "expand-after-commit",
            SeededBug::ExpandWithoutLeso => "expand-without-leso",
            SeededBug::StaleBrokerEpoch => "stale-broker-epoch",
            SeededBug::MinIsrOnlyAtAppend => "min-isr-only-at-append",
            SeededBug::HwMovesUnderMinIsr => "hw-moves-under-min-isr",
            SeededBug::UncleanElection => "unclean-election",
            SeededBug::LastReplicaStanding => "last-replica-standing",
            SeededBug::AckBeforeAppend => "ack-before-append",
            SeededBug::AckBeforeFsync => "ack-before-fsync",
            SeededBug::FsyncErrorIgnored => "fsync-error-ignored",
            SeededBug::TornTailAccepted => "torn-tail-accepted",
            SeededBug::RecoveryDropsLast => "recovery-drops-last",
            SeededBug::ProducerStateNotRebuilt => "producer-state-not-rebuilt",
            SeededBug::CheckThenActSequences => "check-then-act-sequences",
            SeededBug::DedupeWindow1 => "dedupe-window-1",
            SeededBug::DuplicateNewOffset => "duplicate-new-offset",
            SeededBug::NoProducerEpochFence => "no-producer-epoch-fence",
            SeededBug::LatestBeforeLeso => "latest-before-leso",
            SeededBug::RangeErrorAboveHw => "range-error-above-hw",
            SeededBug::LostWakeup => "lost-wakeup",
            SeededBug::ResponseOutOfOrder => "response-out-of-order",
            SeededBug::HardcodedAssignment => "hardcoded-assignment",
            SeededBug::IsrNeverShrinks => "isr-never-shrinks",
            SeededBug::SegmentBoundary => "segment-boundary",
            SeededBug::TimeIndexStrict => "time-index-strict",
            SeededBug::StickyControllerClock => "sticky-controller-clock",
            SeededBug::WaitersOutliveEpoch => "waiters-outlive-epoch",
            SeededBug::DuplicateAckedEarly => "duplicate-acked-early",
            SeededBug::SameEpochResume => "same-epoch-resume",
            SeededBug::RollbackOnUnknown => "rollback-on-unknown",
        }
    }

    /// The catalogue's number, `M01` to `M56`.
    #[must_use]
    pub fn id(self) -> String {
        format!("M{:02}", self as u8)
    }

    /// The bug of that name or catalogue number (`hw-is-leo`, `M01`), if there is one.
    #[must_use]
    pub fn by_name(name: &str) -> Option<SeededBug> {
        Self::ALL.iter().copied().find(|bug| {
            bug.name().eq_ignore_ascii_case(name) || bug.id().eq_ignore_ascii_case(name)
        })
    }
}

/// The set of rules that are switched off: always empty without the feature `seeded-bugs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BugSet {
    #[cfg(feature = "seeded-bugs")]
    bits: u64,
}

impl BugSet {
    /// No bug.
    pub const NONE: BugSet = BugSet {
        #[cfg(feature = "seeded-bugs")]
        bits: 0,
    };

    /// Whether every rule is on.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        #[cfg(feature = "seeded-bugs")]
        {
            self.bits == 0
        }
        #[cfg(not(feature = "seeded-bugs"))]
        {
            true
        }
    }

    /// Whether the rule that `bug` removes is off.
    #[inline]
    #[must_use]
    pub const fn has(self, bug: SeededBug) -> bool {
        #[cfg(feature = "seeded-bugs")]
        {
            self.bits & (1 << bug as u8) != 0
        }
        #[cfg(not(feature = "seeded-bugs"))]
        {
            let _ = bug;
            false
        }
    }

    /// This set and `bug`.
    #[cfg(feature = "seeded-bugs")]
    #[must_use]
    pub const fn with(self, bug: SeededBug) -> BugSet {
        BugSet {
            bits: self.bits | 1 << bug as u8,
        }
    }
}
