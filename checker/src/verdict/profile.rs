//! Profiles: which anomalies a configuration allows, and why, with the source of each row.
//!
//! A profile is a table over all types. The base table is `safe`: what a broker owes to producers
//! with acks=all and idempotence where min.insync.replicas is at least 2. Every other profile says
//! where it differs. `jepsen` allows exactly what jepsen.tests.kafka allows.

use crate::analysis::{About, Judge, Kind};
use crate::{CheckError, History, Options, SubVia};

/// When a type is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Never.
    Never,
    /// Always.
    Always,
    /// Consumers were attached by subscription, so that a rebalance may move their positions.
    Subscribed,
    /// Write dependencies were inferred from offsets (`--ww-deps`).
    WriteDependencies,
    /// Producers were not idempotent, by the run's settings.
    NotIdempotent,
    /// Consumers read uncommitted records, by the run's settings.
    ReadUncommitted,
    /// The message was never delivered, and its partition changed its leader (or nobody sampled).
    LeaderChangedUnread,
    /// The partition changed its leader (or nobody sampled).
    LeaderChanged,
    /// The message was never delivered.
    Unread,
}

impl Allowed {
    /// In words, as `checker profiles` prints it.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            Allowed::Never => "forbidden",
            Allowed::Always => "allowed",
            Allowed::Subscribed => "allowed under subscribe",
            Allowed::WriteDependencies => "allowed with --ww-deps",
            Allowed::NotIdempotent => "allowed without idempotence",
            Allowed::ReadUncommitted => "allowed under read_uncommitted",
            Allowed::LeaderChangedUnread => "allowed if the leader changed and nobody read it",
            Allowed::LeaderChanged => "allowed if the leader changed",
            Allowed::Unread => "allowed if nobody read it",
        }
    }
}

/// One row of a profile.
#[derive(Clone, Copy, Debug)]
pub struct Clause {
    /// The type.
    pub kind: Kind,
    /// Whether it is allowed.
    pub allowed: Allowed,
    /// What is promised, or why it is not.
    pub why: &'static str,
    /// Where that is written.
    pub source: &'static str,
}

/// A table of clauses by name.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// For which runs it is.
    pub says: &'static str,
    differs: &'static [Clause],
}

impl Profile {
    /// The clause for a type.
    #[must_use]
    pub fn clause(&self, kind: Kind) -> &'static Clause {
        let own = self.differs.iter().find(|clause| clause.kind == kind);
        let base = || SAFE.iter().find(|clause| clause.kind == kind);
        own.or_else(base)
            .expect("the base table has a row for every type")
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// [`CheckError::Usage`] with the nearest name.
    pub fn named(name: &str) -> Result<&'static Profile, CheckError> {
        PROFILES
            .iter()
            .find(|profile| profile.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = PROFILES.iter().map(|profile| profile.name).collect();
                CheckError::Usage(crate::suggest::unknown("profile", name, &names))
            })
    }

    /// The profile that fits a history's own settings; `safe` where it has none.
    #[must_use]
    pub fn fitting(history: &History) -> &'static Profile {
        let acks = history.config.get("acks").map(|acks| match acks.as_str() {
            Some(text) => text.to_owned(),
            None => acks.to_string(),
        });
        let name = match acks.as_deref() {
            Some("0") => "at-most-once",
            Some("1") => "acks1",
            _ => "safe",
        };
        PROFILES
            .iter()
            .find(|profile| profile.name == name)
            .expect("these profiles exist")
    }
}

/// A profile applied to one history: decides finding by finding.
#[derive(Debug)]
pub struct Bench {
    /// The profile.
    pub profile: &'static Profile,
    subscribed: bool,
    ww_deps: bool,
    idempotent: bool,
    reads_uncommitted: bool,
    insisted: Vec<Kind>,
    leader_changed: Vec<bool>,
}

