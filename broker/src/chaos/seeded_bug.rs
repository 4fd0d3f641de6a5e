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
    /// M05: acks=all answers after the local append.
    AcksAllAs1 = 5,
    /// M08: a follower truncates to its own high watermark, not by epoch (before KIP-101).
    TruncateToHw = 8,
    /// M09: the leader never reports a diverging epoch.
    NoTruncate = 9,
    /// M11: a fetch of another epoch counts as progress (before KIP-320).
    NoEpochFence = 11,
    /// M12: a deposed leader shrinks its ISR to itself and goes on acknowledging.
    ZombieSelfIsr = 12,
    /// M13: a proposed, smaller ISR counts for the high watermark before the controller commits it.
    ShrinkBeforeCommit = 13,
    /// M15: a joiner is admitted at a stale high watermark, below the leader epoch's start offset.
    ExpandWithoutLeso = 15,
}

impl SeededBug {
    /// Every seeded bug that is built.
    pub const ALL: &'static [SeededBug] = &[
        SeededBug::HwIsLeo,
        SeededBug::HwSync5s,
        SeededBug::AcksAllAs1,
        SeededBug::TruncateToHw,
        SeededBug::NoTruncate,
        SeededBug::NoEpochFence,
        SeededBug::ZombieSelfIsr,
        SeededBug::ShrinkBeforeCommit,
        SeededBug::ExpandWithoutLeso,
    ];

    /// The catalogue's name, as `--seeded-bug` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SeededBug::HwIsLeo => "hw-is-leo",
            SeededBug::HwSync5s => "hw-sync-5s",
            SeededBug::AcksAllAs1 => "acks-all-as-1",
            SeededBug::TruncateToHw => "truncate-to-hw",
            SeededBug::NoTruncate => "no-truncate",
            SeededBug::NoEpochFence => "no-epoch-fence",
            SeededBug::ZombieSelfIsr => "zombie-self-isr",
            SeededBug::ShrinkBeforeCommit => "shrink-before-commit",
            SeededBug::ExpandWithoutLeso => "expand-without-leso",
        }
    }

    /// The bug of that name or catalogue number (`hw-is-leo`, `M01`), if there is one.
    #[must_use]
    pub fn by_name(name: &str) -> Option<SeededBug> {
        Self::ALL.iter().copied().find(|bug| {
            bug.name().eq_ignore_ascii_case(name)
                || format!("M{:02}", *bug as u8).eq_ignore_ascii_case(name)
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
