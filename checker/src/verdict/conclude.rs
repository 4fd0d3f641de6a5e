//! From findings to a verdict.
//!
//! Where several conclusions hold, the order of history.md decides: invalid, infrastructure,
//! stalled, vacuous, unknown, valid. Under `--profile jepsen` there are only invalid and valid, as
//! in the checker that it stands for.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::faults::{Fault, faults};
use super::profile::{Allowed, Bench, PROTOCOL};
use super::sentence::Said;
use super::{Conclusion, Counts, Criterion, Lag, Verdict, sentence, story, vacuity};
use crate::analysis::facts::{Dialect, Facts};
use crate::analysis::read_skew::OPERATIONS_MAX;
use crate::analysis::{Evidence, Findings, Found, Kind};
use crate::history::{Outcome, Process, RunKind};
use crate::{History, Options};

/// Types that prove nothing wrong: alone, they make a run stalled.
const LIVENESS: [Kind; 2] = [Kind::Unseen, Kind::NotRecovered];

/// Operations that are there for the reader of a history: nothing is concluded from them.
const NOTED: [&str; 1] = ["recovered"];

/// Said of a history whose last line is not whole.
pub(super) const CUT_OFF: &str = "The history ends in a half-written line: it was cut off there.";

/// Allowed findings are for information: this many of each are listed.
const ALLOWED_LISTED: usize = 32;

/// Puts the verdict together.
#[must_use]
pub fn conclude(
    facts: &Facts,
    bench: &Bench,
    findings: &Findings,
    evidence: &Evidence,
    options: &Options,
) -> Verdict {
    let history = facts.history;
    let own = facts.dialect == Dialect::Own;
    let faults = faults(history, &evidence.watermarks);
    let criteria = if own {
        vacuity::criteria(history, &faults)
    } else {
        Vec::new()
    };
    let counts = count(facts, evidence);
    let troubles = if own {
        infrastructure(history, &faults)
    } else {
        Vec::new()
    };
    let cut = cut_short(history, &faults, &counts).filter(|_| own);
    let shortage = own.then(|| shortage(&counts, findings)).flatten();
    let excused = cut.as_ref().is_some_and(|cut| cut.excuses);
    let shortage = cut.map(|cut| cut.says).or(shortage);
    let verdict = match own {
        true => rank(findings, &troubles, &criteria, shortage.as_deref(), excused),
        false if findings.forbidden().next().is_some() => Conclusion::Invalid,
        false => Conclusion::Valid,
    };
    let said = Said {
        verdict,
        findings,
        lost: evidence.claims.len() as u64,
        counts: &counts,
        criteria: &criteria,
        faults: &faults,
        troubles: &troubles,
        shortage: shortage.as_deref(),
    };
    let listed = if own { ALLOWED_LISTED } else { usize::MAX };
    Verdict {
        schema: 1,
        verdict,
        sentence: sentence::sentence(&said),
        anomalies: list(findings.forbidden(), usize::MAX),
        allowed: list(findings.allowed(), listed),
        totals: totals(findings),
        counts,
        worst_realtime_lag: lag(facts, evidence),
        profile: bench.profile.name.to_owned(),
        clauses: clauses(bench, findings),
        stories: story::tell(facts, findings, evidence, &faults, options.stories),
        criteria,
        faults: faults.into_iter().map(|fault| fault.window).collect(),
        not: Vec::new(),
        also_not: Vec::new(),
        notes: notes(history)
            .into_iter()
            .chain(unlooked(facts, options))
            .collect(),
    }
}

/// The clause that each type breaks; for what the protocol itself permits, that it does.
fn clauses(bench: &Bench, findings: &Findings) -> BTreeMap<String, String> {
    let text = |kind: Kind| {
        let clause = bench.profile.clause(kind);
        format!("{} ({})", clause.why, clause.source)
    };
    let forbidden = findings
        .forbidden()
        .map(|(kind, _)| (kind.name().to_owned(), text(kind)));
    let allowed = findings
        .allowed()
        .filter(|&(kind, _)| bench.profile.clause(kind).allowed == Allowed::BeforeKip890);
    let permitted = allowed.map(|(kind, _)| {
        (
            kind.name().to_owned(),
            format!("{PROTOCOL}: {}", text(kind)),
        )
    });
    permitted.chain(forbidden).collect()
}

