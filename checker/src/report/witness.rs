//! Witnesses of anomalies in words: what a detail of the verdict says, and which operations it
//! points at. Details are JSON written by the checker (history.md section 2, anomalies.md); an
//! unknown type is shown field by field.

use serde_json::{Map, Value as Json};

use super::chart::lanes::Sighting;
use super::data::faults::people;
use super::text::{clip, duration, moment};
use crate::verdict::Verdict;

/// Witnesses shown per type.
pub const SHOWN: usize = 32;
/// Witnesses per type whose time is marked in the overview.
const SIGHTED: usize = 500;

/// Fields that hold indexes of operations.
const OPERATIONS: [&str; 8] = [
    "op", "ops", "txns", "writer", "reader", "max-read", "cycle", "readers",
];

/// The witnesses of one type: a list, or one object (`unseen`).
#[must_use]
pub fn list(details: &Json) -> Vec<&Json> {
    match details {
        Json::Array(all) => all.iter().collect(),
        Json::Null => Vec::new(),
        one => vec![one],
    }
}

/// How many there are of a type.
#[must_use]
pub fn total(verdict: &Verdict, name: &str, details: &Json) -> u64 {
    let listed = match details.get("unseen").and_then(Json::as_object) {
        Some(counts) => counts.values().filter_map(Json::as_u64).sum(),
        None => list(details).len() as u64,
    };
    verdict.totals.get(name).copied().unwrap_or(0).max(listed)
}

/// Every operation that something shown points at.
#[must_use]
pub fn operations(verdict: &Verdict) -> Vec<i64> {
    let found = verdict.anomalies.iter().chain(&verdict.allowed);
    let mut all: Vec<i64> = found
        .flat_map(|(_, details)| list(details).into_iter().take(SIGHTED))
        .flat_map(points_at)
        .collect();
    let evidence = verdict.stories.iter().flat_map(|story| &story.evidence);
    all.extend(evidence.filter_map(|evidence| evidence.op));
    all.sort_unstable();
    all.dedup();
    all
}

/// The operations that a witness names, in the order of the fields.
#[must_use]
pub fn points_at(witness: &Json) -> Vec<i64> {
    fn numbers(json: &Json, into: &mut Vec<i64>) {
        match json {
            Json::Number(number) => into.extend(number.as_i64()),
            Json::Array(all) => all.iter().for_each(|one| numbers(one, into)),
            Json::Object(fields) => {
                for name in ["index", "op_index"] {
                    if let Some(json) = fields.get(name) {
                        numbers(json, into);
                    }
                }
            }
            _ => {}
        }
    }
    let mut all = Vec::new();
    for name in OPERATIONS {
        if let Some(json) = witness.get(name) {
            numbers(json, &mut all);
        }
    }
    all.dedup();
    all
}

/// Where forbidden anomalies lie in time.
pub fn sightings(verdict: &Verdict, time: impl Fn(i64) -> Option<i64>) -> Vec<Sighting> {
    let mut sightings = Vec::new();
    for (name, details) in &verdict.anomalies {
        for witness in list(details).into_iter().take(SIGHTED) {
            let own = witness.get("time").and_then(Json::as_i64);
            let operation = || points_at(witness).into_iter().find_map(&time);
            if let Some(time) = own.filter(|time| *time >= 0).or_else(operation) {
                sightings.push(Sighting {
                    time,
                    anomaly: name.clone(),
                });
            }
        }
    }
    sightings
}

/// A field in words, or `?`.
fn field(witness: &Json, name: &str) -> String {
    let text = witness.get(name).map(people);
    text.map_or_else(|| "?".to_owned(), |text| clip(&text, 200))
}

fn has(witness: &Json, name: &str) -> bool {
    witness.get(name).is_some_and(|value| !value.is_null())
}

/// Message, partition and offset as far as they are named: `message 3 of t-0 (offset 12)`.
fn message(witness: &Json) -> String {
    let offset = match has(witness, "offset") {
        true => format!(" (offset {})", field(witness, "offset")),
        false => String::new(),
    };
    format!(
        "message {} of {}{offset}",
        field(witness, "value"),
        field(witness, "key")
    )
}

