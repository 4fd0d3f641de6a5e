//! `explain`, `trace` and `convert` as others use them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value as Json, json};

const LOST: &str = r#"{"index":0,"time":1,"process":0,"type":"invoke","f":"send","value":[["send","x",1],["send","x",2]]}
{"index":1,"time":2,"process":0,"type":"ok","f":"send","value":[["send","x",[0,1]],["send","x",[1,2]]]}
{"index":2,"time":3,"process":1,"type":"invoke","f":"poll","value":[["poll"]]}
{"index":3,"time":4,"process":1,"type":"ok","f":"poll","value":[["poll",{"x":[[1,2]]}]]}
"#;

fn checker(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_checker"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        status.code().expect("it ends by itself"),
        text(stdout),
        text(stderr),
    )
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("history.jsonl"), LOST).expect("a history");
    folder
}

#[test]
fn a_finding_of_a_run_with_pictures() {
    let folder = folder();
    let arguments = [
        "explain",
        ".",
        "lost-write/1",
        "--svg",
        "a.svg",
        "--png",
        "a.png",
    ];
    let (code, told, _) = checker(folder.path(), &arguments);
    assert_eq!(code, 0);
    assert!(
        told.starts_with("lost-write, 1 of 1; forbidden by `safe`:"),
        "{told}"
    );
    assert!(
        told.contains("1. It was sent by operation 1 (process 0, send, ok"),
        "{told}"
    );
    let svg = fs::read_to_string(folder.path().join("a.svg")).expect("a picture");
    assert!(
        svg.starts_with("<svg xmlns=") && svg.contains(">w1<"),
        "{svg}"
    );
    let png = fs::read(folder.path().join("a.png")).expect("a picture");
    assert!(png.starts_with(b"\x89PNG"));

    let (_, told, _) = checker(folder.path(), &["explain", ".", "lost-write", "--json"]);
    let told: Json = serde_json::from_str(&told).expect("one object");
    assert_eq!(
        (&told["anomaly"], &told["total"]),
        (&json!("lost-write"), &json!(1))
    );
    assert_eq!(
        told["operations"][0]["value"][0],
        json!(["send", "x", [0, 1]])
    );
}

#[test]
fn errors_say_what_there_is() {
    let folder = folder();
    for (finding, says) in [
        ("lost-wirte/1", "did you mean `lost-write`?"),
        ("lost-write/7", "there is one lost-write: give lost-write/1"),
        (
            "duplicate",
            "the history shows no duplicate; it shows lost-write (1)",
        ),
    ] {
        let (code, _, error) = checker(folder.path(), &["explain", ".", finding]);
        assert_eq!(code, 64, "{error}");
        assert!(error.contains(says), "{error}");
    }
    let arguments = ["trace", ".", "--key", "z", "--value", "1"];
    assert!(
        checker(folder.path(), &arguments)
            .2
            .contains("there is no key `z`")
    );
}

#[test]
fn a_message_from_end_to_end() {
    let folder = folder();
    let arguments = ["trace", ".", "--key", "x", "--value", "1", "--json"];
    let (code, told, _) = checker(folder.path(), &arguments);
    let told: Json = serde_json::from_str(&told).expect("one object");
    assert_eq!((code, &told["findings"]), (0, &json!(["lost-write/1"])));
    assert_eq!(told["story"]["evidence"][1]["kind"], json!("acknowledged"));
}

#[test]
fn there_and_back_and_checked_on_the_way() {
    let folder = folder();
    assert_eq!(checker(folder.path(), &["convert", ".", "a.edn"]).0, 0);
    let edn = fs::read_to_string(folder.path().join("a.edn")).expect("a history");
    assert!(
        edn.starts_with("{:index 0, :time 1, :type :invoke, :process 0, :f :send,"),
        "{edn}"
    );
    assert_eq!(
        checker(folder.path(), &["convert", "a.edn", "b.jsonl"]).0,
        0
    );
    let back = fs::read_to_string(folder.path().join("b.jsonl")).expect("a history");
    let events = |text: &str| -> Vec<Json> {
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    assert_eq!(events(&back), events(LOST));
    let (_, ours, _) = checker(folder.path(), &["check", "history.jsonl", "--json"]);
    let (code, theirs, _) = checker(folder.path(), &["check", "a.edn", "--json"]);
    assert_eq!((code, ours), (1, theirs));
    // One vector of all; and a file that was cut off, and one that is no history.
    let path = folder.path().join("a.edn");
    fs::write(&path, format!("[{edn}]")).expect("written");
    assert_eq!(checker(folder.path(), &["check", "a.edn"]).0, 1);
    fs::write(&path, &edn[..edn.len() - 20]).expect("written");
    assert!(
        checker(folder.path(), &["check", "a.edn"])
            .1
            .contains("half-written")
    );
    fs::write(
        &path,
        "{:type :ok, :f :poll}\n {:type :ok :f :send :value [[:sned 1 2]]}",
    )
    .expect("");
    let (code, _, error) = checker(folder.path(), &["check", "a.edn"]);
    assert_eq!(code, 65);
    assert!(
        error.contains("line 2, column 2: field `value[0]`"),
        "{error}"
    );
}
