//! The fewest operations that still show a finding: a history of them alone has it too.
//!
//! A finding names the operations that it is about, which need not show it by themselves: that a
//! message was passed over is known because somebody else saw it. So operations are added, those
//! nearest to the finding first, until the history of them alone shows it, and then as many as
//! possible are left out: first by halves and quarters, then one by one, and last, where there are
//! few, every smaller choice is tried. What shows it is decided by the analyses themselves, on the
//! small history as on any other; settings, phases and faults are always part of it.

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value as Json;

use super::steps::numbers;
use crate::analysis::facts::{Dialect, Facts};
use crate::analysis::list_append::{self, Demand};
use crate::analysis::{self, About, Finding, Judge, Kind};
use crate::history::{Function, History, KeyId, OpId, Value};
use crate::report::witness::points_at;
use crate::{CheckError, Model, Options};

/// A history within a history.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Its operations, ascending.
    pub operations: Vec<OpId>,
    /// None of them can be left out. Not so only where the search was given up.
    pub minimal: bool,
}

impl Witness {
    /// Its operations by the index of their completions.
    #[must_use]
    pub fn indices(&self, history: &History) -> Vec<i64> {
        let ops = self.operations.iter();
        ops.map(|&id| history.op(id).index).collect()
    }
}

/// The operations that a finding or its witness names, those of the finding first.
pub(super) fn named(history: &History, detail: &Json, witness: &Witness) -> Vec<i64> {
    let mut named = points_at(detail);
    named.extend(witness.indices(history));
    let mut seen = FxHashSet::default();
    named.retain(|&index| seen.insert(index));
    named
}

/// Operations analysed before the search is given up, about.
const EFFORT: usize = 20_000_000;

/// Among so many operations every smaller choice is tried, if there are no more choices than
/// [`CHOICES`].
const FEW: usize = 24;
const CHOICES: usize = 3000;

/// Finds the smallest history that shows a finding of this one.
///
/// # Errors
/// [`CheckError::Usage`] where an option names what does not exist.
pub fn find(
    history: &History,
    options: &Options,
    dialect: Dialect,
    (kind, finding): (Kind, &Finding),
) -> Result<Witness, CheckError> {
    let demand = match options.model {
        Model::ListAppend => Some(Demand::new(options)?),
        Model::Kafka => None,
    };
    let mut search = Search {
        history,
        options: Options {
            limit: 10_000,
            stories: 0,
            ..options.clone()
        },
        dialect,
        demand,
        kind,
        finding,
        polls_of: polls_of_passes(history),
        effort: EFFORT,
    };
    Ok(search.run())
}

struct Search<'h> {
    history: &'h History,
    options: Options,
    dialect: Dialect,
    demand: Option<Demand>,
    kind: Kind,
    finding: &'h Finding,
    polls_of: FxHashMap<OpId, Vec<OpId>>,
    effort: usize,
}

