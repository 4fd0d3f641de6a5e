//! Verdicts and profiles for people: the sentence first, then what stands behind it.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use checker::Verdict;
use checker::analysis::Kind;
use checker::explain::{Explanation, Operation, Trace};
use checker::verdict::Evidence;
use checker::verdict::profile::{PROTOCOL, Profile};

/// Stories shown; `--json` has more.
const STORIES_SHOWN: usize = 3;

/// A verdict.
pub fn verdict(verdict: &Verdict) -> String {
    let mut text = format!("{}\n", verdict.sentence);
    if !verdict.anomalies.is_empty() {
        text += "\nFound, and forbidden by the profile `";
        text += &format!("{}`:\n", verdict.profile);
        for name in by_gravity(&verdict.anomalies) {
            let total = total(verdict, name);
            let clause = verdict.clauses.get(name).map_or("", String::as_str);
            line(&mut text, name, total, clause);
        }
    }
    if !verdict.allowed.is_empty() {
        let clause = |name: &&str| verdict.clauses.get(*name).map_or("", String::as_str);
        let names = by_gravity(&verdict.allowed).into_iter();
        let (protocols, others): (Vec<_>, Vec<_>) =
            names.partition(|name| clause(name).starts_with(PROTOCOL));
        for (title, names) in [
            ("allowed", others),
            (
                "permitted by the protocol itself, before KIP-890",
                protocols,
            ),
        ] {
            if !names.is_empty() {
                text += &format!("\nFound, and {title}:\n");
            }
            for name in names {
                line(&mut text, name, total(verdict, name), clause(&name));
            }
        }
    }
    for story in verdict.stories.iter().take(STORIES_SHOWN) {
        write_line(&mut text, &format!("\n{}", story.sentence));
        evidence(&mut text, &story.evidence);
    }
    if !verdict.criteria.is_empty() {
        text += "\nWhat the run had to exercise:\n";
        for criterion in &verdict.criteria {
            let mark = if criterion.met { "yes" } else { "NO " };
            write_line(&mut text, &format!("  {mark}  {}", criterion.says));
        }
    }
    let counts = &verdict.counts;
    write_line(
        &mut text,
        &format!(
            "\n{} events: {} ok, {} failed, {} undecided; {} messages acknowledged, {} read, {} \
             of unknown fate; profile `{}`",
            counts.ops,
            counts.ok,
            counts.fail,
            counts.info,
            counts.acknowledged,
            counts.polled,
            counts.indeterminate,
            verdict.profile
        ),
    );
    for note in &verdict.notes {
        write_line(&mut text, note);
    }
    text
}

fn evidence(text: &mut String, evidence: &[Evidence]) {
    for piece in evidence {
        let time = if piece.time >= 0 {
            format!("{:>10.3} s", piece.time as f64 / 1e9)
        } else {
            " ".repeat(12)
        };
        let line = format!("  {time}  {:<12} {}", piece.actor, piece.says);
        write_line(text, &line);
    }
}

/// A finding, explained.
pub fn explanation(told: &Explanation) -> String {
    let (name, number, total) = (&told.anomaly, told.number, told.total);
    let verb = if told.allowed { "allowed" } else { "forbidden" };
    let mut text = format!(
        "{name}, {number} of {total}; {verb} by `{}`:\n",
        told.profile
    );
    write_line(
        &mut text,
        &format!("{}\n\n{}\n", told.clause, told.sentence),
    );
    for (at, step) in (1..).zip(&told.steps) {
        write_line(&mut text, &format!("  {at}. {}", step.says));
    }
    if !told.evidence.is_empty() {
        text += "\nWhat is known of the message:\n";
        evidence(&mut text, &told.evidence);
    }
    operations(&mut text, &told.operations);
    text
}

/// A message's story.
pub fn trace(told: &Trace) -> String {
    let mut text = format!("{}\n\n", told.story.sentence);
    evidence(&mut text, &told.story.evidence);
    match told.findings.is_empty() {
        true => text += "\nNo finding is about it.\n",
        false => write_line(
            &mut text,
            &format!("\nFindings: {}", told.findings.join(", ")),
        ),
    }
    operations(&mut text, &told.operations);
    text
}

/// Operations as they were recorded.
fn operations(text: &mut String, operations: &[Operation]) {
    if !operations.is_empty() {
        *text += "\nThe operations:\n";
    }
    for operation in operations {
        let line = format!(
            "  {:>8}  {:<12} {:<5} {:<6} {}",
            operation.index, operation.process, operation.outcome, operation.f, operation.value
        );
        write_line(text, &line);
    }
}

fn by_gravity(found: &serde_json::Map<String, Json>) -> Vec<&str> {
    let mut names: Vec<&str> = found.keys().map(String::as_str).collect();
    names.sort_by_key(|name| Kind::named(name));
    names
}

fn total(verdict: &Verdict, name: &str) -> u64 {
    verdict.totals.get(name).copied().unwrap_or(0)
}

fn line(text: &mut String, name: &str, total: u64, remark: &str) {
    write_line(
        text,
        format!("  {name:<26} {total:>8}  {remark}").trim_end(),
    );
}

fn write_line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

/// Profiles as tables.
pub fn profiles(profiles: &[&Profile]) -> String {
    let mut text = String::new();
    for profile in profiles {
        write_line(&mut text, &format!("{}: {}\n", profile.name, profile.says));
        for kind in Kind::of_logs() {
            let clause = profile.clause(kind);
            let allowed = clause.allowed.says();
            write_line(&mut text, &format!("  {:<24} {allowed}", kind.name()));
            write_line(
                &mut text,
                &format!("  {:<24}   {} ({})", "", clause.why, clause.source),
            );
        }
        text.push('\n');
    }
    text
}

/// Profiles as one JSON object.
pub fn profiles_json(profiles: &[&Profile]) -> String {
    let table = |profile: &Profile| -> Json {
        let rows = Kind::of_logs().map(|kind| {
            let clause = profile.clause(kind);
            json!({
                "type": kind.name(),
                "allowed": clause.allowed.says(),
                "why": clause.why,
                "source": clause.source,
            })
        });
        json!({"says": profile.says, "clauses": rows.collect::<Vec<_>>()})
    };
    let all = profiles
        .iter()
        .map(|profile| (profile.name.to_owned(), table(profile)));
    format!("{}\n", Json::Object(all.collect()))
}
