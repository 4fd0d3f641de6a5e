//! Checks a history that does not fit into memory: some of its keys at a time, each reading of the
//! file a part.
//!
//! A part is a history of its own: those of the operations that touch its keys, and everything that
//! is about no key. So every analysis that looks at one key after the other gives what it would
//! give on the whole, and whatever is found is real. What spans keys of two parts is not looked
//! for, and such a history is never called valid: the verdict is `unknown`, and names the bound.

use std::path::Path;

use rustc_hash::FxHashSet;
use serde_json::{Map, Value as Json};

use crate::analysis::Kind;
use crate::analysis::list_append::models;
use crate::history::read::read_part;
use crate::history::select::{self, Selection};
use crate::verdict::phrase::phrase;
use crate::verdict::{Conclusion, Criterion, Verdict};
use crate::{CheckError, History, Model, Options, check};

/// What is only known of a history as a whole.
const OF_THE_WHOLE: [Kind; 1] = [Kind::EmptyTransactionGraph];

/// A part leaves room for keys that turn out larger than it seems.
const FILLED: f64 = 0.85;

/// One part, read.
pub(crate) struct Part {
    pub history: History,
    pub selection: Selection,
}

/// What all parts together say.
struct Sum {
    verdict: Option<Verdict>,
    parts: usize,
    keys: usize,
    too_large: Vec<String>,
    /// Keys that could not be read again.
    unread: Vec<String>,
}

/// Checks the first part, which was read already, and reads and checks the others.
pub(crate) fn check_rest(
    first: Part,
    again: Option<&Path>,
    options: &Options,
    bound: usize,
) -> Result<Verdict, CheckError> {
    let mut sum = Sum {
        verdict: None,
        parts: 0,
        keys: first.history.keys().len(),
        too_large: Vec::new(),
        unread: Vec::new(),
    };
    let mut left = first.selection.left(&first.history);
    let mut per_record = sum.take(first, options)?;
    while !left.is_empty() {
        let Some(path) = again else {
            sum.unread = left.into_iter().map(|(name, _)| name).collect();
            break;
        };
        let wanted = fitting(&left, bound, per_record);
        left.retain(|(name, _)| !wanted.contains(name));
        let selection = Selection::new(bound, Some(wanted));
        let (history, selection) = read_part(path, selection)?;
        left.extend(selection.left(&history));
        let part = Part { history, selection };
        per_record = sum.take(part, options)?.or(per_record);
    }
    Ok(sum.conclude(options, bound))
}

/// The next keys that fit into the bound, at least one.
fn fitting(left: &[(String, u64)], bound: usize, per_record: Option<f64>) -> FxHashSet<String> {
    // Nothing is known as long as no part has held a record.
    let room = per_record.map_or(0.0, |bytes| bound as f64 * FILLED / bytes);
    let mut taken = 0;
    let mut names = FxHashSet::default();
    for (name, records) in left {
        taken += records;
        if names.is_empty() || taken as f64 <= room {
            names.insert(name.clone());
        }
    }
    names
}

impl Sum {
    /// Checks one part; gives back how many bytes each record in the file took.
    fn take(&mut self, part: Part, options: &Options) -> Result<Option<f64>, CheckError> {
        let Part {
            history,
            mut selection,
        } = part;
        self.too_large.append(&mut selection.too_large);
        let records = selection.kept_weight();
        let per_record = select::bytes(&history) as f64 / records as f64;
        if records == 0 && self.verdict.is_some() {
            return Ok(None);
        }
        let mut verdict = check(&history, options)?;
        for kind in OF_THE_WHOLE {
            verdict.anomalies.remove(kind.name());
            verdict.allowed.remove(kind.name());
            verdict.totals.remove(kind.name());
            verdict.clauses.remove(kind.name());
        }
        self.parts += 1;
        match &mut self.verdict {
            None => self.verdict = Some(verdict),
            Some(sum) => add(sum, verdict, options),
        }
        Ok((records > 0).then_some(per_record))
    }

    fn conclude(self, options: &Options, bound: usize) -> Verdict {
        let mut verdict = self
            .verdict
            .expect("the first part is taken whatever it holds");
        let unmet = verdict.criteria.iter().any(|criterion| !criterion.met);
        verdict.verdict = match verdict.verdict {
            Conclusion::Vacuous | Conclusion::Unknown | Conclusion::Valid if unmet => {
                Conclusion::Vacuous
            }
            Conclusion::Vacuous | Conclusion::Valid => Conclusion::Unknown,
            other => other,
        };
        let gib = bound as f64 / (1u64 << 30) as f64;
        let mut says = format!(
            "the history does not fit into {gib:.2} GiB of memory (--memory): its {} keys were \
             checked in {} parts, and what spans keys of two parts was not looked for: {}",
            self.keys,
            self.parts,
            spanning(options.model)
        );
        for (names, why) in [
            (self.too_large, "does not fit by itself"),
            (
                self.unread,
                "was given up, and there is no file to read it from again",
            ),
        ] {
            if let Some(first) = names.first() {
                let more = match names.len() - 1 {
                    0 => String::new(),
                    more => format!(" (and {more} more)"),
                };
                says += &format!("; key {first}{more} was not checked: it {why}");
            }
        }
        if options.model == Model::ListAppend {
            let kinds = verdict.totals.keys().filter_map(|name| Kind::named(name));
            let (weakest, stronger) = models::ruled_out(kinds.map(Kind::name));
            verdict.not = weakest.into_iter().map(str::to_owned).collect();
            verdict.also_not = stronger.into_iter().map(str::to_owned).collect();
        }
        verdict.sentence = sentence(&verdict, &says);
        verdict.notes.push(format!("{}.", capitalised(&says)));
        verdict
    }
}

