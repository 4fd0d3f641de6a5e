//! Names of anomalies: exactly those of anomalies.md, in the order in which a person should hear
//! of them.

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// A type of anomaly, the gravest first.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every type.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// An acknowledged message was passed over by every consumer.
    LostWrite = "lost-write",
    /// The end of the log lies at or before a message that was acknowledged or read.
    LostTail = "lost-tail",
    /// A complete pass did not return a message that was there before.
    Vanished = "vanished",
    /// Two messages at one offset.
    InconsistentOffsets = "inconsistent-offsets",
    /// Two replicas hold different records below both their watermarks.
    ReplicaDivergence = "replica-divergence",
    /// One message at two offsets.
    Duplicate = "duplicate",
    /// A committed consumer read a message of a send that failed.
    G1a = "G1a",
    /// A message that nobody sent, or that is damaged.
    UnwrittenRead = "unwritten-read",
    /// An offset that cannot be.
    InvalidOffset = "invalid-offset",
    /// Two brokers lead one partition in one epoch.
    DualLeader = "dual-leader",
    /// A broker's leader epoch went back.
    EpochRegression = "epoch-regression",
    /// A watermark does not cover a message that was acknowledged before it was asked for.
    StaleWatermark = "stale-watermark",
    /// A watermark went back.
    WatermarkRegression = "watermark-regression",
    /// A record was delivered that the watermark does not cover.
    VisibleAboveWatermark = "visible-above-watermark",
    /// Some, but not all, of a transaction's messages are there.
    TornTransaction = "torn-transaction",
    /// A fenced producer's message is visible.
    ZombieWrite = "zombie-write",
    /// Two members of a group own one partition.
    DoubleOwnership = "double-ownership",
    /// Two committed transactions of a group consumed one record.
    DoubleConsume = "double-consume",
    /// A group's committed offset went back.
    CommittedOffsetRegression = "committed-offset-regression",
    /// A group's committed offset is ahead of what it was given.
    CommittedOffsetOverrun = "committed-offset-overrun",
    /// A transaction read what it itself sent.
    PrecommittedRead = "precommitted-read",
    /// A poll skipped messages that its consumer had not read.
    PollSkip = "poll-skip",
    /// A poll went back.
    NonmonotonicPoll = "nonmonotonic-poll",
    /// One operation's polls skipped messages.
    IntPollSkip = "int-poll-skip",
    /// One operation's polls went back.
    IntNonmonotonicPoll = "int-nonmonotonic-poll",
    /// A producer's sends stand in the log in another order.
    NonmonotonicSend = "nonmonotonic-send",
    /// One operation's sends stand in the log in another order.
    IntNonmonotonicSend = "int-nonmonotonic-send",
    /// Others' messages stand between one operation's sends.
    IntSendSkip = "int-send-skip",
    /// A cycle of write dependencies.
    G0 = "G0",
    /// The same with process order.
    G0Process = "G0-process",
    /// The same with real-time order.
    G0Realtime = "G0-realtime",
    /// A cycle of information flow.
    G1c = "G1c",
    /// The same with process order.
    G1cProcess = "G1c-process",
    /// The same with real-time order.
    G1cRealtime = "G1c-realtime",
    /// Polls saw one part of another operation's effects, and not the other.
    ReadSkew = "read-skew",
    /// No dependency at all.
    EmptyTransactionGraph = "empty-transaction-graph",
    /// The workload sent one value twice.
    NonUniqueWrite = "non-unique-write",
    /// Acknowledged, never read, and nothing is proven.
    Unseen = "unseen",
    /// No progress after the last fault was healed.
    NotRecovered = "not-recovered",
    /// list-append: a transaction read the middle of another one.
    G1b = "G1b",
    /// A cycle with one rw edge.
    GSingleItem = "G-single-item",
    /// The same with process order.
    GSingleItemProcess = "G-single-item-process",
    /// The same with real-time order.
    GSingleItemRealtime = "G-single-item-realtime",
    /// A cycle with several rw edges, never two in a row.
    GNonadjacentItem = "G-nonadjacent-item",
    /// The same with process order.
    GNonadjacentItemProcess = "G-nonadjacent-item-process",
    /// The same with real-time order.
    GNonadjacentItemRealtime = "G-nonadjacent-item-realtime",
    /// A cycle with several rw edges.
    G2Item = "G2-item",
    /// The same with process order.
    G2ItemProcess = "G2-item-process",
    /// The same with real-time order.
    G2ItemRealtime = "G2-item-realtime",
    /// list-append: a transaction contradicts itself.
    Internal = "internal",
    /// list-append: a transaction read what it appended only later.
    FutureRead = "future-read",
    /// list-append: a committed append builds on an aborted one.
    DirtyUpdate = "dirty-update",
    /// list-append: two transactions read one state and both appended.
    LostUpdate = "lost-update",
    /// list-append: reads that no order of appends explains.
    IncompatibleOrder = "incompatible-order",
    /// list-append: an element was read twice in one list.
    DuplicateElements = "duplicate-elements",
    /// A cycle that PL-1 rules out, of whatever class.
    ExistsPl1 = "PL-1-cycle-exists",
    /// A cycle that PL-2 rules out, of whatever class.
    ExistsPl2 = "PL-2-cycle-exists",
    /// A cycle that PL-SI rules out, of whatever class.
    ExistsPlSi = "PL-SI-cycle-exists",
    /// A cycle that PL-2.99 rules out, of whatever class.
    ExistsPl299 = "PL-2.99-cycle-exists",
    /// A cycle that PL-3 rules out, of whatever class.
    ExistsPl3 = "PL-3-cycle-exists",
    /// A cycle that strong-session-PL-1 rules out, of whatever class.
    ExistsSessionPl1 = "strong-session-PL-1-cycle-exists",
    /// A cycle that strong-session-PL-2 rules out, of whatever class.
    ExistsSessionPl2 = "strong-session-PL-2-cycle-exists",
    /// A cycle that strong-session-snapshot-isolation rules out, of whatever class.
    ExistsSessionSi = "strong-session-snapshot-isolation-cycle-exists",
    /// A cycle that strong-session-serializable rules out, of whatever class.
    ExistsSessionSerializable = "strong-session-serializable-cycle-exists",
    /// A cycle that strong-PL-1 rules out, of whatever class.
    ExistsStrongPl1 = "strong-PL-1-cycle-exists",
    /// A cycle that strong-PL-2 rules out, of whatever class.
    ExistsStrongPl2 = "strong-PL-2-cycle-exists",
    /// A cycle that strong-snapshot-isolation rules out, of whatever class.
    ExistsStrongSi = "strong-snapshot-isolation-cycle-exists",
    /// A cycle that PL-SS rules out, of whatever class.
    ExistsPlSs = "PL-SS-cycle-exists",
}

impl Kind {
    /// Types of cycles that polls can show beside [`Kind::ReadSkew`].
    pub const RW_OF_POLLS: [Kind; 2] = [Kind::GNonadjacentItem, Kind::G2Item];

    /// Types that a history of Kafka-like logs can show: those of which profiles speak.
    pub fn of_logs() -> impl Iterator<Item = Kind> {
        Kind::ALL
            .iter()
            .copied()
            .filter(|&kind| kind <= Kind::NotRecovered || Kind::RW_OF_POLLS.contains(&kind))
    }

    /// The type of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}