/// A run that did not come to its own end.
struct CutShort {
    says: String,
    /// Somebody stopped it: it is held neither to what it was to exercise nor to what was still to
    /// be read.
    excuses: bool,
}

/// Whether the run says that it was interrupted, or made fewer complete passes than its `config`
/// promises.
fn cut_short(history: &History, faults: &[Fault], counts: &Counts) -> Option<CutShort> {
    let promised = |what: &str| history.config.get(what).and_then(Json::as_u64);
    let mut phases = history.phases.iter();
    if let Some(phase) = phases.find(|phase| phase.name == "interrupted") {
        let seconds = phase.at.time.max(0) as f64 / 1e9;
        let mut says = format!("the run was interrupted after {seconds:.1} s");
        if let Some(scheduled) = promised("faults").filter(|n| *n > 0) {
            says += &format!(", with {} of {scheduled} faults begun", faults.len());
        }
        says += "; up to there nothing was lost, duplicated, reordered or invented";
        let excuses = true;
        return Some(CutShort { says, excuses });
    }
    let passes = promised("passes").filter(|promised| counts.passes < *promised)?;
    let made = counts.passes;
    let says = match history.truncated {
        true => format!(
            "the history ends in a half-written line, after {made} of {passes} complete passes"
        ),
        false => format!("{made} of {passes} complete passes were made"),
    };
    let excuses = history.truncated;
    Some(CutShort { says, excuses })
}

/// Which of the conclusions that hold stands.
fn rank(
    findings: &Findings,
    troubles: &[String],
    criteria: &[Criterion],
    shortage: Option<&str>,
    excused: bool,
) -> Conclusion {
    let found = |kinds: &dyn Fn(Kind) -> bool| findings.forbidden().any(|(kind, _)| kinds(kind));
    let proves_nothing = |kind: Kind| kind == Kind::NonUniqueWrite;
    if found(&|kind| !LIVENESS.contains(&kind) && !proves_nothing(kind)) {
        Conclusion::Invalid
    } else if !troubles.is_empty() {
        Conclusion::Infrastructure
    } else if found(&|kind| LIVENESS.contains(&kind)) && !excused {
        Conclusion::Stalled
    } else if !excused && criteria.iter().any(|criterion| !criterion.met) {
        Conclusion::Vacuous
    } else if shortage.is_some() || found(&proves_nothing) {
        Conclusion::Unknown
    } else {
        Conclusion::Valid
    }
}

pub(super) fn list<'f>(
    found: impl Iterator<Item = (Kind, &'f Found)>,
    limit: usize,
) -> Map<String, Json> {
    let types = found.map(|(kind, found)| {
        let details = found.listed.iter().take(limit);
        let mut details = details.map(|finding| Json::Object(finding.details.clone()));
        let json = match kind {
            Kind::Unseen => details.next().unwrap_or(Json::Null),
            Kind::EmptyTransactionGraph => Json::Bool(true),
            _ => Json::Array(details.collect()),
        };
        (kind.name().to_owned(), json)
    });
    types.collect()
}

pub(super) fn totals(findings: &Findings) -> BTreeMap<String, u64> {
    let mut totals = BTreeMap::new();
    for (kind, found) in findings.forbidden().chain(findings.allowed()) {
        *totals.entry(kind.name().to_owned()).or_insert(0) += found.total;
    }
    totals
}

fn count(facts: &Facts, evidence: &Evidence) -> Counts {
    let history = facts.history;
    let messages = || facts.keys.iter().flat_map(|key| &key.messages);
    let mut indeterminate = 0;
    for (_, op) in facts.data_ops() {
        if matches!(op.outcome, Outcome::Info | Outcome::Open) {
            let runs = history
                .runs(op)
                .iter()
                .filter(|run| run.kind == RunKind::Send);
            let records = runs.flat_map(|run| history.records(run));
            let acknowledged = |record| crate::analysis::facts::acknowledged(op, record);
            indeterminate += records.filter(|&&record| !acknowledged(record)).count() as u64;
        }
    }
    let holds_data = |key: &&crate::analysis::facts::KeyFacts| {
        key.messages.iter().any(|message| message.acknowledged())
    };
    let passes = facts.keys.iter().filter(holds_data).map(|key| {
        let answers = &evidence.watermarks.of(key.key).answers;
        let of_key = evidence.passes.of(key.key).iter();
        // A pass that was cut short covers less than what was known to be there when it began.
        let complete = of_key.filter(|pass| {
            let before = answers
                .iter()
                .filter(|answer| answer.completed < pass.invoked);
            let end = before
                .filter_map(|answer| answer.sample.high_watermark)
                .max();
            end.is_none_or(|end| pass.drain.to >= end)
        });
        complete.count() as u64
    });
    // The harness itself restarts every broker in the end: those elections are no fault's.
    let restart = history.phases.iter().find(|p| p.name == "restart");
    let restart = restart.map_or(u32::MAX, |phase| phase.at.seq);
    Counts {
        acknowledged: messages().filter(|message| message.acknowledged()).count() as u64,
        polled: messages().filter(|message| message.read_ok()).count() as u64,
        indeterminate,
        passes: passes.min().unwrap_or(0),
        leader_changes: evidence
            .watermarks
            .iter()
            .map(|(_, key)| key.epochs_begun(restart))
            .sum(),
        ..client_counts(history)
    }
}

