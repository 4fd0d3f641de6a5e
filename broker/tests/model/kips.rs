//! The improvement proposals that made Kafka's replication sound, each as a case: with the rule
//! from before it the model finds the counterexample that is known from the public TLA+
//! specifications, with the shipped rule, within the same bounds, none.
//!
//! Specifications: `hachikuji/kafka-specification` (`KafkaTruncateToHighWatermark`, `Kip101`,
//! `Kip279`, `Kip320`) and `Vanlightly/kafka-tlaplus` (KIP-966). Theirs is a model of Kafka; this
//! one is the code that runs.

use broker::chaos::seeded_bug::SeededBug;
use broker::types::Durability;

use crate::system::Bounds;

/// A rule and the bounds in which its absence shows.
pub struct Case {
    /// Of the proposal.
    pub name: &'static str,
    /// The rule from before it.
    pub old_rule: SeededBug,
    /// Where both are explored.
    pub bounds: Bounds,
}

/// KIP-101, `KafkaTruncateToHighWatermark`: followers cut their log at their own watermark, which
/// may be stale. After a change of leader what was committed is gone.
pub const KIP_101: Case = Case {
    name: "kip-101",
    old_rule: SeededBug::TruncateToHw,
    bounds: Bounds::SMALL,
};

/// KIP-279, `Kip101`: a follower cuts at the end that the leader gives for an epoch, without
/// looking at its own end of it. After two quick changes of leader their logs stay different; here
/// the follower is told so with every fetch, and cannot go on.
pub const KIP_279: Case = Case {
    name: "kip-279",
    old_rule: SeededBug::EpochEndOffByOne,
    bounds: Bounds {
        epochs: 3,
        records: 2,
        ..Bounds::SMALL
    },
};

/// KIP-320, `Kip279`: a fetch of another leader epoch counts. A leader believes that a replica
/// holds what it has cut off meanwhile.
pub const KIP_320: Case = Case {
    name: "kip-320",
    old_rule: SeededBug::NoEpochFence,
    bounds: Bounds {
        epochs: 3,
        delayed: 1,
        ..Bounds::SMALL
    },
};

/// KIP-966, last replica standing: the ISR has shrunk to one broker, which comes back without a
/// part of its log, and is elected as if it had all.
pub const KIP_966_LAST_REPLICA: Case = Case {
    name: "kip-966-last-replica",
    old_rule: SeededBug::LastReplicaStanding,
    bounds: Bounds {
        epochs: 3,
        changes: 3,
        fences: 1,
        crashes: 1,
        moves: 0,
        third_outside: true,
        durability: Durability::Replicated,
        ..Bounds::SMALL
    },
};

/// KIP-966, strict min ISR: the watermark moves while fewer are in sync than
/// `min.insync.replicas`. Those who left, and may be elected, lack what was readable.
pub const KIP_966_STRICT_MIN_ISR: Case = Case {
    name: "kip-966-strict-min-isr",
    old_rule: SeededBug::HwMovesUnderMinIsr,
    bounds: Bounds {
        fences: 1,
        moves: 0,
        acks_one: true,
        ..Bounds::SMALL
    },
};

/// KIP-903 (with KIP-966): a replica is let into the ISR by a fetch of its process before the one
/// that runs now, which has lost what it fetched.
pub const KIP_903: Case = Case {
    name: "kip-903",
    old_rule: SeededBug::StaleBrokerEpoch,
    bounds: Bounds {
        crashes: 1,
        third_outside: true,
        moves: 0,
        durability: Durability::Replicated,
        ..Bounds::SMALL
    },
};

/// All of them.
pub const ALL: &[Case] = &[
    KIP_101,
    KIP_279,
    KIP_320,
    KIP_966_LAST_REPLICA,
    KIP_966_STRICT_MIN_ISR,
    KIP_903,
];
