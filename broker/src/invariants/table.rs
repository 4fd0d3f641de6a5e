//! Each invariant with the place where it is asserted, the model, simulation or test that checks
//! it, and the seeded bugs that trip it; a test follows every link.
//!
//! Assertions stand in the running broker, but where only somebody who sees all brokers can tell:
//! I7, half of I8, and liveness are asserted by the oracle of the random walks.

use std::fmt::{self, Write};

use super::Invariant;
use crate::chaos::seeded_bug::SeededBug;

/// A place in the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// File, from this crate's directory.
    pub file: &'static str,
    /// Text that stands there: a test's name, or an assertion's.
    pub symbol: &'static str,
}

/// A [`Link`].
#[must_use]
pub const fn link(file: &'static str, symbol: &'static str) -> Link {
    Link { file, symbol }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbol = self.symbol.trim_start_matches("fn ");
        write!(f, "`{}`: `{symbol}`", self.file)
    }
}

/// One invariant, or one liveness property.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// `I1` to `I26`, `L1` to `L3`.
    pub id: &'static str,
    /// Its name in assertions; liveness has none, because no single state breaks it.
    pub invariant: Option<Invariant>,
    /// What holds.
    pub statement: &'static str,
    /// Where it is asserted, in release builds too.
    pub asserted: &'static [Link],
    /// Models, random walks and tests that look for a breach.
    pub checked: &'static [Link],
    /// Removed rules that break it.
    pub tripped_by: &'static [SeededBug],
}

/// What groups and transactions will have to keep: not built yet.
pub const LATER: &[(&str, &str)] = &[
    (
        "I21",
        "A transaction is committed as a whole or aborted as a whole.",
    ),
    (
        "I22",
        "A coordinator serves once it has replayed its log to the epoch's end.",
    ),
    (
        "I23",
        "A committed group offset is committed in the log, by a current member.",
    ),
    (
        "I24",
        "Within one generation a partition has at most one owner.",
    ),
    (
        "L4",
        "After healing the last stable offset reaches the high watermark.",
    ),
];

/// [`TABLE`] and [`LATER`] as a Markdown table.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "| id | name | what holds | asserted in | checked by | tripped by |\n\
         |---|---|---|---|---|---|\n",
    );
    let all = |links: &[Link]| {
        let links: Vec<_> = links.iter().map(Link::to_string).collect();
        links.join("<br>")
    };
    // Writing into a string cannot fail.
    for entry in TABLE {
        let name = entry
            .invariant
            .map_or("-".to_owned(), |name| format!("{name:?}"));
        let bugs: Vec<_> = entry.tripped_by.iter().map(|bug| bug.name()).collect();
        let (asserted, checked) = (all(entry.asserted), all(entry.checked));
        let (id, statement, bugs) = (entry.id, entry.statement, bugs.join(", "));
        let _ = writeln!(
            out,
            "| {id} | {name} | {statement} | {asserted} | {checked} | {bugs} |"
        );
    }
    for (id, statement) in LATER {
        let _ = writeln!(out, "| {id} | - | {statement} | *not built yet* | | |");
    }
    out
}

