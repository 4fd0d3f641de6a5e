//! The verdict: what was found, what it means, and how a person is told.
//!
//! [`Verdict`] is the one result type: the command line prints it, `verdict.json` stores it, the
//! report is rendered from it. Its JSON shape is history.md section 2; fields beyond that section
//! are additions.

pub(crate) mod conclude;
mod faults;
pub(crate) mod lists;
mod phrase;
pub mod profile;
mod sentence;
pub(crate) mod story;
mod vacuity;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// What a run is worth. Where several hold, the first in this order is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conclusion {
    /// An anomaly that the profile forbids.
    Invalid,
    /// The cluster never came up, or a fault could not be healed.
    Infrastructure,
    /// Nothing wrong was proven, but the cluster did not get going again.
    Stalled,
    /// What the run was to exercise did not happen, so nothing was proven.
    Vacuous,
    /// A bound was hit, or there is too little data.
    Unknown,
    /// Nothing forbidden was found, and enough was looked at.
    Valid,
}

impl Conclusion {
    /// The exit code of history.md.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Conclusion::Valid => 0,
            Conclusion::Invalid => 1,
            Conclusion::Unknown => 2,
            Conclusion::Vacuous => 3,
            Conclusion::Stalled => 4,
            Conclusion::Infrastructure => 5,
        }
    }

    /// The word of `verdict.json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Conclusion::Valid => "valid",
            Conclusion::Invalid => "invalid",
            Conclusion::Unknown => "unknown",
            Conclusion::Vacuous => "vacuous",
            Conclusion::Stalled => "stalled",
            Conclusion::Infrastructure => "infrastructure",
        }
    }
}

/// How much of everything there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Events: the lines of the history.
    pub ops: u64,
    /// Operations of clients that ended ok.
    pub ok: u64,
    /// Operations that certainly did not happen.
    pub fail: u64,
    /// Operations that may have happened.
    pub info: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Distinct messages that ok polls returned.
    pub polled: u64,
    /// Messages whose fate their producer never learned.
    #[serde(default)]
    pub indeterminate: u64,
    /// Complete passes over all keys after the faults.
    #[serde(default)]
    pub passes: u64,
    /// Times that a higher leader epoch was heard of, over all keys, before the restart of every
    /// broker that ends a run.
    #[serde(default)]
    pub leader_changes: u64,
}

/// One demand on a run without which its verdict proves nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Criterion {
    /// Short name: `leader-changes`, `acks-in-faults`, `available-outside-faults`, ...
    pub name: String,
    /// What was reached.
    pub achieved: f64,
    /// What was to be reached.
    pub required: f64,
    /// Whether it was.
    pub met: bool,
    /// In words.
    pub says: String,
}

/// One fault: from when its effect was seen to when its healing was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FaultWindow {
    /// Which instance.
    pub id: String,
    /// Kind: `partition`, `kill`, ...
    pub fault: String,
    /// Targets as the nemesis wrote them.
    pub targets: Json,
    /// When it was asked for, in ns.
    pub asked: Option<i64>,
    /// When its effect was seen, in ns.
    pub effective: Option<i64>,
    /// When it was undone, in ns.
    pub healed: Option<i64>,
    /// When the undoing was seen to have worked, in ns.
    pub verified: Option<i64>,
    /// Whether it was aimed at a leader.
    pub aimed_at_leader: bool,
    /// Leader-epoch changes from its effect until shortly after its healing.
    pub leader_changes: u64,
    /// Messages acknowledged of sends that were invoked inside it.
    pub acknowledged: u64,
}

/// One piece of evidence in a message's story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evidence {
    /// When, in ns; -1 where the history does not say.
    pub time: i64,
    /// `index` of the operation, where there is one.
    pub op: Option<i64>,
    /// Who: `process 3`, `broker 2`, `nemesis`.
    pub actor: String,
    /// `sent`, `acknowledged`, `watermark`, `fetch`, `drain`, `audit`, `fault`, `end-offset`.
    pub kind: String,
    /// `Some(true)`: proves that the message was there; `Some(false)`: that it was not.
    pub present: Option<bool>,
    /// In words.
    pub says: String,
}

/// Where a missing message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whereabouts {
    /// Its offset lies at or above every end offset asked: not yet visible.
    NotYetVisible,
    /// Some broker holds it, but the client that looked did not get it.
    ServedElsewhere,
    /// Every replica was read, and none has it.
    OnNoReplica,
    /// Another record stands at its offset.
    Replaced,
    /// The history does not say.
    Unknown,
}

/// All that the history knows of one message that is missing, or otherwise wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Story {
    /// The anomaly type that it belongs to.
    pub anomaly: String,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Json,
    /// Its offset, where it is known.
    pub offset: Option<i64>,
    /// Where it is.
    pub whereabouts: Whereabouts,
    /// One sentence.
    pub sentence: String,
    /// The faults in whose windows it was sent or acknowledged.
    pub faults: Vec<String>,
    /// What is known, in order of time.
    pub evidence: Vec<Evidence>,
}

/// The worst staleness that a consumer saw (a lower bound).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lag {
    /// Key; none where nobody polled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Process that polled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Json>,
    /// When, in ns.
    pub time: i64,
    /// How stale, in ns.
    pub lag: i64,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// Version of this shape: 1.
    pub schema: u32,
    /// What the run is worth.
    pub verdict: Conclusion,
    /// The verdict in one sentence, for a person who has never heard of any of this.
    #[serde(default)]
    pub sentence: String,
    /// Forbidden by the profile: details by type. Lists of objects; `unseen` is one object.
    pub anomalies: Map<String, Json>,
    /// Found, but allowed under the profile.
    pub allowed: Map<String, Json>,
    /// How many of each type were found; the lists above may be cut at `limit`.
    #[serde(default)]
    pub totals: BTreeMap<String, u64>,
    /// How much of everything there was.
    pub counts: Counts,
    /// The worst staleness, where there was any poll.
    pub worst_realtime_lag: Option<Lag>,
    /// The profile's name.
    #[serde(default)]
    pub profile: String,
    /// For each type in `anomalies`: the clause of the profile that it breaks.
    #[serde(default)]
    pub clauses: BTreeMap<String, String>,
    /// What the run had to exercise, and whether it did.
    #[serde(default)]
    pub criteria: Vec<Criterion>,
    /// The faults.
    #[serde(default)]
    pub faults: Vec<FaultWindow>,
    /// What is known of each message that is missing (at most a few hundred; `totals` counts all).
    #[serde(default)]
    pub stories: Vec<Story>,
    /// list-append: the weakest consistency models that cannot hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not: Vec<String>,
    /// list-append: all stronger ones, which therefore cannot hold either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_not: Vec<String>,
    /// Remarks that change no verdict: a cut-off history, unknown operations, bounds.
    #[serde(default)]
    pub notes: Vec<String>,
}
