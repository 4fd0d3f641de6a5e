//! Profiles: which anomalies a configuration allows, and why, with the source of each row.
//!
//! A profile is a table over all types. The base table is `safe`: what a broker owes to producers
//! with acks=all and idempotence where min.insync.replicas is at least 2. Every other profile says
//! where it differs. `jepsen` allows exactly what jepsen.tests.kafka allows.

mod table;

pub use table::PROFILES;

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
    /// Reads of polls were not asked to be snapshots (`--strict-reads`).
    UnlessStrictReads,
    /// A transaction sent it, by the protocol before KIP-890, which itself permits it: the run's
    /// settings say `transaction-version` 0 or 1.
    BeforeKip890,
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
            Allowed::UnlessStrictReads => "allowed without --strict-reads",
            Allowed::BeforeKip890 => "forbidden; the protocol's own before KIP-890",
        }
    }
}

/// How the clause of what the protocol itself permits begins in a verdict.
pub const PROTOCOL: &str = "the protocol's own";

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
        let base = || table::SAFE.iter().find(|clause| clause.kind == kind);
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
    strict_reads: bool,
    before_kip_890: bool,
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
            strict_reads: options.strict_reads,
            before_kip_890: before_kip_890(history),
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
            Allowed::Subscribed => self.subscribed && !about.is_some_and(|about| about.inexcusable),
            Allowed::WriteDependencies => self.ww_deps,
            Allowed::NotIdempotent => !self.idempotent,
            Allowed::ReadUncommitted => self.reads_uncommitted,
            Allowed::LeaderChangedUnread => changed && !read,
            Allowed::LeaderChanged => changed,
            Allowed::Unread => !read,
            Allowed::UnlessStrictReads => !self.strict_reads,
            Allowed::BeforeKip890 => {
                self.before_kip_890 && about.is_some_and(|about| about.transactional)
            }
        }
    }
}

/// Whether the run's settings say that transactions have no epoch of their own (KIP-890).
fn before_kip_890(history: &History) -> bool {
    let version = history.config.get("transaction-version");
    version
        .and_then(serde_json::Value::as_u64)
        .is_some_and(|version| version < 2)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::facts::{Dialect, Facts};
    use crate::analysis::testing;

    #[test]
    fn every_profile_has_one_row_for_every_type() {
        for kind in Kind::of_logs() {
            let rows = table::SAFE
                .iter()
                .filter(|clause| clause.kind == kind)
                .count();
            assert_eq!(rows, 1, "{}", kind.name());
        }
        for profile in PROFILES {
            for kind in Kind::of_logs() {
                let clause = profile.clause(kind);
                assert!(!clause.why.is_empty() && !clause.source.is_empty());
            }
        }
    }

    /// What the profile for acks=1 forbids in a script.
    fn forbidden_at_acks_1(text: &str) -> Vec<&'static str> {
        let history = testing::script(text);
        let options = Options {
            profile: "acks1".to_owned(),
            ..Options::default()
        };
        let bench = Bench::new(&history, &options).expect("it exists");
        let facts = Facts::derive(&history, Dialect::Own);
        testing::names(&crate::analysis::run(&facts, &bench, &options).0)
    }

    #[test]
    fn at_acks_1_the_order_may_go_back_where_the_leader_changed_and_nowhere_else() {
        let lost_and_overtaken = "
            sample x hw=3 epoch=1
            0 ok send x=1@7
            sample x hw=3 epoch=2
            0 ok send x=2@3 x=3@4
            1 ok poll x:2@3,3@4
        ";
        assert!(forbidden_at_acks_1(lost_and_overtaken).is_empty());
        // The same without a new leader: nothing explains the loss.
        let same_leader = lost_and_overtaken.replace("epoch=2", "epoch=1");
        let found = forbidden_at_acks_1(&same_leader);
        assert!(found.contains(&"nonmonotonic-send"), "{found:?}");
        // The earlier one was sent again, to the next leader, behind the later one.
        let reordered = lost_and_overtaken.replace("x:2@3,3@4", "x:2@3,3@4,1@7");
        assert!(forbidden_at_acks_1(&reordered).is_empty());
        let reordered = reordered.replace("epoch=2", "epoch=1");
        assert_eq!(forbidden_at_acks_1(&reordered), ["nonmonotonic-send"]);
        let within = "
            sample x hw=3 epoch=1
            sample x hw=3 epoch=2
            0 ok send x=1@7 x=2@3
            1 ok poll x:2@3
        ";
        assert!(forbidden_at_acks_1(within).is_empty());
    }

    #[test]
    fn an_unknown_profile_is_a_usage_error_with_the_nearest_name() {
        let error = Profile::named("save").expect_err("there is none");
        assert!(error.to_string().contains("`safe`"), "{error}");
        assert_eq!(error.exit_code(), 64);
    }
}