/// Every invariant that this broker has to keep.
pub const TABLE: &[Entry] = &[
    Entry {
        id: "I1",
        invariant: Some(Invariant::HwMonotone),
        statement: "Within an epoch the leader's high watermark never decreases, and what is \
                told of it never goes back.",
        asserted: &[
            link("src/replica/actor.rs", "Invariant::HwMonotone"),
            link("src/replica/watermark.rs", "pub fn raise"),
        ],
        checked: &[
            link("tests/model/ghost.rs", "I1: a leader"),
            link(
                "src/replica/watermark.rs",
                "fn a_leaders_watermark_only_rises",
            ),
        ],
        tripped_by: &[SeededBug::LatestBeforeLeso],
    },
    Entry {
        id: "I2",
        invariant: Some(Invariant::HwWithinMaximalIsr),
        statement: "A raised high watermark is at most the fetch offset of every member of \
                the maximal ISR.",
        asserted: &[link(
            "src/replica/leader.rs",
            "Invariant::HwWithinMaximalIsr",
        )],
        checked: &[
            link("tests/model/main.rs", "fn m04_hw_at_local_fsync_is_found"),
            link(
                "src/replica/leader_seeded_test.rs",
                "fn m04_commits_what_nobody_else_has",
            ),
        ],
        tripped_by: &[SeededBug::HwAtLocalFsync],
    },
    Entry {
        id: "I3",
        invariant: Some(Invariant::HwNeedsMinIsr),
        statement: "The high watermark rises only while the ISR has min.insync.replicas \
                members.",
        asserted: &[link("src/replica/leader.rs", "Invariant::HwNeedsMinIsr")],
        checked: &[
            link(
                "src/replica/leader_seeded_test.rs",
                "fn m17_acknowledges_what_one_replica_holds",
            ),
            link(
                "tests/model/main.rs",
                "fn kip_966_the_watermark_needs_the_minimum_isr",
            ),
            link(
                "tests/walk/main.rs",
                "fn a_clean_cluster_breaks_no_invariant",
            ),
        ],
        tripped_by: &[
            SeededBug::MinIsrOnlyAtAppend,
            SeededBug::HwMovesUnderMinIsr,
            SeededBug::QuorumFallback1,
        ],
    },
    Entry {
        id: "I4",
        invariant: Some(Invariant::ViewOrdered),
        statement: "Log start <= last stable offset <= high watermark <= own end <= log end, \
                and between them a position is within the log.",
        asserted: &[link("src/replica/view.rs", "Invariant::ViewOrdered")],
        checked: &[
            link(
                "src/replica/view_test.rs",
                "fn a_view_whose_watermark_is_beyond_what_is_held_is_never_published",
            ),
            link(
                "tests/model/ghost.rs",
                "I4: a high watermark above the log end",
            ),
        ],
        tripped_by: &[SeededBug::RangeErrorAboveHw],
    },
    Entry {
        id: "I5",
        invariant: Some(Invariant::ReadWithinBound),
        statement: "No byte above the high watermark (read_committed: above the last stable \
                offset) reaches a consumer.",
        asserted: &[link("src/replica/view.rs", "Invariant::ReadWithinBound")],
        checked: &[
            link(
                "src/replica/view_test.rs",
                "fn consumers_read_below_the_watermark_and_followers_to_the_end",
            ),
            link("tests/model/ghost.rs", "I5, I8: two values"),
        ],
        tripped_by: &[SeededBug::HwIsLeo],
    },
    Entry {
        id: "I6",
        invariant: Some(Invariant::LeaderComplete),
        statement: "A leader's log holds every committed offset.",
        asserted: &[link("src/replica/leader.rs", "Invariant::LeaderComplete")],
        checked: &[
            link("tests/model/system.rs", "fn leader_is_complete"),
            link("tests/walk/oracle.rs", "fn leader_is_complete"),
        ],
        tripped_by: &[SeededBug::HwFromMetadata, SeededBug::UncleanElection],
    },
    Entry {
        id: "I7",
        invariant: Some(Invariant::CandidatesComplete),
        statement: "So does the log of every member of the ISR and of the ELR.",
        asserted: &[link(
            "tests/walk/oracle.rs",
            "Invariant::CandidatesComplete",
        )],
        checked: &[
            link("tests/model/system.rs", "fn members_are_complete"),
            link(
                "tests/model/main.rs",
                "fn kip_966_the_last_replica_standing_is_not_elected_without_its_log",
            ),
            link("tests/walk/oracle.rs", "fn candidates_are_complete"),
        ],
        tripped_by: &[SeededBug::ExpandWithoutLeso, SeededBug::LastReplicaStanding],
    },
    Entry {
        id: "I8",
        invariant: Some(Invariant::LogsMatch),
        statement: "Two logs are equal below the lesser of their watermarks.",
        asserted: &[
            link("src/log/partition_state.rs", "batches leave no gap"),
            link("tests/walk/oracle.rs", "Invariant::LogsMatch"),
        ],
        checked: &[
            link("tests/model/ghost.rs", "I5, I8: two values"),
            link("tests/walk/oracle.rs", "fn logs_match"),
        ],
        tripped_by: &[SeededBug::NoTruncate, SeededBug::SameEpochResume],
    },
    Entry {
        id: "I9",
        invariant: Some(Invariant::QuorumsOverlap),
        statement: "Whoever may be elected counts for the high watermark.",
        asserted: &[link("src/replica/leader.rs", "Invariant::QuorumsOverlap")],
        checked: &[
            link("tests/model/system.rs", "fn quorums_overlap"),
            link("tests/model/main.rs", "fn m14_expand_after_commit_is_found"),
        ],
        tripped_by: &[SeededBug::ExpandAfterCommit, SeededBug::RollbackOnUnknown],
    },
    Entry {
        id: "I10",
        invariant: Some(Invariant::EpochFenced),
        statement: "A message of another leader epoch changes nothing.",
        asserted: &[link("src/replica/leader.rs", "Invariant::EpochFenced")],
        checked: &[
            link("tests/model/main.rs", "fn m11_no_epoch_fence_is_found"),
            link(
                "tests/model/main.rs",
                "fn kip_320_fetches_of_other_epochs_are_fenced",
            ),
            link(
                "src/replica/leader_test.rs",
                "fn fetches_of_other_epochs_incarnations_and_strangers_change_nothing",
            ),
        ],
        tripped_by: &[SeededBug::NoEpochFence],
    },
    Entry {
        id: "I11",
        invariant: Some(Invariant::TruncateFirst),
        statement: "A follower truncates before its first append in an epoch, and never \
                below what is committed.",
        asserted: &[link("src/replica/follower.rs", "Invariant::TruncateFirst")],
        checked: &[
            link("tests/model/main.rs", "fn m08_truncate_to_hw_is_found"),
            link(
                "tests/model/main.rs",
                "fn kip_279_the_followers_own_end_of_an_epoch_counts_too",
            ),
            link(
                "src/replica/core_test.rs",
                "fn kip_101_a_restarted_follower_keeps_what_is_committed",
            ),
        ],
        tripped_by: &[SeededBug::TruncateToHw],
    },
    Entry {
        id: "I12",
        invariant: Some(Invariant::JoinerComplete),
        statement: "A joiner of the ISR has fetched in this epoch, at or above the high \
                watermark and the epoch's start, as the incarnation that is registered \
                and not fenced.",
        asserted: &[
            link("src/replica/leader.rs", "Invariant::JoinerComplete"),
            link("src/meta/controller.rs", "Invariant::JoinerComplete"),
        ],
        checked: &[
            link("tests/model/main.rs", "fn m15_expand_without_leso_is_found"),
            link(
                "tests/model/main.rs",
                "fn kip_903_a_fetch_of_an_earlier_process_lets_nobody_in",
            ),
            link(
                "src/meta/state_seeded_test.rs",
                "fn m16_lets_an_incarnation_join_that_has_been_replaced",
            ),
        ],
        tripped_by: &[SeededBug::ExpandWithoutLeso, SeededBug::StaleBrokerEpoch],
    },
    Entry {
        id: "I13",
        invariant: Some(Invariant::MaximalIsr),
        statement: "A shrink counts once the controller has committed it, an expansion at \
                once.",
        asserted: &[link("src/replica/leader.rs", "Invariant::MaximalIsr")],
        checked: &[
            link(
                "tests/model/main.rs",
                "fn m13_shrink_before_commit_is_found",
            ),
            link("tests/model/system.rs", "fn quorums_overlap"),
        ],
        tripped_by: &[
            SeededBug::ShrinkBeforeCommit,
            SeededBug::ZombieSelfIsr,
            SeededBug::ExpandAfterCommit,
        ],
    },
    Entry {
        id: "I14",
        invariant: Some(Invariant::EpochsGrow),
        statement: "Leader, partition and broker epochs grow with every committed change, \
                and with every new incarnation of a leader.",
        asserted: &[
            link("src/meta/controller.rs", "Invariant::EpochsGrow"),
            link("src/meta/state.rs", "Invariant::EpochsGrow"),
        ],
        checked: &[
            link("src/meta/state_proptest.rs", "proptest!"),
            link(
                "src/meta/state_seeded_test.rs",
                "fn m55_leaves_the_leadership_with_an_incarnation_that_is_gone",
            ),
        ],
        tripped_by: &[SeededBug::SameEpochResume],
    },
    Entry {
        id: "I15",
        invariant: Some(Invariant::CleanElection),
        statement: "A leader is elected from the ISR, else from the ELR, else there is none.",
        asserted: &[link("src/meta/controller.rs", "Invariant::CleanElection")],
        checked: &[
            link(
                "src/meta/state_seeded_test.rs",
                "fn m19_trips_the_rule_of_clean_elections",
            ),
            link("src/meta/state_proptest.rs", "proptest!"),
        ],
        tripped_by: &[SeededBug::UncleanElection],
    },
    Entry {
        id: "I16",
        invariant: Some(Invariant::LostLogsLeave),
        statement: "A broker whose log may lack acknowledged records leaves every ISR and \
                ELR, and leads in a new epoch only.",
        asserted: &[
            link("src/meta/controller.rs", "Invariant::LostLogsLeave"),
            link("src/meta/state.rs", "Invariant::LostLogsLeave"),
        ],
        checked: &[
            link(
                "src/meta/state_test.rs",
                "fn an_unclean_start_loses_every_claim",
            ),
            link(
                "tests/walk/main.rs",
                "fn a_clean_cluster_breaks_no_invariant",
            ),
        ],
        tripped_by: &[SeededBug::SameEpochResume, SeededBug::LastReplicaStanding],
    },
    Entry {
        id: "I17",
        invariant: Some(Invariant::AckedIsHeld),
        statement: "acks=all succeeds below the high watermark, acks=1 below the own end.",
        asserted: &[link("src/replica/leader.rs", "Invariant::AckedIsHeld")],
        checked: &[
            link(
                "tests/model/ghost.rs",
                "I17: acknowledged before it was committed",
            ),
            link(
                "src/replica/leader_seeded_test.rs",
                "fn m21_acknowledges_acks_1_before_the_record_is_held",
            ),
        ],
        tripped_by: &[
            SeededBug::AckBeforeAppend,
            SeededBug::AcksAllAs1,
            SeededBug::WaitersOutliveEpoch,
            SeededBug::DuplicateAckedEarly,
        ],
    },
    Entry {
        id: "I18",
        invariant: Some(Invariant::SyncedBeforeDurable),
        statement: "What counts as durable was synced; a failed fdatasync is fatal.",
        asserted: &[link("src/log/wal.rs", "Invariant::SyncedBeforeDurable")],
        checked: &[
            link(
                "src/log/tests/seeded.rs",
                "fn m23_takes_a_failed_fdatasync_for_a_success",
            ),
            link("src/log/tests/crashes.rs", "proptest!"),
        ],
        tripped_by: &[SeededBug::FsyncErrorIgnored, SeededBug::AckBeforeFsync],
    },
    Entry {
        id: "I19",
        invariant: Some(Invariant::ProducersAreFolded),
        statement: "Producer state and epoch cache are folds over the log: rebuilt by \
                recovery, equal where logs are equal.",
        asserted: &[link(
            "src/replica/actor.rs",
            "Invariant::ProducersAreFolded",
        )],
        checked: &[
            link(
                "src/replica/actor_test.rs",
                "fn m26_a_new_leader_appends_what_it_has_already",
            ),
            link("src/producer/state_test.rs", "proptest!"),
        ],
        tripped_by: &[SeededBug::ProducerStateNotRebuilt],
    },
    Entry {
        id: "I20",
        invariant: Some(Invariant::SequencesContiguous),
        statement: "Sequence numbers of a producer epoch are contiguous, a duplicate keeps \
                its first offset, a lower epoch is refused.",
        asserted: &[link(
            "src/producer/state.rs",
            "Invariant::SequencesContiguous",
        )],
        checked: &[
            link(
                "src/replica/actor_test.rs",
                "fn m27_appends_two_copies_that_come_together",
            ),
            link("src/producer/state_test.rs", "proptest!"),
        ],
        tripped_by: &[
            SeededBug::CheckThenActSequences,
            SeededBug::NoProducerEpochFence,
            SeededBug::DedupeWindow1,
            SeededBug::DuplicateNewOffset,
        ],
    },
    Entry {
        id: "I25",
        invariant: Some(Invariant::AnswersInOrder),
        statement: "Answers leave a connection in the order of their requests.",
        asserted: &[link("src/net/connection.rs", "Invariant::AnswersInOrder")],
        checked: &[
            link(
                "src/net/connection_test.rs",
                "fn answers_leave_in_the_order_of_requests_while_later_ones_are_begun",
            ),
            link(
                "src/net/connection_test.rs",
                "fn m46_answers_overtake_each_other",
            ),
        ],
        tripped_by: &[SeededBug::ResponseOutOfOrder],
    },
    Entry {
        id: "I26",
        invariant: Some(Invariant::BatchesUntouched),
        statement: "A stored batch is what was received, but for base offset and leader \
                epoch.",
        asserted: &[
            link("src/log/partition_log.rs", "Invariant::BatchesUntouched"),
            link("src/log/snapshot.rs", "fn check_stored"),
        ],
        checked: &[
            link(
                "src/log/tests/damage.rs",
                "fn a_flipped_bit_is_refused_or_cut_off",
            ),
            link(
                "src/log/tests/seeded.rs",
                "fn m24_takes_a_torn_batch_for_a_record",
            ),
        ],
        tripped_by: &[SeededBug::TornTailAccepted, SeededBug::SegmentBoundary],
    },
    Entry {
        id: "L1",
        invariant: None,
        statement: "After healing every partition has one leader.",
        asserted: &[link("tests/walk/oracle.rs", "fn one_leader")],
        checked: &[
            link(
                "tests/walk/main.rs",
                "fn a_clean_cluster_recovers_once_it_is_healed",
            ),
            link(
                "tests/cluster/main.rs",
                "fn what_is_acknowledged_survives_the_death_of_its_leader",
            ),
        ],
        tripped_by: &[
            SeededBug::HardcodedAssignment,
            SeededBug::StickyControllerClock,
        ],
    },
    Entry {
        id: "L2",
        invariant: None,
        statement: "After healing every live replica is in sync.",
        asserted: &[link("tests/walk/oracle.rs", "fn all_in_sync")],
        checked: &[
            link(
                "tests/walk/main.rs",
                "fn a_clean_cluster_recovers_once_it_is_healed",
            ),
            link(
                "tests/cluster/main.rs",
                "fn a_follower_that_is_gone_for_long_leaves_the_isr_and_comes_back",
            ),
        ],
        tripped_by: &[SeededBug::EpochEndOffByOne, SeededBug::IsrNeverShrinks],
    },
    Entry {
        id: "L3",
        invariant: None,
        statement: "After healing acks=all succeeds.",
        asserted: &[link("tests/walk/oracle.rs", "fn acks_all_succeeds")],
        checked: &[
            link(
                "tests/walk/main.rs",
                "fn a_clean_cluster_recovers_once_it_is_healed",
            ),
            link(
                "tests/cluster/main.rs",
                "fn all_brokers_die_at_once_and_nothing_acknowledged_is_lost",
            ),
        ],
        tripped_by: &[
            SeededBug::HwSync5s,
            SeededBug::LostWakeup,
            SeededBug::IsrNeverShrinks,
        ],
    },
];
