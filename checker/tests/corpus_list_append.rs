//! `--model list-append` against histories with known results: what Elle made of them
//! (`corpus/README.md`). Compared: the verdict, the types found, and the models ruled out.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use checker::history::read::read_from;
use checker::{Model, Options, Verdict, check};
use serde_json::Value as Json;

fn names(list: &Json) -> BTreeSet<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Json::as_str).map(str::to_owned).collect()
}

fn run(case: &Json, name: &str) -> Verdict {
    let events = case["history"].as_array().expect("a list of events");
    let lines: Vec<_> = events.iter().map(Json::to_string).collect();
    let history = read_from(Cursor::new(lines.join("\n")), name).expect("a good history");
    let options = Options {
        model: Model::ListAppend,
        consistency_models: names(&case["options"]["consistency-models"])
            .into_iter()
            .collect(),
        ..Options::default()
    };
    check(&history, &options).expect("good options")
}

fn differences(file: &Path) -> Vec<String> {
    let case: Json =
        serde_json::from_slice(&fs::read(file).expect("a readable file")).expect("JSON");
    let name = case["name"].as_str().expect("a name");
    let verdict = run(&case, name);
    let expect = &case["expect"];
    let mut differences = Vec::new();
    let mut differs = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            differences.push(format!("{name}: {what}: ours {ours}, theirs {theirs}"));
        }
    };
    let valid = match verdict.verdict.word() {
        "valid" => "true",
        "invalid" => "false",
        _ => "\"unknown\"",
    };
    differs("valid", valid.to_owned(), expect["valid"].to_string());
    let ours: BTreeSet<String> = verdict.anomalies.keys().cloned().collect();
    let mut theirs = names(&expect["anomaly_types"]);
    theirs.retain(|kind| !kind.ends_with("-cycle-exists"));
    differs("types", format!("{ours:?}"), format!("{theirs:?}"));
    let set = |names: &[String]| format!("{:?}", names.iter().collect::<BTreeSet<_>>());
    differs(
        "not",
        set(&verdict.not),
        format!("{:?}", names(&expect["not"])),
    );
    differs(
        "also not",
        set(&verdict.also_not),
        format!("{:?}", names(&expect["also_not"])),
    );
    differences
}

#[test]
fn every_case_agrees() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/list-append");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the corpus is part of the sources")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 45, "the corpus is whole");
    let differences: Vec<String> = files.iter().flat_map(|file| differences(file)).collect();
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
}
