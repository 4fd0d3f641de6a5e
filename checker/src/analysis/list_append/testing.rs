//! list-append histories for tests: one transaction a line, `TYPE [micro-ops]`, one after the other
//! and each by the same process.

use std::collections::BTreeMap;
use std::io::Cursor;

use crate::history::read::read_from;
use crate::{History, Options};

use super::{Demand, run};

fn script(text: &str) -> History {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let events = lines.map(|line| {
        let (kind, value) = line.split_once(' ').expect("a type and a value");
        let event = |kind: &str, value: &str| {
            format!(r#"{{"process":0,"type":"{kind}","f":"txn","value":{value}}}"#)
        };
        format!("{}\n{}\n", event("invoke", "[]"), event(kind, value))
    });
    read_from(Cursor::new(events.collect::<String>()), "script").expect("a good script")
}

/// What is found where a model must hold, by name.
pub(super) fn found_as(text: &str, model: &str) -> BTreeMap<String, u64> {
    let options = Options {
        consistency_models: vec![model.to_owned()],
        ..Options::default()
    };
    let demand = Demand::new(&options).expect("a model");
    let findings = run(&script(text), &demand, &options);
    findings
        .forbidden()
        .map(|(kind, found)| (kind.name().to_owned(), found.total))
        .collect()
}

/// What is found under strict serializability.
pub(super) fn found(text: &str) -> BTreeMap<String, u64> {
    found_as(text, "strict-serializable")
}

/// The names of what is found under strict serializability.
pub(super) fn names(text: &str) -> Vec<String> {
    found(text).into_keys().collect()
}