/// What is missed where keys are looked at apart.
fn spanning(model: Model) -> &'static str {
    match model {
        Model::Kafka => {
            "cycles (G0, G1c and their variants), transactions torn between such keys, and what \
             only another key proves of an undecided transaction or a fenced producer"
        }
        Model::ListAppend => {
            "cycles (G0, G1c, G-single, G-nonadjacent, G2 and their variants) through such keys"
        }
    }
}

fn sentence(verdict: &Verdict, says: &str) -> String {
    let found = verdict.anomalies.keys().filter_map(|name| {
        let total = verdict.totals.get(name).copied().unwrap_or(1);
        Some(phrase(Kind::named(name)?, total))
    });
    let found: Vec<String> = found.collect();
    match verdict.verdict {
        Conclusion::Invalid => format!("Invalid: {}; {says}.", found.join(", ")),
        Conclusion::Stalled => format!(
            "Stalled: nothing is proven lost, but {}; {says}.",
            found.join(", ")
        ),
        Conclusion::Infrastructure => verdict.sentence.clone(),
        Conclusion::Vacuous => {
            format!("Vacuous: what the run was to exercise did not happen; {says}.")
        }
        Conclusion::Unknown | Conclusion::Valid => {
            format!("Unknown: nothing wrong was found, but {says}.")
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Adds a part's verdict to those of the parts before it.
fn add(sum: &mut Verdict, part: Verdict, options: &Options) {
    if part.verdict < sum.verdict {
        sum.verdict = part.verdict;
        sum.sentence = part.sentence;
    }
    add_types(&mut sum.anomalies, part.anomalies, options.limit);
    add_types(&mut sum.allowed, part.allowed, options.limit);
    for (name, total) in part.totals {
        *sum.totals.entry(name).or_insert(0) += total;
    }
    // Events are counted in every part; messages are those of its own keys.
    let (counts, more) = (&mut sum.counts, &part.counts);
    counts.acknowledged += more.acknowledged;
    counts.polled += more.polled;
    counts.indeterminate += more.indeterminate;
    counts.leader_changes += more.leader_changes;
    counts.passes = counts.passes.min(more.passes);
    let lag = |verdict: &Verdict| verdict.worst_realtime_lag.as_ref().map(|lag| lag.lag);
    if part.worst_realtime_lag.as_ref().map(|lag| lag.lag) > lag(sum) {
        sum.worst_realtime_lag = part.worst_realtime_lag;
    }
    sum.clauses.extend(part.clauses);
    add_criteria(&mut sum.criteria, part.criteria);
    let room = options.stories.saturating_sub(sum.stories.len());
    sum.stories.extend(part.stories.into_iter().take(room));
    let known = std::mem::take(&mut sum.notes);
    let fresh = part.notes.into_iter().filter(|note| !known.contains(note));
    let fresh: Vec<String> = fresh.collect();
    sum.notes = known.into_iter().chain(fresh).collect();
}

/// A demand on the run is met if any part shows that it is.
fn add_criteria(sum: &mut Vec<Criterion>, part: Vec<Criterion>) {
    for criterion in part {
        match sum.iter_mut().find(|known| known.name == criterion.name) {
            Some(known) if criterion.achieved > known.achieved => *known = criterion,
            Some(_) => {}
            None => sum.push(criterion),
        }
    }
}

fn add_types(sum: &mut Map<String, Json>, part: Map<String, Json>, limit: usize) {
    for (name, found) in part {
        match (sum.get_mut(&name), found) {
            (Some(Json::Array(known)), Json::Array(more)) => {
                let room = limit.saturating_sub(known.len());
                known.extend(more.into_iter().take(room));
            }
            (Some(Json::Object(known)), Json::Object(more)) => add_unseen(known, more),
            (Some(_), _) => {}
            (None, found) => {
                sum.insert(name, found);
            }
        }
    }
}

/// `unseen` is one object: counts and messages by key, at the time of the last operation.
fn add_unseen(known: &mut Map<String, Json>, more: Map<String, Json>) {
    for (field, value) in more {
        match (known.get_mut(&field), value) {
            (Some(Json::Object(of_keys)), Json::Object(more)) => of_keys.extend(more),
            (Some(time), value) if value.as_i64() > time.as_i64() => *time = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
