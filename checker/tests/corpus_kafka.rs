//! `--profile jepsen` against histories with known results: what jepsen.tests.kafka, run as it is,
//! made of them (`corpus/README.md`).
//!
//! Compared: verdict under every configuration that was run, types, all details, version orders
//! and the worst realtime lag; also where an offset holds several values and the reference picked
//! one of a hash set (our dialect picks the same one). Not compared: which of several cycles of one
//! class was shown, and the types `*-cycle-exists`, which only repeat a class.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Cursor;
use std::path::Path;

use checker::analysis::facts::{Dialect, Facts};
use checker::history::read::read_from;
use checker::{History, Options, SubVia, Verdict, check};
use serde_json::{Map, Value as Json};

struct Case {
    name: String,
    history: History,
    options: Json,
    expect: Json,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/kafka");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the corpus is part of the sources")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    files.iter().map(|file| case(file)).collect()
}

fn case(file: &Path) -> Case {
    let mut case: Json =
        serde_json::from_slice(&fs::read(file).expect("a readable file")).expect("JSON");
    let events = case["history"].as_array().expect("a list of events");
    let lines: Vec<_> = events.iter().map(Json::to_string).collect();
    let name = file
        .file_name()
        .expect("a file")
        .to_string_lossy()
        .into_owned();
    let history = read_from(Cursor::new(lines.join("\n")), &name).expect("a good history");
    Case {
        name,
        history,
        options: case["options"].take(),
        expect: case["expect"].take(),
    }
}

fn options(sub_via: &str, ww_deps: bool) -> Options {
    let via = if sub_via == "assign" {
        SubVia::Assign
    } else {
        SubVia::Subscribe
    };
    Options {
        profile: "jepsen".to_owned(),
        sub_via: vec![via],
        ww_deps,
        ..Options::default()
    }
}

fn run(case: &Case, sub_via: &str, ww_deps: bool) -> Verdict {
    check(&case.history, &options(sub_via, ww_deps)).expect("good options")
}

fn own_options(case: &Case) -> (&str, bool) {
    let via = case.options["sub_via"][0]
        .as_str()
        .expect("a way to subscribe");
    (via, case.options["ww_deps"].as_bool().expect("a flag"))
}

/// Everything found, allowed or not.
fn found(verdict: &Verdict) -> Map<String, Json> {
    verdict
        .anomalies
        .clone()
        .into_iter()
        .chain(verdict.allowed.clone())
        .collect()
}

fn is_cycle(kind: &str) -> bool {
    kind.starts_with("G0") || kind.starts_with("G1c")
}

/// A detail in one spelling: operations by index, keys by name.
fn spelled(detail: &Json) -> Json {
    match detail {
        Json::Object(fields) => match fields.get("op_index") {
            Some(index) => index.clone(),
            None => {
                let spelled = fields.iter().map(|(name, value)| {
                    let value = match (name.as_str(), value) {
                        ("key", Json::Number(number)) => Json::String(number.to_string()),
                        _ => spelled(value),
                    };
                    (name.clone(), value)
                });
                Json::Object(spelled.collect())
            }
        },
        Json::Array(items) => Json::Array(items.iter().map(spelled).collect()),
        other => other.clone(),
    }
}

fn details(found: &Json) -> BTreeSet<String> {
    let list = match found {
        Json::Array(list) => list.clone(),
        other => vec![other.clone()],
    };
    list.iter()
        .map(|detail| spelled(detail).to_string())
        .collect()
}

fn differences(case: &Case) -> Vec<String> {
    let (via, ww_deps) = own_options(case);
    let verdict = run(case, via, ww_deps);
    let mut differences = Vec::new();
    let mut differs = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            differences.push(format!(
                "{}: {what}: ours {ours}, theirs {theirs}",
                case.name
            ));
        }
    };
    let valid = verdict.verdict.word() == "valid";
    differs("valid", valid.to_string(), case.expect["valid"].to_string());
    let Some(expected) = case.expect["anomalies"].as_object() else {
        // The reference itself crashed: a value that nobody sent.
        let phantom = verdict.anomalies.contains_key("unwritten-read");
        differs("phantom", phantom.to_string(), "true".to_owned());
        return differences;
    };
    let ours = found(&verdict);
    let types = |found: &Map<String, Json>| {
        let types = found.keys().filter(|kind| !kind.ends_with("-cycle-exists"));
        format!("{:?}", types.collect::<BTreeSet<_>>())
    };
    differs("types", types(&ours), types(expected));
    for (kind, theirs) in expected {
        let compared = !is_cycle(kind) && !kind.ends_with("-cycle-exists");
        if let Some(ours) = ours.get(kind).filter(|_| compared) {
            let ours = details(ours);
            let theirs = details(theirs);
            differs(kind, format!("{ours:?}"), format!("{theirs:?}"));
        }
    }
    for (config, theirs) in case.expect["valid_by_config"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let via = if config.contains("sub_via=assign") {
            "assign"
        } else {
            "subscribe"
        };
        let verdict = run(case, via, config.contains("ww_deps=true"));
        let valid = verdict.verdict.word() == "valid";
        differs(config, valid.to_string(), theirs["valid"].to_string());
        let ours: BTreeSet<&str> = verdict.anomalies.keys().map(String::as_str).collect();
        let bad = theirs["bad"].as_array().expect("a list of types").iter();
        let bad = bad
            .filter_map(Json::as_str)
            .filter(|kind| !kind.ends_with("-cycle-exists"));
        differs(
            config,
            format!("{ours:?}"),
            format!("{:?}", bad.collect::<BTreeSet<_>>()),
        );
    }
    differs("orders", orders(case), expected_orders(case));
    let lag = serde_json::to_value(&verdict.worst_realtime_lag).expect("a lag is JSON");
    let lags = |lag: &Json| format!("{} at {}", lag["lag"], lag["time"]);
    differs("lag", lags(&lag), lags(&case.expect["worst_realtime_lag"]));
    differences
}

/// Version orders by key: values in dense order, and their offsets.
fn orders(case: &Case) -> String {
    let facts = Facts::derive(&case.history, Dialect::Jepsen);
    let mut orders = BTreeMap::new();
    for key in facts.keys.iter().filter(|key| !key.log.order.is_empty()) {
        let values = |number: &u32| {
            case.history
                .values()
                .json(key.messages[*number as usize].value)
                .to_string()
        };
        let order: Vec<String> = key.log.order.iter().map(values).collect();
        orders.insert(
            case.history.keys().name(key.key).to_owned(),
            (order, key.log.offsets.clone()),
        );
    }
    format!("{orders:?}")
}

fn expected_orders(case: &Case) -> String {
    let mut orders = BTreeMap::new();
    for (key, order) in case.expect["version_orders"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let by_index = order["by_index"]
            .as_array()
            .expect("a list of values")
            .iter();
        let shown: Vec<String> = by_index.map(Json::to_string).collect();
        let log = order["log"]
            .as_array()
            .expect("a list by offset")
            .iter()
            .enumerate();
        let offsets: Vec<i64> = log
            .filter(|(_, held)| !held.is_null())
            .map(|(offset, _)| offset as i64)
            .collect();
        if !offsets.is_empty() {
            orders.insert(key.clone(), (shown, offsets));
        }
    }
    format!("{orders:?}")
}

#[test]
fn every_case_agrees() {
    let cases = cases();
    assert_eq!(cases.len(), 110, "the corpus is whole");
    let differences: Vec<String> = cases.iter().flat_map(differences).collect();
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
}