impl Bench {
    /// Reads off the history and the options what the profile's conditions ask.
    ///
    /// # Errors
    /// [`CheckError::Usage`] for a profile or type that does not exist.
    pub fn new(history: &History, options: &Options) -> Result<Bench, CheckError> {
        let profile = match options.profile.as_str() {
            "" => Profile::fitting(history),
            name => Profile::named(name)?,
        };
        let insisted = options.anomalies.iter().map(|name| {
            Kind::named(name).ok_or_else(|| {
                let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                CheckError::Usage(crate::suggest::unknown("anomaly", name, &names))
            })
        });
        Ok(Bench {
            profile,
            subscribed: subscribed(history, options),
            ww_deps: options.ww_deps,
            idempotent: history
                .config
                .get("idempotence")
                .is_none_or(|on| on.as_bool() != Some(false)),
            reads_uncommitted: history.reads_uncommitted(),
            insisted: insisted.collect::<Result<_, _>>()?,
            leader_changed: leader_changes(history),
        })
    }
}

impl Judge for Bench {
    fn allows(&self, kind: Kind, about: Option<About>) -> bool {
        if self.insisted.contains(&kind) {
            return false;
        }
        let changed = about.is_none_or(|about| self.leader_changed[about.key.at()]);
        let read = about.is_some_and(|about| about.was_read);
        match self.profile.clause(kind).allowed {
            Allowed::Never => false,
            Allowed::Always => true,
            Allowed::Subscribed => self.subscribed,
            Allowed::WriteDependencies => self.ww_deps,
            Allowed::NotIdempotent => !self.idempotent,
            Allowed::ReadUncommitted => self.reads_uncommitted,
            Allowed::LeaderChangedUnread => changed && !read,
            Allowed::LeaderChanged => changed,
            Allowed::Unread => !read,
        }
    }
}

/// How consumers were attached: by the options, the settings, or what they did.
fn subscribed(history: &History, options: &Options) -> bool {
    if !options.sub_via.is_empty() {
        return options.sub_via.contains(&SubVia::Subscribe);
    }
    match history.config.get("sub-via") {
        Some(via) => via.to_string().contains("subscribe"),
        None => history
            .ops()
            .iter()
            .any(|op| op.function == crate::history::Function::Subscribe),
    }
}

/// By key: whether two epochs were seen. A history without samples cannot say, and is believed.
fn leader_changes(history: &History) -> Vec<bool> {
    let mut epochs: Vec<Option<(i64, i64)>> = vec![None; history.keys().len()];
    for sample in &history.samples {
        if let Some(epoch) = sample.epoch {
            let slot = &mut epochs[sample.key.at()];
            let (low, high) = slot.unwrap_or((epoch, epoch));
            *slot = Some((low.min(epoch), high.max(epoch)));
        }
    }
    epochs
        .into_iter()
        .map(|epochs| epochs.is_none_or(|(low, high)| low < high))
        .collect()
}

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

use Allowed::{
    Always, LeaderChanged, LeaderChangedUnread, Never, NotIdempotent, ReadUncommitted, Subscribed,
    Unread, WriteDependencies,
};

const ACKS: &str = "Kafka documentation, producer config `acks`";
const DESIGN: &str = "Kafka documentation, design 4.7 (replication)";
const KIP_98: &str = "KIP-98 (idempotent and transactional producers)";
const KIP_101: &str = "KIP-101 (leader epochs instead of watermarks for truncation)";
const KIP_320: &str = "KIP-320 (fencing by leader epoch)";
const KIP_207: &str = "KIP-207 (offsets of a new leader)";
const JEPSEN_KAFKA: &str = "jepsen.tests.kafka, allowed-error-types";
const REDPANDA: &str = "Jepsen report on Redpanda 21.10.1";

static SAFE: &[Clause] = &[
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_one_row_for_every_type() {
        for kind in Kind::of_logs() {
            let rows = SAFE.iter().filter(|clause| clause.kind == kind).count();
            assert_eq!(rows, 1, "{}", kind.name());
        }
        for profile in PROFILES {
            for kind in Kind::of_logs() {
                let clause = profile.clause(kind);
                assert!(!clause.why.is_empty() && !clause.source.is_empty());
            }
        }
    }

    #[test]
    fn an_unknown_profile_is_a_usage_error_with_the_nearest_name() {
        let error = Profile::named("save").expect_err("there is none");
        assert!(error.to_string().contains("`safe`"), "{error}");
        assert_eq!(error.exit_code(), 64);
    }
}
