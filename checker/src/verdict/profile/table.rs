//! The tables of the profiles: for each type of anomaly whether it is allowed, why, and where that
//! is written. Reviewed by hand: a row changes only with its source.

use super::Allowed::{
    Always, BeforeKip890, LeaderChanged, LeaderChangedUnread, Never, NotIdempotent,
    ReadUncommitted, Subscribed, UnlessStrictReads, Unread, WriteDependencies,
};
use super::{Allowed, Clause, Profile};
use crate::analysis::Kind;

/// Every profile.
pub static PROFILES: &[Profile] = &[
    Profile {
        name: "safe",
        says: "acks=all, min.insync.replicas >= 2, idempotent producers",
        differs: &[],
    },
    Profile {
        name: "acks1",
        says: "acks=1: what only the leader had may be lost with it",
        differs: ACKS_1,
    },
    Profile {
        name: "at-most-once",
        says: "acks=0: any message may be lost that nobody has read",
        differs: AT_MOST_ONCE,
    },
    Profile {
        name: "txn",
        says: "transactions, consumers at read_committed",
        differs: TXN,
    },
    Profile {
        name: "jepsen",
        says: "exactly what jepsen.tests.kafka allows, by its definitions",
        differs: JEPSEN,
    },
];

const fn row(kind: Kind, allowed: Allowed, why: &'static str, source: &'static str) -> Clause {
    Clause {
        kind,
        allowed,
        why,
        source,
    }
}

const ACKS: &str = "Kafka documentation, producer config `acks`";
const ORDER: &str = "Kafka documentation, producer configs `acks`, `enable.idempotence`";
const DESIGN: &str = "Kafka documentation, design 4.7 (replication)";
const KIP_98: &str = "KIP-98 (idempotent and transactional producers)";
const KIP_101: &str = "KIP-101 (leader epochs instead of watermarks for truncation)";
const KIP_320: &str = "KIP-320 (fencing by leader epoch)";
const KIP_207: &str = "KIP-207 (offsets of a new leader)";
const KIP_62: &str = "KIP-62, KIP-848 (group membership and assignment)";
const KIP_447: &str = "KIP-447 (offsets of consumer groups in transactions)";
const KIP_890: &str = "KAFKA-17754, closed by KIP-890 (an epoch for each transaction)";
const GROUPS: &str = "Kafka documentation, design 4.5 (consumer position)";
const JEPSEN_KAFKA: &str = "jepsen.tests.kafka, allowed-error-types";
const REDPANDA: &str = "Jepsen report on Redpanda 21.10.1";

