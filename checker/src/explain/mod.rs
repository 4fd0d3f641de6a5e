//! Explanations: one finding, step by step, with the operations behind it and a picture; and the
//! whole story of one message.
//!
//! `checker explain DIR lost-write/3` and `checker trace DIR --key K --value V` print what is put
//! together here. Nothing is judged anew: a finding is explained out of the same history, by the
//! same options, that found it.
//! options, that found it.

mod cycle;
mod operations;
mod order;
mod steps;
mod trace;

use serde::Serialize;
use serde_json::Value as Json;

pub use trace::{Trace, trace};

use crate::analysis::facts::{Dialect, Facts};
use crate::analysis::list_append::Demand;
use crate::analysis::{self, Details, Finding, Findings, Kind};
use crate::history::History;
use crate::report::scene::Scene;
use crate::report::witness;
use crate::verdict::profile::Bench;
use crate::verdict::{Evidence, Story, lists};
use crate::{CheckError, Model, Options, suggest};
use operations::Operations;

pub use operations::Operation;

/// A finding's name: type and number, as `lost-write/3`. Numbers begin at 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    kind: Kind,
    number: u64,
}

impl std::str::FromStr for Name {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Name, CheckError> {
        let (name, number) = text.split_once('/').unwrap_or((text, "1"));
        let kind = Kind::named(name).ok_or_else(|| {
            let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            CheckError::Usage(suggest::unknown("anomaly", name, &names))
        })?;
        match number.parse() {
            Ok(number) if number >= 1 => Ok(Name { kind, number }),
            _ => Err(CheckError::Usage(format!(
                "`{number}` is no number of a finding: give {name}/1 for the first"
            ))),
        }
    }
}

/// One step of an explanation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// In words.
    pub says: String,
    /// The operations that it speaks of, by index.
    pub operations: Vec<i64>,
}

/// A finding, explained.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// Its type.
    pub anomaly: String,
    /// Which of its type, from 1.
    pub number: u64,
    /// Of how many.
    pub total: u64,
    /// Whether the profile allows it.
    pub allowed: bool,
    /// The profile, or the consistency models that had to hold.
    pub profile: String,
    /// The clause that it breaks, or that allows it.
    pub clause: String,
    /// In one sentence.
    pub sentence: String,
    /// Step by step.
    pub steps: Vec<Step>,
    /// The operations named, in order.
    pub operations: Vec<Operation>,
    /// What is known of the message over time, where it is about one that is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// The detail as the verdict has it.
    pub detail: Json,
    /// The cycle, or offsets by operation.
    #[serde(skip)]
    pub picture: Scene,
}

/// Explains one finding of a check with these options.
///
/// [`CheckError::Usage`] where there is no such finding, or an option names what does not exist.
pub fn explain(
    history: &History,
    options: &Options,
    name: &Name,
) -> Result<Explanation, CheckError> {
    // As many are kept as it takes to get to this one.
    let options = Options {
        limit: usize::try_from(name.number)
            .unwrap_or(usize::MAX)
            .max(options.limit),
        stories: 0,
        ..options.clone()
    };
    if options.model == Model::ListAppend {
        let demand = Demand::new(&options)?;
        let findings = analysis::list_append::run(history, &demand, &options);
        let models = demand.models.join(", ");
        let found = pick(&findings, name)?;
        let clause = lists::clause(name.kind, &models);
        let scene = Told {
            history,
            facts: None,
            story: None,
        };
        return Ok(scene.explanation(name, &found, models, clause));
    }
    let bench = Bench::new(history, &options)?;
    let facts = Facts::derive(history, Dialect::of(&bench));
    let (findings, evidence) = analysis::run(&facts, &bench, &options);
    let found = pick(&findings, name)?;
    let clause = bench.profile.clause(name.kind);
    let told = Told {
        history,
        facts: Some(&facts),
        story: trace::of_finding(&facts, &findings, &evidence, name.kind, found.finding),
    };
    let clause = format!("{} ({})", clause.why, clause.source);
    Ok(told.explanation(name, &found, bench.profile.name.to_owned(), clause))
}

