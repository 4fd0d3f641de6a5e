//! Faults put into a generated history on purpose, each at a given rate: what a checker must find.
//!
//! A fault falls due with its probability at each operation, and is put in at the next operation
//! that can show it. The rest of the history stays that of a correct cluster.

use std::collections::BTreeMap;

use super::scripts::{ENDS, LISTS, LOGS};
use super::{Plan, World};
use crate::{Model, Options};

macro_rules! injections {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A kind of fault, by the anomaly that it must be found as.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Injection {
            $($(#[$doc])* $name,)*
        }

        impl Injection {
            /// Every kind.
            pub const ALL: &'static [Injection] = &[$(Injection::$name,)*];

            /// The anomaly's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Injection::$name => $text,)*
                }
            }
        }
    };
}

injections! {
    /// An acknowledged message is gone before anybody reads it.
    LostWrite = "lost-write",
    /// A message is stored a second time.
    Duplicate = "duplicate",
    /// A poll shows another message at an offset than everybody else sees.
    InconsistentOffsets = "inconsistent-offsets",
    /// What failed was written all the same; for lists, what aborted stays.
    AbortedRead = "G1a",
    /// A poll shows a message that nobody sent.
    UnwrittenRead = "unwritten-read",
    /// A transaction's poll shows what the transaction itself sends.
    PrecommittedRead = "precommitted-read",
    /// A poll leaves out its first message.
    PollSkip = "poll-skip",
    /// A poll begins with what the consumer has read before.
    NonmonotonicPoll = "nonmonotonic-poll",
    /// A poll leaves out a message in its middle.
    IntPollSkip = "int-poll-skip",
    /// A poll shows two messages the wrong way round.
    IntNonmonotonicPoll = "int-nonmonotonic-poll",
    /// Two messages of one batch stand in the log the wrong way round.
    IntNonmonotonicSend = "int-nonmonotonic-send",
    /// A leader's answer falls back.
    WatermarkRegression = "watermark-regression",
    /// A producer's second message stands before its first.
    NonmonotonicSend = "nonmonotonic-send",
    /// An acknowledged message is gone from the end of its log.
    LostTail = "lost-tail",
    /// A message is gone after everybody could read it.
    Vanished = "vanished",
    /// An acknowledged message is read by nobody.
    Unseen = "unseen",
    /// Two replicas hold different messages.
    ReplicaDivergence = "replica-divergence",
    /// An acknowledgement has an impossible offset.
    InvalidOffset = "invalid-offset",
    /// Two brokers claim one epoch.
    DualLeader = "dual-leader",
    /// A broker speaks of an epoch that is over.
    EpochRegression = "epoch-regression",
    /// A leader's answer does not cover what was acknowledged.
    StaleWatermark = "stale-watermark",
    /// A leader's answer does not cover what was read.
    VisibleAboveWatermark = "visible-above-watermark",
    /// Half of a committed transaction is gone.
    TornTransaction = "torn-transaction",
    /// A fenced producer goes on.
    ZombieWrite = "zombie-write",
    /// Two members of a group own one partition.
    DoubleOwnership = "double-ownership",
    /// Two transactions of a group consume one record.
    DoubleConsume = "double-consume",
    /// A group's committed offset falls back.
    CommittedOffsetRegression = "committed-offset-regression",
    /// A group's committed offset is ahead of what it was given.
    CommittedOffsetOverrun = "committed-offset-overrun",
    /// The workload sends one value twice.
    NonUniqueWrite = "non-unique-write",
    /// After the last fault nothing is acknowledged any more.
    NotRecovered = "not-recovered",
    /// Two operations' writes stand before each other.
    G0 = "G0",
    /// The same, of one process (lists).
    G0Process = "G0-process",
    /// The same, of operations one after the other.
    G0Realtime = "G0-realtime",
    /// Two transactions read each other.
    G1c = "G1c",
    /// The same, of one process (lists).
    G1cProcess = "G1c-process",
    /// A message is read before it is sent.
    G1cRealtime = "G1c-realtime",
    /// A poll saw one half of what was sent.
    ReadSkew = "read-skew",
    /// Lists: a transaction saw one half of another one.
    GSingleItem = "G-single-item",
    /// Lists: a process does not see what it did.
    GSingleItemProcess = "G-single-item-process",
    /// Lists: a read misses the last element.
    StaleRead = "G-single-item-realtime",
    /// Two readers saw two writers in different orders.
    GNonadjacentItem = "G-nonadjacent-item",
    /// Lists: the same, with the order of a process.
    GNonadjacentItemProcess = "G-nonadjacent-item-process",
    /// Lists: the same, with the order of time.
    GNonadjacentItemRealtime = "G-nonadjacent-item-realtime",
    /// Two transactions missed each other.
    G2Item = "G2-item",
    /// Lists: the same, with the order of a process.
    G2ItemProcess = "G2-item-process",
    /// Lists: the same, with the order of time.
    G2ItemRealtime = "G2-item-realtime",
    /// Lists: a read shows the middle of a transaction.
    G1b = "G1b",
    /// Lists: a transaction does not see what it did.
    Internal = "internal",
    /// Lists: a transaction sees what it is about to do.
    FutureRead = "future-read",
    /// Lists: a transaction builds on an aborted one.
    DirtyUpdate = "dirty-update",
    /// Lists: two transactions read one state and both append.
    LostUpdate = "lost-update",
    /// Lists: a read shows its last element twice.
    DuplicateElements = "duplicate-elements",
    /// Lists: a read shows its last two elements the wrong way round.
    IncompatibleOrder = "incompatible-order",
}