pub(super) static SAFE: &[Clause] = &[
    row(
        Kind::LostWrite,
        Never,
        "an acknowledged message is never lost: every in-sync replica had it",
        ACKS,
    ),
    row(
        Kind::LostTail,
        Never,
        "the log never ends before an acknowledged or delivered message",
        DESIGN,
    ),
    row(
        Kind::Vanished,
        Never,
        "what was acknowledged or delivered once stays readable",
        DESIGN,
    ),
    row(
        Kind::InconsistentOffsets,
        Never,
        "an offset holds one message, for everybody and for ever",
        KIP_101,
    ),
    row(
        Kind::ReplicaDivergence,
        Never,
        "below the high watermark all replicas hold the same records",
        KIP_101,
    ),
    row(
        Kind::Duplicate,
        NotIdempotent,
        "an idempotent producer's message is stored once",
        KIP_98,
    ),
    row(
        Kind::G1a,
        ReadUncommitted,
        "what certainly was not written is not read",
        "Adya 1999, G1a",
    ),
    row(
        Kind::UnwrittenRead,
        Never,
        "only what was sent is read, and undamaged",
        "record batch checksum",
    ),
    row(
        Kind::InvalidOffset,
        Never,
        "offsets count from 0 upwards, record by record",
        DESIGN,
    ),
    row(Kind::DualLeader, Never, "an epoch has one leader", KIP_320),
    row(
        Kind::EpochRegression,
        Never,
        "leader epochs only grow",
        KIP_320,
    ),
    row(
        Kind::StaleWatermark,
        Never,
        "an acknowledged message lies below every later watermark",
        KIP_207,
    ),
    row(
        Kind::WatermarkRegression,
        Never,
        "watermarks only grow, across leaders too",
        KIP_207,
    ),
    row(
        Kind::VisibleAboveWatermark,
        Never,
        "consumers see only what lies below the high watermark",
        DESIGN,
    ),
    row(
        Kind::TornTransaction,
        ReadUncommitted,
        "a committed transaction is visible as a whole",
        KIP_98,
    ),
    row(
        Kind::ZombieWrite,
        Never,
        "a producer is fenced by a higher epoch of its id",
        KIP_98,
    ),
    row(
        Kind::DoubleOwnership,
        Never,
        "in one generation a partition has one owner",
        KIP_62,
    ),
    row(
        Kind::DoubleConsume,
        Never,
        "a group's transactions consume each record once",
        KIP_447,
    ),
    row(
        Kind::CommittedOffsetRegression,
        Never,
        "a committed offset stays until another one is committed",
        GROUPS,
    ),
    row(
        Kind::CommittedOffsetOverrun,
        Never,
        "what is committed was delivered",
        GROUPS,
    ),
    row(
        Kind::PrecommittedRead,
        ReadUncommitted,
        "a transaction does not see its own records",
        KIP_98,
    ),
    row(
        Kind::PollSkip,
        Subscribed,
        "a consumer reads on where it stopped; a rebalance may move it",
        JEPSEN_KAFKA,
    ),
    row(
        Kind::NonmonotonicPoll,
        Subscribed,
        "a consumer never goes back; a rebalance may move it",
        JEPSEN_KAFKA,
    ),
    row(
        Kind::IntPollSkip,
        Never,
        "one poll returns a contiguous piece of the log",
        DESIGN,
    ),
    row(
        Kind::IntNonmonotonicPoll,
        Never,
        "one poll returns records in the log's order",
        DESIGN,
    ),
    row(
        Kind::NonmonotonicSend,
        Never,
        "a producer's messages stand in the order in which it sent them",
        KIP_98,
    ),
    row(
        Kind::IntNonmonotonicSend,
        Never,
        "a batch's messages stand in the order in which they were sent",
        KIP_98,
    ),
    row(
        Kind::IntSendSkip,
        Always,
        "writes are not isolated: other producers' messages may come between",
        REDPANDA,
    ),
    row(Kind::G0, Always, "writes are not isolated", REDPANDA),
    row(Kind::G0Process, Always, "writes are not isolated", REDPANDA),
    row(
        Kind::G0Realtime,
        Always,
        "writes are not isolated",
        REDPANDA,
    ),
    row(
        Kind::G1c,
        Never,
        "information does not flow in a circle",
        "Adya 1999, G1c",
    ),
    row(
        Kind::G1cProcess,
        Never,
        "information does not flow in a circle",
        "Adya 1999, G1c",
    ),
    row(
        Kind::G1cRealtime,
        Never,
        "information does not flow back in time",
        "Adya 1999, G1c",
    ),
    row(
        Kind::ReadSkew,
        UnlessStrictReads,
        "polls are no snapshots: they may see one half of a transaction first",
        REDPANDA,
    ),
    row(
        Kind::GNonadjacentItem,
        UnlessStrictReads,
        "polls are no snapshots",
        REDPANDA,
    ),
    row(
        Kind::G2Item,
        UnlessStrictReads,
        "polls are no snapshots",
        REDPANDA,
    ),
    row(
        Kind::EmptyTransactionGraph,
        Always,
        "counts say whether there was enough data",
        "this checker",
    ),
    row(
        Kind::NonUniqueWrite,
        Never,
        "the workload numbers its messages; else nothing can be told apart",
        "history format",
    ),
    row(
        Kind::Unseen,
        Never,
        "what was acknowledged is readable before long",
        "this checker: stalled, not invalid",
    ),
    row(
        Kind::NotRecovered,
        Never,
        "the cluster goes on once the last fault is healed",
        "this checker: stalled, not invalid",
    ),
];

