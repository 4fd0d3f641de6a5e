//! Follows the links of the tables of invariants and of seeded bugs into the sources.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Entry, Invariant, LATER, Link, TABLE};
use crate::chaos::catalogue::{self, Fate};

/// Every Rust file under a directory of this crate: its path from there, and its text.
pub fn sources(under: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut left = vec![root.join(under)];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory of the sources") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("below it");
                let text = std::fs::read_to_string(&path).expect("readable");
                found.push((name.display().to_string(), text));
            }
        }
    }
    found
}

/// Whether the text stands in the file. A test's name must be a function's.
pub fn exists(link: &Link) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(link.file);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.contains(link.symbol)
}

fn ids() -> Vec<&'static str> {
    TABLE.iter().map(|entry| entry.id).collect()
}

#[test]
fn every_invariant_is_in_the_table_once() {
    let safety = (1..=20).chain(25..=26).map(|number| format!("I{number}"));
    let liveness = (1..=3).map(|number| format!("L{number}"));
    let expected: Vec<_> = safety.chain(liveness).collect();
    assert_eq!(ids(), expected);
    let later: Vec<_> = LATER.iter().map(|(id, _)| *id).collect();
    assert_eq!(later, ["I21", "I22", "I23", "I24", "L4"]);
    let named: BTreeSet<_> = TABLE.iter().filter_map(|entry| entry.invariant).collect();
    assert_eq!(named.len(), 22);
    for entry in TABLE {
        let number = |name: Invariant| format!("I{}", name as u8);
        let is_its = entry.invariant.is_none_or(|name| number(name) == entry.id);
        assert!(is_its, "{}", entry.id);
    }
}

#[test]
fn every_invariant_is_asserted_checked_and_tripped() {
    for Entry {
        id,
        asserted,
        checked,
        tripped_by,
        ..
    } in TABLE
    {
        assert!(!asserted.is_empty(), "{id} is asserted nowhere");
        assert!(!checked.is_empty(), "{id} is checked nowhere");
        assert!(!tripped_by.is_empty(), "no seeded bug trips {id}");
        for link in asserted.iter().chain(*checked) {
            assert!(exists(link), "{id}: there is no {link}");
        }
    }
}

#[test]
fn every_invariant_has_its_assertion_by_name() {
    for entry in TABLE {
        let Some(name) = entry.invariant else {
            continue;
        };
        let text = format!("Invariant::{name:?}");
        let asserted = entry.asserted.iter().any(|link| link.symbol == text);
        assert!(asserted, "{} is nowhere asserted as {text}", entry.id);
    }
}

#[test]
fn what_trips_an_invariant_is_found_and_says_so() {
    for entry in TABLE {
        for bug in entry.tripped_by {
            let known = catalogue::entry(*bug);
            let says_so = known.breaks.contains(&entry.id);
            assert!(
                says_so && known.fate == Fate::Found,
                "{} and {bug:?}",
                entry.id
            );
        }
    }
    for known in catalogue::entries() {
        for id in known.breaks {
            assert!(ids().contains(id), "{}: there is no {id}", known.id());
        }
    }
}