impl Search<'_> {
    fn run(&mut self) -> Witness {
        let mut around = Vec::new();
        let mut found = None;
        for level in LEVELS {
            let wider = self.near(level);
            if wider.len() > around.len() || wider.is_empty() {
                around = wider;
                // All operations show it: that is where it was found.
                if level == Level::Everything || self.shows(&around) {
                    found = Some(around.clone());
                    break;
                }
            }
        }
        let mut operations = found.unwrap_or_default();
        let minimal = self.leave_out(&mut operations);
        if minimal && around.len() <= FEW {
            self.try_smaller(&around, &mut operations);
        }
        Witness {
            operations: self.with_polls(&operations),
            minimal,
        }
    }

    /// Whether the history of these operations alone has the finding.
    fn shows(&mut self, operations: &[OpId]) -> bool {
        let operations = self.with_polls(operations);
        self.effort = self.effort.saturating_sub(operations.len() + 100);
        let part = self.history.subset(&operations);
        let is_it = |(kind, found): (Kind, &analysis::Found)| {
            kind == self.kind && found.listed.iter().any(|one| same(self.finding, one))
        };
        if let Some(demand) = &self.demand {
            let findings = list_append::run(&part, demand, &self.options);
            return findings.forbidden().chain(findings.allowed()).any(is_it);
        }
        let facts = Facts::derive(&part, self.dialect);
        let (findings, _) = analysis::run(&facts, &Everything, &self.options);
        findings.forbidden().any(is_it)
    }

    /// Leaves out whatever can be left out. Whether nothing more can.
    fn leave_out(&mut self, operations: &mut Vec<OpId>) -> bool {
        let mut size = operations.len().div_ceil(2).max(1);
        loop {
            let mut smaller = false;
            let mut from = operations.len();
            while from > 0 {
                if self.effort == 0 {
                    return false;
                }
                let to = from.min(operations.len());
                from = to.saturating_sub(size);
                let mut rest = operations.clone();
                rest.drain(from..to);
                if self.shows(&rest) {
                    *operations = rest;
                    smaller = true;
                }
            }
            match (size, smaller) {
                (1, false) => return true,
                (1, true) => {}
                _ => size = size.div_ceil(2),
            }
        }
    }

    /// Tries every smaller choice, the smallest first.
    fn try_smaller(&mut self, around: &[OpId], operations: &mut Vec<OpId>) {
        for size in 0..operations.len() {
            for (tried, choice) in choices(around.len(), size).enumerate() {
                if tried >= CHOICES || self.effort == 0 {
                    return;
                }
                let chosen: Vec<OpId> = choice.iter().map(|&at| around[at]).collect();
                if self.shows(&chosen) {
                    *operations = chosen;
                    return;
                }
            }
        }
    }

    /// With a complete pass go its polls: without them it would have returned nothing.
    fn with_polls(&self, operations: &[OpId]) -> Vec<OpId> {
        let mut all = operations.to_vec();
        for drain in operations {
            all.extend(self.polls_of.get(drain).into_iter().flatten());
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The operations near the finding, ascending.
    fn near(&self, level: Level) -> Vec<OpId> {
        let detail = Json::Object(self.finding.details.clone());
        let named = points_at(&detail);
        let keys = self.keys(&detail);
        let values = self.values(&detail);
        let speak = match level >= Level::SameKeys {
            true => self.speaking_of(&keys),
            false => FxHashSet::default(),
        };
        let ops = self.history.iter().filter(|&(id, op)| {
            if level == Level::Everything {
                return !self.history.is_context(id);
            }
            let mut runs = self.history.runs(op).iter();
            named.contains(&op.index)
                || level >= Level::SameMessages
                    && runs.clone().any(|run| {
                        let mut records = self.history.records(run).iter();
                        let of_key = keys.contains(&run.key);
                        of_key && records.any(|record| values.contains(&record.value))
                    })
                || level >= Level::SameKeys
                    && (runs.any(|run| keys.contains(&run.key)) || speak.contains(&id))
                || level >= Level::SameKeys && op.function == Function::Crash
        });
        ops.map(|(id, _)| id).collect()
    }

    /// Operations that carry no messages and say something about one of the keys.
    fn speaking_of(&self, keys: &[KeyId]) -> FxHashSet<OpId> {
        let history = self.history;
        let samples = history.samples.iter().map(|one| (one.op, one.key));
        let drains = history.drains.iter().map(|one| (one.op, one.key));
        let audits = history.audits.iter().map(|one| (one.op, one.key));
        let offsets = history.group_offsets.iter();
        let offsets = offsets.flat_map(|told| told.offsets.iter().map(|&(key, _)| (told.op, key)));
        let all = samples.chain(drains).chain(audits).chain(offsets);
        all.filter(|(_, key)| keys.contains(key))
            .map(|(op, _)| op)
            .collect()
    }

    fn keys(&self, detail: &Json) -> Vec<KeyId> {
        let named = |json: &Json| {
            let name = crate::report::data::faults::people(json);
            self.history.keys().find(&name)
        };
        let of_steps = detail.get("steps").and_then(Json::as_array);
        let of_steps = of_steps.into_iter().flatten();
        let in_steps = of_steps
            .filter_map(|step| step.get("key"))
            .filter_map(named);
        let of_mop = detail.get("mop").and_then(|mop| mop.get(1));
        let unseen = detail.get("messages").and_then(Json::as_object);
        let unseen = unseen.into_iter().flatten();
        let unseen = unseen.filter_map(|(key, _)| self.history.keys().find(key));
        let pairs = ["visible", "missing"].into_iter().flat_map(|field| {
            let pairs = detail.get(field).and_then(Json::as_array);
            pairs.into_iter().flatten().filter_map(|pair| pair.get(0))
        });
        let one = detail.get("key").or(of_mop);
        let mut keys: Vec<KeyId> = one.into_iter().chain(pairs).filter_map(named).collect();
        keys.extend(self.finding.key);
        keys.extend(in_steps.chain(unseen));
        keys
    }

    fn values(&self, detail: &Json) -> Vec<Value> {
        let fields = ["value", "values", "skipped", "element", "duplicates"];
        let named = fields.iter().filter_map(|field| detail.get(*field));
        let flat = named.flat_map(|json| match json {
            Json::Array(all) => all.clone(),
            one => vec![one.clone()],
        });
        let unseen = detail.get("messages").and_then(Json::as_object);
        let unseen = unseen.into_iter().flat_map(|messages| messages.values());
        let unseen = unseen.filter_map(Json::as_array).flatten().cloned();
        flat.chain(unseen)
            .filter(|json| !json.is_array() && !json.is_object() && !json.is_null())
            .filter_map(|json| self.history.values().find(&json))
            .collect()
    }
}

/// The polls that each complete pass is made of.
fn polls_of_passes(history: &History) -> FxHashMap<OpId, Vec<OpId>> {
    let drains: FxHashSet<OpId> = history.drains.iter().map(|drain| drain.op).collect();
    let mut polls: FxHashMap<OpId, Vec<OpId>> = FxHashMap::default();
    for &pass in &drains {
        let whole = history.op(pass);
        // Operations stand in the order of their completions.
        let before = history.ops()[..pass.at()].iter().enumerate().rev();
        let during = before.take_while(|(_, op)| op.completed.seq > whole.invoked.seq);
        let own = during.filter(|(_, op)| {
            op.process == whole.process
                && op.function.is_data()
                && op.invoked.seq > whole.invoked.seq
        });
        polls.insert(pass, own.map(|(at, _)| OpId(at as u32)).collect());
    }
    polls
}

/// How far from the finding operations are taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Named,
    SameMessages,
    SameKeys,
    Everything,
}