static ACKS_1: &[Clause] = &[
    row(
        Kind::LostWrite,
        LeaderChangedUnread,
        "only the leader had it",
        ACKS,
    ),
    row(
        Kind::LostTail,
        LeaderChangedUnread,
        "only the leader had it",
        ACKS,
    ),
    row(
        Kind::Vanished,
        LeaderChangedUnread,
        "only the leader had it",
        ACKS,
    ),
    row(
        Kind::InconsistentOffsets,
        LeaderChanged,
        "a lost message's offset is given out again",
        ACKS,
    ),
    row(
        Kind::StaleWatermark,
        Always,
        "the acknowledgement does not wait for the watermark",
        ACKS,
    ),
    row(
        Kind::NonmonotonicSend,
        LeaderChanged,
        "an earlier message was lost with its leader, or was sent again to the next one, without a \
         sequence number, behind later ones",
        ORDER,
    ),
    row(
        Kind::IntNonmonotonicSend,
        LeaderChanged,
        "an earlier message was lost with its leader, or was sent again to the next one, without a \
         sequence number, behind later ones",
        ORDER,
    ),
    row(Kind::Unseen, LeaderChangedUnread, "it may be lost", ACKS),
];

static AT_MOST_ONCE: &[Clause] = &[
    row(
        Kind::LostWrite,
        Unread,
        "nobody waited for the broker to have it",
        ACKS,
    ),
    row(
        Kind::LostTail,
        Unread,
        "nobody waited for the broker to have it",
        ACKS,
    ),
    row(
        Kind::Vanished,
        Unread,
        "nobody waited for the broker to have it",
        ACKS,
    ),
    row(
        Kind::InconsistentOffsets,
        LeaderChanged,
        "a lost message's offset is given out again",
        ACKS,
    ),
    row(
        Kind::StaleWatermark,
        Always,
        "there are no acknowledgements",
        ACKS,
    ),
    row(Kind::Unseen, Always, "it may be lost", ACKS),
];

static TXN: &[Clause] = &[
    row(
        Kind::TornTransaction,
        BeforeKip890,
        "a delayed end of an earlier transaction may end a later one in part",
        KIP_890,
    ),
    row(
        Kind::LostWrite,
        BeforeKip890,
        "a delayed abort of an earlier transaction may abort a later one that is then committed",
        KIP_890,
    ),
    row(
        Kind::LostTail,
        BeforeKip890,
        "a delayed abort of an earlier transaction may abort a later one that is then committed",
        KIP_890,
    ),
    row(
        Kind::Vanished,
        BeforeKip890,
        "a delayed abort of an earlier transaction may abort a later one that is then committed",
        KIP_890,
    ),
    row(
        Kind::G1a,
        BeforeKip890,
        "a delayed commit of an earlier transaction may commit a later one that is then aborted",
        KIP_890,
    ),
    row(
        Kind::DoubleConsume,
        BeforeKip890,
        "a delayed end of an earlier transaction may end a later one, offsets included",
        KIP_890,
    ),
    row(
        Kind::G1c,
        WriteDependencies,
        "transactions' writes are not isolated",
        JEPSEN_KAFKA,
    ),
    row(
        Kind::G1cProcess,
        WriteDependencies,
        "transactions' writes are not isolated",
        JEPSEN_KAFKA,
    ),
    row(
        Kind::G1cRealtime,
        WriteDependencies,
        "transactions' writes are not isolated",
        JEPSEN_KAFKA,
    ),
];

static JEPSEN: &[Clause] = &[
    row(Kind::Duplicate, Never, "no duplicates", JEPSEN_KAFKA),
    row(Kind::G1a, Never, "no aborted reads", JEPSEN_KAFKA),
    row(
        Kind::PrecommittedRead,
        Never,
        "no reads of uncommitted records",
        JEPSEN_KAFKA,
    ),
    row(
        Kind::G1c,
        WriteDependencies,
        "normal once write dependencies are drawn",
        JEPSEN_KAFKA,
    ),
    row(
        Kind::G1cProcess,
        WriteDependencies,
        "normal once write dependencies are drawn",
        JEPSEN_KAFKA,
    ),
    row(
        Kind::G1cRealtime,
        WriteDependencies,
        "normal once write dependencies are drawn",
        JEPSEN_KAFKA,
    ),
    row(
        Kind::EmptyTransactionGraph,
        Never,
        "a run without data flow is not valid",
        JEPSEN_KAFKA,
    ),
    row(
        Kind::Unseen,
        Never,
        "everything acknowledged is polled in the end",
        JEPSEN_KAFKA,
    ),
];
