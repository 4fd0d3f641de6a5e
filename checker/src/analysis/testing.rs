//! Histories for tests, written as they would be told.
//!
//! One line is one event or one operation:
//!
//! ```text
//! 0 ok send x=1@0 x=2          invocation and completion; key=value@offset
//! 1 ok poll x:1@0,2@1 | y:3@0  key:value@offset,...; `|` begins another poll
//! 0> send x=1                  the invocation alone
//! 0< info send x=1             the completion alone
//! 2 ok assign x y
//! 3< ok drain x=0..7
//! sample x hw=3 lso=3 start=0 epoch=1 leader=1 asked=1
//! {"type":...}                 any event as JSON
//! ```

use std::io::Cursor;

use serde_json::{Map, Value as Json, json};

use super::facts::{Dialect, Facts};
use super::{About, Findings, Judge, Kind, run};
use crate::history::read::read_from;
use crate::{History, Options};

/// Reads a script.
pub(crate) fn script(text: &str) -> History {
    let events: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .flat_map(|line| {
            if line.starts_with('{') {
                vec![line.to_owned()]
            } else {
                told(line)
            }
        })
        .collect();
    read_from(Cursor::new(events.join("\n")), "script").expect("a good script")
}

/// Forbids everything.
struct Strict;

impl Judge for Strict {
    fn allows(&self, _: Kind, _: Option<About>) -> bool {
        false
    }
}

/// What our own dialect finds in a script.
pub(crate) fn own(text: &str) -> Findings<'static> {
    let history = script(text);
    run(
        &Facts::derive(&history, Dialect::Own),
        &Strict,
        &Options::default(),
    )
    .0
}

/// The same, with write dependencies.
pub(crate) fn own_with_ww(text: &str) -> Findings<'static> {
    let options = Options {
        ww_deps: true,
        ..Options::default()
    };
    run(
        &Facts::derive(&script(text), Dialect::Own),
        &Strict,
        &options,
    )
    .0
}

/// What every profile allows.
const ALWAYS_ALLOWED: [&str; 5] = [
    "int-send-skip",
    "empty-transaction-graph",
    "read-skew",
    "G-nonadjacent-item",
    "G2-item",
];

/// Names of the types found, without those that are no anomaly of ours.
pub(crate) fn names(findings: &Findings) -> Vec<&'static str> {
    let names = findings.forbidden().map(|(kind, _)| kind.name());
    names
        .filter(|name| !ALWAYS_ALLOWED.contains(name))
        .collect()
}

fn told(line: &str) -> Vec<String> {
    let mut words = line.split_whitespace();
    let who = words.next().expect("a line has words");
    if who == "sample" {
        return sample(&words.collect::<Vec<_>>());
    }
    let process: i64 = who.trim_end_matches(['>', '<']).parse().expect("a process");
    let kind = if who.ends_with('>') {
        "invoke"
    } else {
        words.next().expect("a type")
    };
    let f = words.next().expect("a function");
    let words: Vec<_> = words.collect();
    let completion =
        json!({"process": process, "type": kind, "f": f, "value": value(f, &words)}).to_string();
    if who.ends_with(['>', '<']) {
        return vec![completion];
    }
    let invocation = json!({"process": process, "type": "invoke", "f": f}).to_string();
    vec![invocation, completion]
}

fn sample(words: &[&str]) -> Vec<String> {
    let mut answer = Map::new();
    for word in &words[1..] {
        let (name, number) = word.split_once('=').expect("name=number");
        let name = match name {
            "hw" => "high-watermark",
            "start" => "log-start",
            other => other,
        };
        answer.insert(
            name.to_owned(),
            json!(number.parse::<i64>().expect("a number")),
        );
    }
    let invocation = json!({"process": "sampler", "type": "invoke", "f": "list-offsets"});
    let value = json!({words[0]: answer});
    let completion =
        json!({"process": "sampler", "type": "ok", "f": "list-offsets", "value": value});
    vec![invocation.to_string(), completion.to_string()]
}

fn value(f: &str, words: &[&str]) -> Json {
    match f {
        "assign" | "subscribe" => json!(words),
        "drain" => {
            let ranges = words.iter().map(|word| {
                let (key, range) = word.split_once('=').expect("key=from..to");
                let (from, to) = range.split_once("..").expect("from..to");
                let number = |text: &str| text.parse::<i64>().expect("a number");
                (key.to_owned(), json!([number(from), number(to)]))
            });
            Json::Object(ranges.collect())
        }
        _ => micro_ops(words),
    }
}

fn micro_ops(words: &[&str]) -> Json {
    let mut mops: Vec<Json> = Vec::new();
    let mut fresh = true;
    for word in words {
        if *word == "|" {
            fresh = true;
        } else if let Some((key, message)) = word.split_once('=') {
            let (offset, value) = message_of(message);
            mops.push(json!(["send", key, [offset, value]]));
            fresh = true;
        } else {
            let (key, messages) = word.split_once(':').expect("key:value@offset,...");
            let records = messages
                .split(',')
                .filter(|m| !m.is_empty())
                .map(message_of);
            let records: Vec<_> = records
                .map(|(offset, value)| json!([offset, value]))
                .collect();
            if fresh {
                mops.push(json!(["poll", {}]));
            }
            fresh = false;
            mops.last_mut().expect("a poll")[1][key] = json!(records);
        }
    }
    json!(mops)
}

fn message_of(text: &str) -> (Option<i64>, i64) {
    let (value, offset) = text
        .split_once('@')
        .map_or((text, None), |(v, o)| (v, Some(o)));
    let number = |text: &str| text.parse::<i64>().expect("a number");
    (offset.map(number), number(value))
}
