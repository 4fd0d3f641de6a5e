//! The faults of a run: when each was in force, and what happened meanwhile.
//!
//! A window begins when the fault's effect was seen and ends when its undoing was seen to have
//! worked. Everything is decided by the order of events; times are for people.

use serde_json::Value as Json;

use super::FaultWindow;
use crate::analysis::Watermarks;
use crate::analysis::facts::acknowledged;
use crate::history::{History, KeyId, NemesisStep, Op, RunKind, Step};

/// One fault with its place in the order of events.
#[derive(Debug)]
pub struct Fault {
    /// What the verdict tells of it.
    pub window: FaultWindow,
    /// First event of it.
    pub asked: u32,
    /// Its effect was seen; `None` if it never was.
    pub effective: Option<u32>,
    /// Its undoing was carried out.
    pub healed: Option<u32>,
    /// Its undoing was seen to have worked.
    pub verified: Option<u32>,
    /// It was not applied.
    pub skipped: bool,
    /// Its undoing failed: why.
    pub unhealed: Option<String>,
    /// Its end must bring another leader.
    pub demands_leader_change: bool,
}

impl Fault {
    /// Whether it was in force at that event.
    #[must_use]
    pub fn in_force(&self, seq: u32) -> bool {
        self.effective
            .is_some_and(|from| from <= seq && seq <= self.end())
    }

    /// Whether any part of an operation fell between its asking and its end.
    #[must_use]
    pub fn touches(&self, op: &Op) -> bool {
        !self.skipped && op.invoked.seq <= self.end() && op.completed.seq >= self.asked
    }

    /// `partition 3`, for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.window.fault, self.window.id)
    }

    fn end(&self) -> u32 {
        self.verified.or(self.healed).unwrap_or(u32::MAX)
    }
}

/// Puts the steps of each fault together, in the order in which they were asked for.
#[must_use]
pub fn faults(history: &History, watermarks: &Watermarks) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    for step in &history.nemesis {
        let known = faults
            .iter()
            .position(|fault| fault.window.id == step.id && fault.window.fault == step.fault);
        let at = known.unwrap_or_else(|| {
            faults.push(begin(step));
            faults.len() - 1
        });
        take_in(&mut faults[at], step);
    }
    for at in 0..faults.len() {
        faults[at].window.leader_changes = leader_changes(history, watermarks, &faults, at);
    }
    count_acknowledged(history, &mut faults);
    faults
}

fn begin(step: &NemesisStep) -> Fault {
    Fault {
        window: FaultWindow {
            id: step.id.clone(),
            fault: step.fault.clone(),
            targets: step.targets.clone(),
            asked: None,
            effective: None,
            healed: None,
            verified: None,
            aimed_at_leader: false,
            leader_changes: 0,
            acknowledged: 0,
        },
        asked: step.at.seq,
        effective: None,
        healed: None,
        verified: None,
        skipped: false,
        unhealed: None,
        demands_leader_change: false,
    }
}

fn take_in(fault: &mut Fault, step: &NemesisStep) {
    let (seq, time) = (step.at.seq, (step.at.time >= 0).then_some(step.at.time));
    if !step.targets.is_null() {
        fault.window.targets = step.targets.clone();
    }
    fault.window.aimed_at_leader |= aimed_at_leader(step);
    fault.demands_leader_change |= demands_leader_change(step);
    if step.failed {
        if matches!(step.step, Step::Healed | Step::Verified) {
            let why = step
                .error
                .as_ref()
                .map_or_else(|| "no reason given".to_owned(), text);
            fault.unhealed = Some(why);
        }
        return;
    }
    match step.step {
        Step::Asked => fault.window.asked = fault.window.asked.or(time),
        Step::Effective => {
            fault.effective = fault.effective.or(Some(seq));
            fault.window.effective = fault.window.effective.or(time);
        }
        Step::Healed => (fault.healed, fault.window.healed) = (Some(seq), time),
        Step::Verified => {
            (fault.verified, fault.window.verified) = (Some(seq), time);
            fault.unhealed = None;
        }
        Step::Skipped => fault.skipped = true,
        Step::Other => {}
    }
}

fn text(json: &Json) -> String {
    let message = json.get("message").unwrap_or(json);
    message
        .as_str()
        .map_or_else(|| message.to_string(), str::to_owned)
}

