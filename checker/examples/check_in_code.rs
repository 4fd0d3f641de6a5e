//! Checks a history that is built in code: how another broker's tests would use this library.
//!
//! A test drives its broker, writes down what it asked for and what came back, one event a line
//! (the format is that of `history.jsonl`), and lets the checker judge. Here the broker has lost
//! message 2: it was acknowledged at offset 1, and a consumer read past it.
//!
//! `cargo run -p checker --example check_in_code`

use std::error::Error;
use std::io::Cursor;

use checker::history::read::read_from;
use checker::{Options, check, explain};
use serde_json::{Value as Json, json};

/// What a test records: an invocation and its completion for each operation.
#[derive(Default)]
struct Recorder {
    lines: String,
}

impl Recorder {
    fn event(&mut self, process: u32, kind: &str, f: &str, value: &Json) {
        let event = json!({"process": process, "type": kind, "f": f, "value": value});
        self.lines += &format!("{event}\n");
    }

    /// One batch: key, value and the offset that the broker acknowledged.
    fn send(&mut self, process: u32, messages: &[(&str, i64, i64)]) {
        let asked: Json = messages
            .iter()
            .map(|(key, value, _)| json!(["send", key, value]))
            .collect();
        let told = messages
            .iter()
            .map(|(key, value, offset)| json!(["send", key, [offset, value]]));
        self.event(process, "invoke", "send", &asked);
        self.event(process, "ok", "send", &told.collect());
    }

    /// One poll of one key: offsets and values as they were delivered.
    fn poll(&mut self, process: u32, key: &str, records: &[(i64, i64)]) {
        self.event(process, "invoke", "poll", &json!([["poll"]]));
        self.event(process, "ok", "poll", &json!([["poll", {key: records}]]));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut recorder = Recorder::default();
    recorder.send(
        0,
        &[("orders-0", 1, 0), ("orders-0", 2, 1), ("orders-0", 3, 2)],
    );
    recorder.poll(1, "orders-0", &[(0, 1), (2, 3)]);

    let history = read_from(Cursor::new(recorder.lines), "in code")?;
    let options = Options::default();
    let verdict = check(&history, &options)?;
    println!("{}", verdict.sentence);
    assert_eq!(verdict.verdict.word(), "invalid");
    assert_eq!(verdict.anomalies["lost-write"][0]["value"], json!(2));

    let told = explain::explain(&history, &options, &"lost-write/1".parse()?)?;
    for (at, step) in (1..).zip(&told.steps) {
        println!("{at}. {}", step.says);
    }
    Ok(())
}