/// Counts of events alone.
pub(super) fn client_counts(history: &History) -> Counts {
    Counts {
        ops: u64::from(history.events),
        ok: history.totals.ok,
        fail: history.totals.fail,
        info: history.totals.info,
        ..Counts::default()
    }
}

/// What kept the cluster or the faults from working as they should.
fn infrastructure(history: &History, faults: &[Fault]) -> Vec<String> {
    let mut troubles = Vec::new();
    // Only a run that went on after its faults must have seen them healed.
    let went_on = history.phases.iter().any(|phase| {
        ["healed", "drain", "restart"]
            .iter()
            .any(|name| phase.name.starts_with(name))
    });
    for fault in faults.iter().filter(|fault| !fault.skipped) {
        if let Some(why) = &fault.unhealed {
            troubles.push(format!(
                "the fault {} could not be healed: {why}",
                fault.name()
            ));
        } else if fault.effective.is_some() && fault.verified.is_none() && went_on {
            troubles.push(format!(
                "the fault {} was never seen to be healed",
                fault.name()
            ));
        }
    }
    let attempted = history.ops().iter().any(|op| op.function.is_data());
    let began = history.phases.iter().any(|phase| phase.name == "main");
    let set_up = history.phases.iter().any(|phase| phase.name == "setup");
    if set_up && !began && !attempted && !history.truncated {
        troubles.push("the cluster never came up: the main phase did not begin".to_owned());
    }
    troubles
}

/// Too little data to say anything.
fn shortage(counts: &Counts, findings: &Findings) -> Option<String> {
    if findings
        .forbidden()
        .any(|(kind, _)| kind != Kind::NonUniqueWrite)
    {
        return None;
    }
    match (counts.acknowledged, counts.polled) {
        (0, _) => Some("no message was acknowledged".to_owned()),
        (_, 0) => Some("no message was read".to_owned()),
        _ => None,
    }
}

fn lag(facts: &Facts, evidence: &Evidence) -> Option<Lag> {
    Some(evidence.worst_lag.as_ref().map_or(
        Lag {
            key: None,
            process: None,
            time: 0,
            lag: 0,
        },
        |worst| Lag {
            key: Some(facts.history.keys().name(worst.key).to_owned()),
            process: Some(match facts.history.process(worst.process) {
                Process::Client(number) => Json::from(number),
                Process::Nemesis => Json::from("nemesis"),
                Process::Sampler => Json::from("sampler"),
                Process::Unknown => Json::Null,
            }),
            time: worst.time,
            lag: worst.lag,
        },
    ))
}

/// What was left out because of a bound.
fn unlooked(facts: &Facts, options: &Options) -> Option<String> {
    let many = facts.history.ops().len() > OPERATIONS_MAX;
    let left_out = facts.dialect == Dialect::Own && many && !options.strict_reads;
    left_out.then(|| {
        format!(
            "rw cycles on polls, which the profile allows, were not looked for: there are more than \
             {OPERATIONS_MAX} operations (--strict-reads looks in any case)."
        )
    })
}

pub(super) fn notes(history: &History) -> Vec<String> {
    let mut notes = Vec::new();
    if history.truncated {
        notes.push(CUT_OFF.to_owned());
    }
    let unknown = history.unknown_functions.iter();
    for (name, count) in unknown.filter(|(name, _)| !NOTED.contains(&name.as_str())) {
        notes.push(format!(
            "{count} events of the unknown operation `{name}` were passed over."
        ));
    }
    notes
}
