//! Faults put into a generated history on purpose, each at a given rate: what a checker must find.
//!
//! A fault falls due with its probability at each operation, and is put in at the next operation
//! that can show it. The rest of the history stays that of a correct cluster.

use std::collections::BTreeMap;

use super::World;

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
    /// Lists: a read misses the last element.
    StaleRead = "G-single-item-realtime",
    /// Lists: a read shows its last element twice.
    DuplicateElements = "duplicate-elements",
    /// Lists: a read shows its last two elements the wrong way round.
    IncompatibleOrder = "incompatible-order",
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
    /// Puts in faults at these rates.
    #[must_use]
    pub fn new(rates: &[(Injection, f64)]) -> Injector {
        Injector {
            rates: rates.to_vec(),
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

    /// Whether anything is due at all.
    pub(super) fn idle(&self) -> bool {
        self.due.is_empty()
    }
}