const LEVELS: [Level; 4] = [
    Level::Named,
    Level::SameMessages,
    Level::SameKeys,
    Level::Everything,
];

/// Forbids everything.
struct Everything;

impl Judge for Everything {
    fn allows(&self, _: Kind, _: Option<About>) -> bool {
        false
    }
}

/// Whether two findings of one type are the same: about one message, or else with the same fields
/// that tell them apart. Cycles and sums are alike.
fn same(a: &Finding, b: &Finding) -> bool {
    if a.value.is_some() || b.value.is_some() {
        return (a.key, a.value) == (b.key, b.value);
    }
    if a.details.contains_key("cycle") || a.details.contains_key("unseen") {
        return true;
    }
    let equal = |field: &str| a.details.get(field) == b.details.get(field);
    let two = |finding: &Finding| numbers(finding.details.get("ops")).len() == 2;
    let pair = !(two(a) && two(b)) || equal("ops");
    let fields = [
        "op",
        "mop",
        "element",
        "offset",
        "epoch",
        "group",
        "generation",
        "asked",
    ];
    a.key == b.key && pair && fields.iter().all(|field| equal(field))
}

/// Every choice of `size` of the numbers below `count`, each ascending.
fn choices(count: usize, size: usize) -> impl Iterator<Item = Vec<usize>> {
    let mut next = (size <= count).then(|| (0..size).collect::<Vec<_>>());
    std::iter::from_fn(move || {
        let current = next.clone()?;
        let at = (0..size).rev().find(|&at| current[at] < count - size + at);
        next = at.map(|at| {
            let mut following = current.clone();
            following[at] += 1;
            for later in at + 1..size {
                following[later] = following[later - 1] + 1;
            }
            following
        });
        Some(current)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_once() {
        let all: Vec<_> = choices(4, 2).collect();
        assert_eq!(all.len(), 6);
        assert_eq!((&all[0], &all[5]), (&vec![0, 1], &vec![2, 3]));
        assert_eq!(choices(3, 0).count(), 1);
        assert_eq!(choices(2, 3).count(), 0);
    }
}
