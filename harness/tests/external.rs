//! A whole run against a cluster that is not ours: librdkafka's mock, in this process. It needs
//! no runtime, and shows that clients, recorder, drain, checker and report work together.

use std::ffi::OsString;
use std::path::Path;

use harness::cli;
use harness::exit::Exit;
use rdkafka::mocking::MockCluster;
use serde_json::Value as Json;

fn run(arguments: &[&str]) -> Exit {
    let arguments = std::iter::once("harness").chain(arguments.iter().copied());
    cli::main(arguments.map(OsString::from))
}

fn history(out: &Path) -> Vec<Json> {
    let path = out.join("latest/history.jsonl");
    let text = std::fs::read_to_string(&path).expect("a history");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn a_run_against_the_mock_is_valid_and_leaves_everything_behind() {
    let cluster = MockCluster::new(3).expect("mock cluster");
    let out = tempfile::tempdir().expect("temp dir");
    let folder = out.path().to_str().expect("a plain path");
    let bootstrap = cluster.bootstrap_servers();
    let exit = run(&[
        "--nemesis",
        "none",
        "--bootstrap",
        &bootstrap,
        "--out",
        folder,
        "--messages",
        "4000",
        "--batch",
        "500",
        "--time",
        "2",
        "--seed",
        "5",
        "--size",
        "100..300",
    ]);
    let events = history(out.path());
    assert_eq!(exit, Exit::Valid);

    assert_eq!(events[0]["f"], "config");
    assert_eq!(events[0]["value"]["seed"], 5);
    let phases: Vec<&str> = events
        .iter()
        .filter(|event| event["f"] == "phase")
        .filter_map(|event| event["value"].as_str())
        .collect();
    assert_eq!(phases, ["setup", "main", "healed", "drain", "end"]);
    let acknowledged: usize = events
        .iter()
        .filter(|event| event["f"] == "send" && event["type"] == "ok")
        .map(|event| event["value"].as_array().map_or(0, Vec::len))
        .sum();
    assert!(acknowledged >= 4000, "{acknowledged}");
    assert!(
        events
            .iter()
            .any(|event| event["f"] == "list-offsets" && event["type"] == "ok")
    );
    for file in ["verdict.json", "run.json", "schedule.json", "report.html"] {
        let path = out.path().join("latest").join(file);
        assert!(path.is_file(), "{file} is missing");
    }

    // What is stored is enough to reach the same verdict, and to draw the report, again.
    let latest = out.path().join("latest");
    let latest = latest.to_str().expect("a plain path");
    assert_eq!(run(&["check", latest]), Exit::Valid);
    assert_eq!(run(&["report", latest]), Exit::Valid);
}

#[test]
fn no_cluster_at_the_address_is_infrastructure() {
    let out = tempfile::tempdir().expect("temp dir");
    let folder = out.path().to_str().expect("a plain path");
    let exit = run(&[
        "--nemesis",
        "none",
        "--bootstrap",
        "127.0.0.1:1",
        "--out",
        folder,
    ]);
    assert_eq!(exit, Exit::Infrastructure);
}

#[test]
fn the_storys_own_test_runs_on_fresh_topics() {
    let cluster = MockCluster::new(3).expect("mock cluster");
    let out = tempfile::tempdir().expect("temp dir");
    let folder = out.path().to_str().expect("a plain path");
    let bootstrap = cluster.bootstrap_servers();
    let exit = run(&[
        "--workload",
        "large-batch",
        "--repeat",
        "3",
        "--nemesis",
        "none",
        "--bootstrap",
        &bootstrap,
        "--out",
        folder,
        "--size",
        "100",
    ]);
    assert_eq!(exit, Exit::Valid);
    let text = std::fs::read_to_string(out.path().join("latest/run.json")).expect("run.json");
    let run: Json = serde_json::from_str(&text).expect("JSON");
    let passes = run["notes"]["large-batch"].as_array().expect("passes");
    assert_eq!(passes.len(), 3);
    for pass in passes {
        assert_eq!(pass["acknowledged"], 5000, "{pass}");
        assert_eq!(pass["missing"], 0, "{pass}");
    }
}