/// One witness in one sentence.
#[must_use]
pub fn sentence(name: &str, witness: &Json) -> String {
    let is = |name: &str| field(witness, name);
    let key = is("key");
    let stem = name
        .trim_end_matches("-realtime")
        .trim_end_matches("-process");
    let text = match stem {
        "lost-write" => format!(
            "{} was acknowledged (operation {}) and never read, although operation {} read past \
             its place.",
            message(witness),
            is("writer"),
            is("max-read")
        ),
        "lost-tail" => format!(
            "{} was acknowledged or read, but the log ends at {}.",
            message(witness),
            is("end")
        ),
        "vanished" => format!(
            "{} was there, and a later complete pass did not return it.",
            message(witness)
        ),
        "inconsistent-offsets" => format!(
            "Offset {} of {key} holds different messages: {}.",
            is("offset"),
            is("values")
        ),
        "duplicate" => format!(
            "Message {} of {key} stands at {} offsets: {}.",
            is("value"),
            is("count"),
            is("offsets")
        ),
        "G1a" => format!(
            "Operation {} read {}, which operation {} certainly failed to write.",
            is("reader"),
            message(witness),
            is("writer")
        ),
        "int-poll-skip" | "poll-skip" => format!(
            "On {key}, a consumer skipped {} (operations {}).",
            some(witness, "skipped", "messages"),
            operations_of(witness)
        ),
        "int-nonmonotonic-poll" | "nonmonotonic-poll" => format!(
            "On {key}, a consumer went from message {} (operations {}).",
            pair(witness, "values"),
            operations_of(witness)
        ),
        "int-nonmonotonic-send" | "nonmonotonic-send" => format!(
            "On {key}, a producer's messages {} got offsets in the wrong order (operations {}).",
            pair(witness, "values"),
            operations_of(witness)
        ),
        "unseen" => return unseen(witness),
        _ => match of_brokers(stem, witness).or_else(|| of_lists(stem, witness)) {
            Some(text) => text,
            None => return fields(witness),
        },
    };
    capital(&text)
}

/// What brokers say of themselves.
fn of_brokers(stem: &str, witness: &Json) -> Option<String> {
    let is = |name: &str| field(witness, name);
    let key = is("key");
    let answered = || {
        format!(
            "broker {} answered (operation {}) that {key} is readable up to {} only",
            is("asked"),
            is("op"),
            is("high-watermark")
        )
    };
    Some(match stem {
        "stale-watermark" => format!(
            "offset {} was acknowledged (operation {}), and after that {}.",
            is("offset"),
            is("writer"),
            answered()
        ),
        "visible-above-watermark" => format!(
            "offset {} was read (operation {}), and after that {}.",
            is("offset"),
            is("reader"),
            answered()
        ),
        "watermark-regression" => format!(
            "the {} of {key} went back from {} to {} (operations {}).",
            is("field"),
            is("from"),
            is("to"),
            operations_of(witness)
        ),
        "epoch-regression" => format!(
            "broker {} went back from leader epoch {} of {key} to {} (operations {}).",
            is("asked"),
            is("from"),
            is("to"),
            operations_of(witness)
        ),
        "dual-leader" => format!(
            "brokers {} claim to lead {key} in one epoch, {} (operations {}).",
            is("leaders"),
            is("epoch"),
            operations_of(witness)
        ),
        "invalid-offset" => format!(
            "message {} of {key} has an offset that cannot be: {} (operation {}).",
            is("value"),
            is("offset"),
            is("op")
        ),
        "non-unique-write" => format!(
            "message {} of {key} was sent {} times: the workload broke its own rules.",
            is("value"),
            is("count")
        ),
        _ => return None,
    })
}

