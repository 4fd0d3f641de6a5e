//! The main job on a real cluster, as a user starts it: the binary, a runtime, a fault, a verdict.
//!
//! Where no runtime works (neither Docker nor network namespaces) the tests say so and pass; with
//! REQUIRE_DOCKER=1 they fail instead.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;

use serde_json::Value as Json;

/// One cluster at a time: the machine is small, and starved brokers look like broken ones.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn harness(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// Whether a cluster can run here; says so where it cannot.
fn somewhere_to_run() -> bool {
    let doctor = harness(&["doctor", "--json"]);
    if doctor.status.success() {
        return true;
    }
    let why = String::from_utf8_lossy(&doctor.stderr).into_owned();
    let required = std::env::var("REQUIRE_DOCKER").is_ok_and(|value| value == "1");
    assert!(
        !required,
        "REQUIRE_DOCKER=1, but no runtime works here: {why}"
    );
    eprintln!("SKIPPED: no runtime works here: {why}");
    false
}

fn explain(output: &Output) -> String {
    format!(
        "{:?}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn stored(out: &Path, file: &str) -> Json {
    let path = out.join("latest").join(file);
    let text = std::fs::read_to_string(&path).expect("it is stored");
    serde_json::from_str(&text).expect("it is JSON")
}

#[test]
fn a_partition_is_survived_and_everything_is_left_behind_but_the_cluster() {
    let _turn = ONE_AT_A_TIME.lock();
    if !somewhere_to_run() {
        return;
    }
    let out = tempfile::tempdir().expect("temp dir");
    let folder = out.path().to_str().expect("a plain path");
    let output = harness(&[
        "--nemesis",
        "partition",
        "--seed",
        "1",
        "--messages",
        "40000",
        "--time",
        "20",
        "--out",
        folder,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", explain(&output));
    let verdict = stored(out.path(), "verdict.json");
    assert_eq!(verdict["verdict"], "valid");
    assert!(
        verdict["counts"]["acknowledged"].as_u64() >= Some(40_000),
        "{verdict}"
    );
    for file in [
        "history.jsonl",
        "run.json",
        "schedule.json",
        "report.html",
        "brokers/1.log",
    ] {
        assert!(
            out.path().join("latest").join(file).is_file(),
            "{file} is missing"
        );
    }
    let last: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .rev()
        .take(3)
        .map(str::to_owned)
        .collect();
    assert!(last[0].starts_with("report: "), "{last:?}");
    assert!(last[1].contains("--seed 1"), "{last:?}");
    assert!(last[2].starts_with("Valid"), "{last:?}");
    let healed = harness(&["heal", "--out", folder]);
    let said = String::from_utf8_lossy(&healed.stdout).into_owned();
    assert!(!said.contains("removed"), "something was left: {said}");
}

#[test]
fn a_watermark_that_lags_is_caught_without_any_fault() {
    let _turn = ONE_AT_A_TIME.lock();
    if !somewhere_to_run() {
        return;
    }
    let out = tempfile::tempdir().expect("temp dir");
    let folder = out.path().to_str().expect("a plain path");
    let output = harness(&[
        "--nemesis",
        "none",
        "--seeded-bug",
        "hw-sync-5s",
        "--seed",
        "1",
        "--messages",
        "20000",
        "--time",
        "8",
        "--out",
        folder,
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", explain(&output));
    let anomalies = &stored(out.path(), "verdict.json")["anomalies"];
    assert!(anomalies.get("stale-watermark").is_some(), "{anomalies}");
}
