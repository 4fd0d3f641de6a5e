//! Faults as bands over time: asked for, effective, healing.

use serde_json::Value as Json;

use crate::history::{History, Step};
use crate::report::scene::ink::FaultInk;
use crate::verdict::Verdict;

/// One fault of the run.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// Its number in the report, from 1.
    pub number: usize,
    /// Its id in the history.
    pub id: String,
    /// Kind: `partition`, `kill`, ...
    pub kind: String,
    /// At whom, in words.
    pub targets: String,
    /// The role that was aimed at, in words, where the history says it.
    pub role: Option<String>,
    /// When it was asked for.
    pub asked: Option<i64>,
    /// When its effect was measured.
    pub effective: Option<i64>,
    /// When it was undone.
    pub healed: Option<i64>,
    /// When the undoing was measured.
    pub verified: Option<i64>,
    /// Why it was not applied, or failed.
    pub trouble: Option<String>,
    /// Nobody held the role that it was aimed at: it was not applied.
    pub skipped: bool,
    /// Aimed at a leader.
    pub at_leader: bool,
    /// Leader-epoch changes that the checker attributes to it.
    pub leader_changes: Option<u64>,
    /// Messages acknowledged of sends that were invoked inside it, as the checker counts.
    pub acknowledged: Option<u64>,
}

impl Fault {
    /// How its kind is drawn.
    #[must_use]
    pub fn ink(&self) -> FaultInk {
        match self.kind.as_str() {
            kind if kind.contains("partition") => FaultInk::Partition,
            kind if kind.contains("kill") => FaultInk::Kill,
            kind if kind.contains("pause") => FaultInk::Pause,
            kind if kind.contains("delay") => FaultInk::Delay,
            _ => FaultInk::Other,
        }
    }

    /// From when on it counts: its effect, or the request where no effect was seen.
    #[must_use]
    pub fn from(&self) -> Option<i64> {
        self.effective.or(self.asked)
    }

    /// Until when it counts: the healing, or the end of the run.
    #[must_use]
    pub fn until(&self, end: i64) -> i64 {
        self.healed.or(self.verified).unwrap_or(end)
    }

    /// Until when anything of it is to be seen.
    #[must_use]
    pub fn over(&self, end: i64) -> i64 {
        self.verified.or(self.healed).unwrap_or(end)
    }

    /// It was asked for and bit.
    #[must_use]
    pub fn bit(&self) -> bool {
        self.effective.is_some()
    }

    /// `#3 partition`
    #[must_use]
    pub fn label(&self) -> String {
        format!("#{} {}", self.number, self.kind)
    }
}

/// The faults of a run in the order in which they were asked for.
#[must_use]
pub fn faults(history: Option<&History>, verdict: Option<&Verdict>) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    for step in history.iter().flat_map(|history| &history.nemesis) {
        let found = faults.iter().position(|fault| fault.id == step.id);
        let at = found.unwrap_or_else(|| {
            faults.push(Fault {
                id: step.id.clone(),
                kind: step.fault.clone(),
                ..Fault::default()
            });
            faults.len() - 1
        });
        learn(&mut faults[at], step);
    }
    for window in verdict.iter().flat_map(|verdict| &verdict.faults) {
        let found = faults.iter().position(|fault| fault.id == window.id);
        let at = found.unwrap_or_else(|| {
            faults.push(Fault {
                id: window.id.clone(),
                kind: window.fault.clone(),
                targets: nodes(&window.targets),
                asked: window.asked,
                effective: window.effective,
                healed: window.healed,
                verified: window.verified,
                ..Fault::default()
            });
            faults.len() - 1
        });
        let fault = &mut faults[at];
        fault.at_leader |= window.aimed_at_leader;
        fault.leader_changes = Some(window.leader_changes);
        fault.acknowledged = Some(window.acknowledged);
    }
    faults.sort_by_key(|fault| (fault.asked.or(fault.effective), fault.id.len()));
    for (at, fault) in faults.iter_mut().enumerate() {
        fault.number = at + 1;
    }
    faults
}

fn learn(fault: &mut Fault, step: &crate::history::NemesisStep) {
    let time = Some(step.at.time).filter(|time| *time >= 0);
    let slot = match step.step {
        Step::Asked => &mut fault.asked,
        Step::Effective => &mut fault.effective,
        Step::Healed => &mut fault.healed,
        Step::Verified => &mut fault.verified,
        Step::Skipped => {
            fault.skipped = true;
            return;
        }
        Step::Other => {
            let why = step.value.get("step").map(people);
            fault.trouble = why.or(fault.trouble.take());
            return;
        }
    };
    if step.failed {
        let why = step.error.as_ref().map_or_else(String::new, people);
        fault.trouble = Some(format!("{:?} failed: {why}", step.step).to_lowercase());
    } else if slot.is_none() {
        *slot = time;
    }
    let targets = nodes(&step.targets);
    if !targets.is_empty() {
        fault.targets = targets;
    }
    fault.role = role(&step.value).or(fault.role.take());
    fault.at_leader |= fault
        .role
        .as_deref()
        .is_some_and(|role| role.contains("leader"));
}

/// `leader of batch-3`: what the fault was aimed at, before anybody knew who that is.
fn role(value: &Json) -> Option<String> {
    let role = people(value.get("role")?);
    let partition = value
        .get("partition")
        .filter(|partition| !partition.is_null());
    Some(match partition {
        Some(partition) if !role.contains(' ') => {
            let partition = people(partition);
            format!("{role} of {partition}")
        }
        _ => role,
    })
}

/// The targets of a fault in words: numbers are nodes.
fn nodes(targets: &Json) -> String {
    let list = |all: &[Json]| all.iter().map(nodes).collect::<Vec<_>>().join(", ");
    match targets {
        Json::Number(node) => format!("n{node}"),
        Json::Array(all) => list(all),
        Json::Object(all) => {
            let all = all
                .iter()
                .map(|(name, value)| format!("{name} {}", nodes(value)));
            all.collect::<Vec<_>>().join(", ")
        }
        other => people(other),
    }
}

/// JSON in words: lists with commas, strings without quotes.
#[must_use]
pub fn people(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Array(all) => {
            let one = |one: &Json| match one {
                Json::Null => "nothing".to_owned(),
                Json::Array(_) => format!("[{}]", people(one)),
                other => people(other),
            };
            let all: Vec<String> = all.iter().map(one).collect();
            all.join(", ")
        }
        Json::Object(all) => {
            let all: Vec<String> = all
                .iter()
                .map(|(name, value)| format!("{name} {}", people(value)))
                .collect();
            all.join(", ")
        }
        other => other.to_string(),
    }
}