/// What is wrong with lists, beside cycles.
fn of_lists(stem: &str, witness: &Json) -> Option<String> {
    let is = |name: &str| field(witness, name);
    let key = is("key");
    Some(match stem {
        "lost-update" => {
            let value = match has(witness, "value") {
                true => is("value"),
                false => "nothing".to_owned(),
            };
            format!(
                "transactions {} all read {value} of {key} and then wrote to it: all but one of \
                 these updates are lost.",
                is("txns")
            )
        }
        "incompatible-order" => format!(
            "reads of {key} contradict each other: neither of {} begins like the other.",
            is("values")
        ),
        "duplicate-elements" => format!(
            "operation {} read an element twice: {}.",
            is("op"),
            is("mop")
        ),
        "internal" => format!(
            "operation {} contradicts what it did itself: {}, expected {}.",
            is("op"),
            is("mop"),
            is("expected")
        ),
        "future-read" => format!(
            "operation {} read {}, which it appended only later: {}.",
            is("op"),
            is("element"),
            is("mop")
        ),
        "G1b" => format!(
            "operation {} read {} as the last element, after which its writer, operation {}, \
             appended more: {}.",
            is("op"),
            is("element"),
            is("writer"),
            is("mop")
        ),
        "dirty-update" => format!(
            "of {key}, {} was built on what an aborted transaction wrote (operations {}).",
            is("values"),
            is("txns")
        ),
        _ => return None,
    })
}

fn operations_of(witness: &Json) -> String {
    let all = points_at(witness);
    let few: Vec<String> = all.iter().take(12).map(i64::to_string).collect();
    few.join(", ")
}

fn some(witness: &Json, name: &str, fallback: &str) -> String {
    match witness.get(name) {
        Some(Json::Array(all)) if all.len() > 6 => {
            let first: Vec<String> = all.iter().take(5).map(people).collect();
            format!("{} and {} more", first.join(", "), all.len() - 5)
        }
        Some(value) if !value.is_null() => people(value),
        _ => fallback.to_owned(),
    }
}

fn pair(witness: &Json, name: &str) -> String {
    match witness
        .get(name)
        .and_then(Json::as_array)
        .map(Vec::as_slice)
    {
        Some([a, b]) => format!("{} to {}", people(a), people(b)),
        _ => field(witness, name),
    }
}

fn unseen(witness: &Json) -> String {
    let Some(counts) = witness.get("unseen").and_then(Json::as_object) else {
        return fields(witness);
    };
    let parts: Vec<String> = counts
        .iter()
        .take(12)
        .map(|(key, count)| format!("{} of {key}", people(count)))
        .collect();
    format!("Never read: {}.", parts.join(", "))
}

fn fields(witness: &Json) -> String {
    let Some(all) = witness.as_object() else {
        return people(witness);
    };
    let parts: Vec<String> = cells(all)
        .into_iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    parts.join(" · ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// Fields that come first, in this order; the others follow as they are.
const FIRST: [&str; 7] = [
    "key", "value", "values", "offset", "offsets", "index", "count",
];

/// Fields shown of one witness.
const FIELDS: usize = 24;

/// The fields of a witness as name and short value.
#[must_use]
pub fn cells(witness: &Map<String, Json>) -> Vec<(String, String)> {
    let first = FIRST.iter().filter_map(|name| witness.get_key_value(*name));
    let rest = witness
        .iter()
        .filter(|(name, _)| !FIRST.contains(&name.as_str()));
    first
        .chain(rest)
        .filter(|(_, value)| !value.is_null())
        .take(FIELDS)
        .map(|(name, value)| (name.clone(), short(name, value)))
        .collect()
}

fn short(name: &str, value: &Json) -> String {
    match (name, value.as_i64()) {
        ("time", Some(ns)) => moment(ns),
        ("lag", Some(ns)) => duration(ns),
        _ => clip(&people(value), 160),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn witnesses_are_told_in_words_and_unknown_ones_field_by_field() {
        let lost = json!({"key": "t-0", "value": 3, "index": 2, "max-read-index": 5,
            "writer": 7, "max-read": 19});
        let text = sentence("lost-write", &lost);
        assert!(text.starts_with("Message 3 of t-0 was acknowledged (operation 7)"));
        assert_eq!(points_at(&lost), [7, 19]);
        let odd = json!({"zeta": 1, "key": "k"});
        assert_eq!(sentence("never-heard-of", &odd), "key k · zeta 1");
    }

    #[test]
    fn operations_are_found_in_lists_and_objects() {
        let cycle = json!({"cycle": [4, 9, 4], "op": {"op_index": 2}});
        assert_eq!(points_at(&cycle), [2, 4, 9, 4]);
    }
}