/// The role stands beside the targets, or within them.
fn aimed_at_leader(step: &NemesisStep) -> bool {
    let role_is_leader = |json: &Json| json.get("role").and_then(Json::as_str) == Some("leader");
    role_is_leader(&step.value)
        || role_is_leader(&step.targets)
        || step
            .targets
            .as_array()
            .is_some_and(|targets| targets.iter().any(role_is_leader))
}

/// A nemesis that says what a fault requires is believed; of another one, faults that take a leader
/// away from the rest of the cluster are taken to require a new one.
fn demands_leader_change(step: &NemesisStep) -> bool {
    if let Some(requires) = step.value.get("requires") {
        return requires.as_str() == Some("leader-epoch-change");
    }
    let spares = step.value.get("spares").and_then(Json::as_array);
    aimed_at_leader(step)
        && spares.is_none_or(Vec::is_empty)
        && is_of(&step.fault, &["partition", "kill", "pause"])
}

/// Whether a fault is of one of these kinds.
#[must_use]
pub fn is_of(fault: &str, kinds: &[&str]) -> bool {
    kinds
        .iter()
        .any(|kind| fault == *kind || fault.starts_with(&format!("{kind}-")))
}

/// Changes of the leader epoch from the asking until the next fault is asked for, or the brokers
/// are restarted on purpose. An election may take longer than the fault.
fn leader_changes(history: &History, watermarks: &Watermarks, faults: &[Fault], at: usize) -> u64 {
    let fault = &faults[at];
    let from = fault.asked;
    let next = faults[at + 1..]
        .iter()
        .map(|other| other.asked)
        .find(|&asked| asked > fault.end());
    let restart = history
        .phases
        .iter()
        .filter(|phase| phase.name.contains("restart"))
        .map(|phase| phase.at.seq)
        .find(|&seq| seq > from);
    let until = next.unwrap_or(u32::MAX).min(restart.unwrap_or(u32::MAX));
    let partition = history
        .nemesis
        .iter()
        .filter(|step| step.id == fault.window.id && step.fault == fault.window.fault)
        .find_map(|step| {
            step.value
                .get("partition")
                .filter(|partition| !partition.is_null())
        });
    let scope = watermarks.iter().filter(|&(key, _)| {
        partition.is_none_or(|partition| is_partition(history.keys().name(key), partition))
    });
    let changes = scope.map(|(key, _)| epochs_passed(watermarks, key, from, until));
    changes.max().unwrap_or(0)
}

/// Whether a key is that partition: its whole name, or the number at its end.
fn is_partition(key: &str, partition: &Json) -> bool {
    match partition {
        Json::String(name) => key == name,
        number => key
            .rsplit('-')
            .next()
            .is_some_and(|end| end.parse() == Ok(number.as_i64().unwrap_or(-1))),
    }
}

fn epochs_passed(watermarks: &Watermarks, key: KeyId, from: u32, until: u32) -> u64 {
    let answers = &watermarks.of(key).answers;
    let before = answers.iter().filter(|answer| answer.completed < from);
    let within = || {
        let within = answers
            .iter()
            .filter(|a| (from..until).contains(&a.completed));
        within.filter_map(|answer| answer.sample.epoch)
    };
    let before = before
        .filter_map(|answer| answer.sample.epoch)
        .max()
        .or(within().min());
    match (before, within().max()) {
        (Some(before), Some(after)) => u64::try_from(after - before).unwrap_or(0),
        _ => 0,
    }
}

fn count_acknowledged(history: &History, faults: &mut [Fault]) {
    for op in history.ops().iter().filter(|op| op.function.is_data()) {
        if !faults.iter().any(|fault| fault.in_force(op.invoked.seq)) {
            continue;
        }
        let count = acknowledged_in(history, op);
        for fault in faults
            .iter_mut()
            .filter(|fault| fault.in_force(op.invoked.seq))
        {
            fault.window.acknowledged += count;
        }
    }
}

/// How many messages an operation acknowledged.
#[must_use]
pub fn acknowledged_in(history: &History, op: &Op) -> u64 {
    let sends = history
        .runs(op)
        .iter()
        .filter(|run| run.kind == RunKind::Send);
    let records = sends.flat_map(|run| history.records(run));
    records.filter(|&&record| acknowledged(op, record)).count() as u64
}