/// Those that the clients, the sampler and the store of lists themselves put in, by model.
const IN_PLACE: [(Model, &[Injection]); 2] = [
    (
        Model::Kafka,
        &[
            Injection::LostWrite,
            Injection::Duplicate,
            Injection::InconsistentOffsets,
            Injection::AbortedRead,
            Injection::UnwrittenRead,
            Injection::PrecommittedRead,
            Injection::PollSkip,
            Injection::NonmonotonicPoll,
            Injection::IntPollSkip,
            Injection::IntNonmonotonicPoll,
            Injection::IntNonmonotonicSend,
            Injection::WatermarkRegression,
        ],
    ),
    (
        Model::ListAppend,
        &[
            Injection::AbortedRead,
            Injection::StaleRead,
            Injection::DuplicateElements,
            Injection::IncompatibleOrder,
        ],
    ),
];

impl Injection {
    /// Whether a history of that model can show it.
    #[must_use]
    pub fn shown_by(self, model: Model) -> bool {
        let mut scripts = match model {
            Model::Kafka => LOGS.iter().chain(ENDS),
            Model::ListAppend => LISTS.iter().chain(&[]),
        };
        let mut in_place = IN_PLACE.iter().filter(|(of, _)| *of == model);
        in_place.any(|(_, kinds)| kinds.contains(&self))
            || scripts.any(|&(injection, _)| injection == self)
    }

    /// What a plan must have for it to be put in, and a check to look for it, beyond the defaults.
    pub fn demand(self, plan: &mut Plan, options: &mut Options) {
        let name = self.name();
        match plan.model {
            Model::Kafka => {
                options.ww_deps |= name.starts_with("G0");
                options.strict_reads |= matches!(
                    self,
                    Injection::ReadSkew | Injection::GNonadjacentItem | Injection::G2Item
                );
                // Nothing is read again that nobody was to see.
                plan.drains &= !matches!(
                    self,
                    Injection::Unseen | Injection::GNonadjacentItem | Injection::G2Item
                );
                if self == Injection::PrecommittedRead {
                    plan.transactions = 1.0;
                }
            }
            // Where real time counts, the order of a process is a part of it.
            Model::ListAppend if name.ends_with("-process") => {
                options.consistency_models = vec!["strong-session-serializable".to_owned()];
            }
            Model::ListAppend => {}
        }
    }
}

/// Which faults are due, and how many were put in.
#[derive(Debug, Default)]
pub struct Injector {
    rates: Vec<(Injection, f64)>,
    due: Vec<Injection>,
    /// How many of each kind were put in.
    pub done: BTreeMap<&'static str, u64>,
}

impl Injector {
    /// Puts in faults at the plan's rates, as far as its model can show them.
    #[must_use]
    pub fn new(plan: &Plan) -> Injector {
        let rates = plan.inject.iter().copied();
        Injector {
            rates: rates
                .filter(|(injection, _)| injection.shown_by(plan.model))
                .collect(),
            ..Injector::default()
        }
    }

    /// An operation begins: a fault may fall due. Draws no chance where none is asked for, so that
    /// clean histories do not depend on this.
    pub(super) fn tick(&mut self, world: &mut World) {
        for &(injection, rate) in &self.rates {
            if world.chance(rate) {
                self.due.push(injection);
            }
        }
    }

    /// Whether to put in that fault here; then it is done.
    pub(super) fn take(&mut self, injection: Injection) -> bool {
        let Some(at) = self.due.iter().position(|&due| due == injection) else {
            return false;
        };
        self.due.swap_remove(at);
        *self.done.entry(injection.name()).or_insert(0) += 1;
        true
    }

    /// Whether that fault is due.
    pub(super) fn is_due(&self, injection: Injection) -> bool {
        self.due.contains(&injection)
    }

    /// Whether anything is due at all.
    pub(super) fn idle(&self) -> bool {
        self.due.is_empty()
    }
}
