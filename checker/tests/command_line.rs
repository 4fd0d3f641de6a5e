//! The binary as others use it: what goes to standard output, and the exit code.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value as Json, json};

fn checker(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_checker"))
        .args(arguments)
        .output()
        .expect("it runs")
}

fn checked(history: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_checker"))
        .args(["check", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(history.as_bytes())
        .expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

const GOOD: &str = r#"{"index":0,"time":1,"process":0,"type":"invoke","f":"send","value":[["send","x",1],["send","x",2]]}
{"index":1,"time":2,"process":0,"type":"ok","f":"send","value":[["send","x",[0,1]],["send","x",[1,2]]]}
{"index":2,"time":3,"process":1,"type":"invoke","f":"poll","value":[["poll"]]}
{"index":3,"time":4,"process":1,"type":"ok","f":"poll","value":[["poll",{"x":[[0,1],[1,2]]}]]}
"#;

fn lost() -> String {
    GOOD.replace("[[0,1],[1,2]]}", "[[1,2]]}")
}

#[test]
fn every_verdict_has_its_exit_code() {
    let unhealed = r#"{"process":"nemesis","type":"info","f":"kill","value":{"fault":"kill","id":1,"step":"effective"}}
{"process":"sampler","type":"ok","f":"phase","value":"drain"}"#;
    let without_effect = r#"{"process":"nemesis","type":"info","f":"kill","value":{"fault":"kill","id":1,"step":"asked"}}"#;
    let slow = GOOD.replace("[[0,1],[1,2]]}", "[[0,1]]}");
    let cases = [
        (GOOD.to_owned(), 0, "valid"),
        (lost(), 1, "invalid"),
        (String::new(), 2, "unknown"),
        (format!("{GOOD}{without_effect}"), 3, "vacuous"),
        (slow, 4, "stalled"),
        (format!("{GOOD}{unhealed}"), 5, "infrastructure"),
    ];
    for (history, expected, word) in cases {
        let output = checked(&history, &["--json"]);
        assert_eq!(code(&output), expected, "{word}: {}", stderr(&output));
        let verdict: Json = serde_json::from_str(&stdout(&output)).expect("one JSON object");
        assert_eq!(verdict["verdict"], json!(word));
        assert_eq!(verdict["schema"], json!(1));
        let sentence = verdict["sentence"].as_str().expect("a sentence");
        assert!(sentence.to_lowercase().starts_with(word), "{sentence}");
    }
}

#[test]
fn the_result_has_the_fixed_shape() {
    let output = checked(&lost(), &["--json"]);
    let verdict: Json = serde_json::from_str(&stdout(&output)).expect("one JSON object");
    let expected = json!({
        "key": "x", "value": 1, "index": 0, "max-read-index": 1, "writer": 1, "max-read": 3
    });
    assert_eq!(verdict["anomalies"]["lost-write"], json!([expected]));
    let counts = json!({"ops": 4, "ok": 2, "fail": 0, "info": 0, "acknowledged": 2, "polled": 1});
    for (name, count) in counts.as_object().expect("an object") {
        assert_eq!(&verdict["counts"][name], count, "{name}");
    }
    for field in ["key", "process", "time", "lag"] {
        assert!(
            verdict["worst-realtime-lag"].get(field).is_some(),
            "{field}"
        );
    }
    let text = stdout(&checked(&lost(), &[]));
    assert!(
        text.starts_with("Invalid: 1 acknowledged or delivered message was lost"),
        "{text}"
    );
}

#[test]
fn profiles_decide() {
    let slow = GOOD.replace("[[0,1],[1,2]]}", "[[0,1]]}");
    assert_eq!(code(&checked(&slow, &["--profile", "jepsen"])), 1);
    assert_eq!(code(&checked(&slow, &["--profile", "at-most-once"])), 0);
    assert_eq!(code(&checked(GOOD, &["--anomalies", "lost-write,G0"])), 0);
    let table = checker(&["profiles", "safe"]);
    assert!(stdout(&table).contains("lost-write") && code(&table) == 0);
    let json: Json =
        serde_json::from_str(&stdout(&checker(&["profiles", "--json"]))).expect("JSON");
    assert!(
        json["jepsen"]["clauses"]
            .as_array()
            .is_some_and(|rows| !rows.is_empty())
    );
}

#[test]
fn wrong_usage_is_64_and_says_what_is_meant() {
    for (arguments, says) in [
        (&["chekc", "x"][..], "check"),
        (&["check"], "PATH"),
        (&["check", "-", "--jsno"], "--json"),
        (&["check", "-", "--sub-via", "asign"], "assign"),
        (&["check", "-", "--recovery-limit", "-3"], "recovery-limit"),
        (&["profiles", "save"], "did you mean `safe`"),
    ] {
        let output = checker(arguments);
        assert_eq!(code(&output), 64, "{arguments:?}");
        assert!(
            stderr(&output).contains(says),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    let output = checked(GOOD, &["--anomalies", "lost-writes"]);
    assert_eq!(code(&output), 64);
    assert!(
        stderr(&output).contains("did you mean `lost-write`"),
        "{}",
        stderr(&output)
    );
    assert_eq!(code(&checker(&["--help"])), 0);
    assert!(stdout(&checker(&["--help"])).contains("vacuous"));
}

#[test]
fn bad_input_is_65_and_says_where() {
    let output = checked(
        &GOOD.replace("\"ok\",\"f\":\"poll\"", "\"oka\",\"f\":\"poll\""),
        &["--json"],
    );
    assert_eq!(code(&output), 65);
    assert!(
        stdout(&output).is_empty(),
        "nothing but JSON goes to standard output"
    );
    let text = stderr(&output);
    assert!(
        text.contains("line 4") && text.contains("field `type`"),
        "{text}"
    );
    assert_eq!(code(&checker(&["check", "/nowhere/history.jsonl"])), 65);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let output = checker(&["check", path]);
    assert_eq!(code(&output), 65);
    assert!(
        stderr(&output).contains("history.jsonl"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_file_a_folder_and_standard_input_are_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("history.jsonl");
    std::fs::write(&file, GOOD).expect("it can be written");
    let text = |path: &Path| stdout(&checker(&["check", path.to_str().expect("text"), "--json"]));
    let expected = stdout(&checked(GOOD, &["--json"]));
    assert_eq!(
        (text(&file), text(folder.path())),
        (expected.clone(), expected)
    );
}