/// A finding among those of its type.
struct Picked<'f> {
    finding: &'f Finding,
    total: u64,
    allowed: bool,
}

/// Forbidden ones come first, then those that the profile allows.
fn pick<'f>(findings: &'f Findings, name: &Name) -> Result<Picked<'f>, CheckError> {
    let of_kind = |(kind, _): &(Kind, _)| *kind == name.kind;
    let forbidden = findings.forbidden().find(of_kind).map(|(_, found)| found);
    let allowed = findings.allowed().find(of_kind).map(|(_, found)| found);
    let listed = |found: Option<&'f analysis::Found>| found.map_or(&[][..], |f| &f.listed[..]);
    let first = listed(forbidden).iter().map(|finding| (finding, false));
    let all = first.chain(listed(allowed).iter().map(|finding| (finding, true)));
    let total = findings.total(name.kind);
    let at = usize::try_from(name.number - 1).unwrap_or(usize::MAX);
    let mut all = all;
    if let Some((finding, allowed)) = all.nth(at) {
        return Ok(Picked {
            finding,
            total,
            allowed,
        });
    }
    let what = name.kind.name();
    let mut message = match total {
        0 => format!("the history shows no {what}"),
        // One finding stands for all of them.
        _ if name.kind == Kind::Unseen => "there is one unseen: give unseen/1".to_owned(),
        1 => format!("there is one {what}: give {what}/1"),
        n => format!("there are {n} {what}: give {what}/1 to {what}/{n}"),
    };
    if total == 0 {
        let found = findings.forbidden().chain(findings.allowed());
        let found: Vec<_> = found
            .map(|(kind, found)| format!("{} ({})", kind.name(), found.total))
            .collect();
        message += &match found.is_empty() {
            true => ", nor anything else".to_owned(),
            false => format!("; it shows {}", found.join(", ")),
        };
    }
    Err(CheckError::Usage(message))
}

/// What an explanation is told from.
struct Told<'a, 'h> {
    history: &'h History,
    facts: Option<&'a Facts<'h>>,
    story: Option<Story>,
}

impl Told<'_, '_> {
    fn explanation(
        self,
        name: &Name,
        picked: &Picked,
        profile: String,
        clause: String,
    ) -> Explanation {
        let detail = Json::Object(picked.finding.details.clone());
        let named = witness::points_at(&detail);
        let operations = Operations::new(self.history, &named);
        let is_cycle = detail.get("cycle").is_some();
        let (steps, picture) = if is_cycle {
            let steps = steps::of_cycle(&operations, &detail);
            let picture = cycle::picture(name.kind, &operations, &detail, &steps);
            (steps, picture)
        } else {
            let steps = steps::of_operations(&operations, &detail);
            let picture = order::picture(self.history, self.facts, name.kind, &detail, &named);
            (steps, picture)
        };
        let sentence = match &self.story {
            Some(story) => story.sentence.clone(),
            None if is_cycle => steps::contradiction(name.kind, steps.len()),
            None => witness::sentence(name.kind.name(), &detail),
        };
        Explanation {
            anomaly: name.kind.name().to_owned(),
            number: name.number,
            total: picked.total,
            allowed: picked.allowed,
            profile,
            clause,
            sentence,
            steps,
            operations: operations.all(&named),
            evidence: self.story.map_or_else(Vec::new, |story| story.evidence),
            detail,
            picture,
        }
    }
}

/// A finding made up of details, for pictures of what is no finding.
fn detail_of(history: &History, key: crate::history::KeyId, value: crate::history::Value) -> Json {
    Json::Object(Details::new(history).key(key).value(value).finish().details)
}

#[cfg(test)]
mod tests;
