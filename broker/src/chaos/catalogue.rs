//! The seeded bugs as data: which rule each one removes, where that is decided, what breaks, what
//! a black-box checker should see, under which faults, and which tests show it.
//!
//! A bug is [`Fate::Found`] only with a test that sees the wrong outcome with it and the right one
//! without. What is not built says why. Numbers are those of the catalogue: M31 to M41 are rules
//! of groups and transactions, which this broker does not have yet.

mod replication;
mod storage_and_clients;

use std::fmt::Write;

use super::seeded_bug::SeededBug;
use crate::invariants::Link;

/// The durability mode in which users can see the damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Both.
    Any,
    /// Writes count as held when they are durable.
    Fsync,
    /// Writes count as held when they are written: fsync mode hides the bug.
    Replicated,
}

/// What is known of a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The tests of [`Entry::shown`] find it.
    Found,
    /// Without the rule everything is as with it; why. Nothing is built.
    Equivalent(&'static str),
    /// There is no rule to remove; why.
    NotBuilt(&'static str),
}

/// One removed rule.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Number in the catalogue.
    pub number: u8,
    /// The switch, if it is built.
    pub bug: Option<SeededBug>,
    /// What holds without the bug.
    pub rule: &'static str,
    /// File of this crate where the rule is decided.
    pub decided: &'static str,
    /// Invariants (I1 ..) and liveness properties (L1 ..) that it breaks.
    pub breaks: &'static [&'static str],
    /// Anomalies that a checker of histories should report, by name.
    pub anomalies: &'static [&'static str],
    /// Faults that bring it out, by the nemesis's names; `none`: load alone does.
    pub nemeses: &'static [&'static str],
    /// In which durability mode.
    pub needs: Needs,
    /// Whether it is found.
    pub fate: Fate,
    /// Tests that show it, or that show why it is no bug here.
    pub shown: &'static [Link],
}

impl Entry {
    /// `M01` to `M56`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("M{:02}", self.number)
    }

    /// One line on what is known of it.
    #[must_use]
    pub fn about(&self) -> String {
        let id = self.id();
        let rule = self.rule;
        match self.fate {
            Fate::Found => format!("{id}  removes: {rule}"),
            Fate::Equivalent(why) => format!("{id}  (escapes) {rule} {why}"),
            Fate::NotBuilt(why) => format!("{id}  (not built) {rule} {why}"),
        }
    }
}

/// Every seeded bug of the catalogue, by number; M31 to M41 are absent.
#[must_use]
pub fn entries() -> Vec<&'static Entry> {
    let parts = [
        replication::REPLICATION,
        storage_and_clients::STORAGE_AND_CLIENTS,
    ];
    let mut all: Vec<_> = parts.into_iter().flatten().collect();
    all.sort_by_key(|entry| entry.number);
    all
}

/// What is known of a bug that is built.
///
/// # Panics
/// Never: a test checks that every bug has an entry.
#[must_use]
pub fn entry(bug: SeededBug) -> &'static Entry {
    let mut all = entries().into_iter();
    let found = all.find(|entry| entry.bug == Some(bug));
    found.expect("every seeded bug has an entry")
}

/// The catalogue as a Markdown table.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "| id | name | rule removed | decided in | breaks | anomalies | faults | shown by |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for entry in entries() {
        let name = entry.bug.map_or("-", SeededBug::name);
        let why = match entry.fate {
            Fate::Found => String::new(),
            Fate::Equivalent(why) => format!(" *Escapes:* {why}"),
            Fate::NotBuilt(why) => format!(" *Not built:* {why}"),
        };
        let shown: Vec<_> = entry.shown.iter().map(Link::to_string).collect();
        let row = [
            entry.id(),
            name.to_owned(),
            format!("{}{why}", entry.rule),
            format!("`{}`", entry.decided),
            entry.breaks.join(", "),
            entry.anomalies.join(", "),
            entry.nemeses.join(", "),
            shown.join("<br>"),
        ];
        // Writing into a string cannot fail.
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::invariants::links;

    #[test]
    fn every_seeded_bug_has_one_entry_and_every_entry_a_place() {
        let entries = entries();
        let numbers: BTreeSet<u8> = entries.iter().map(|entry| entry.number).collect();
        let expected: BTreeSet<u8> = (1..=30).chain(42..=56).collect();
        assert_eq!(numbers, expected);
        assert_eq!(entries.len(), expected.len(), "once each");
        for bug in SeededBug::ALL {
            assert_eq!(entry(*bug).number, *bug as u8, "{}", bug.name());
        }
    }

    #[test]
    fn what_is_found_is_built_and_shown_and_what_is_not_says_why() {
        for entry in entries() {
            let id = entry.id();
            match entry.fate {
                Fate::Found => {
                    assert!(entry.bug.is_some() && !entry.shown.is_empty(), "{id}");
                    assert!(!entry.anomalies.is_empty(), "{id}");
                }
                Fate::Equivalent(why) | Fate::NotBuilt(why) => {
                    assert!(entry.bug.is_none() && why.len() > 40, "{id}");
                }
            }
            assert!(
                !entry.breaks.is_empty() && !entry.nemeses.is_empty(),
                "{id}"
            );
        }
    }

    #[test]
    fn every_bug_is_decided_where_the_catalogue_says_and_nowhere_else() {
        for entry in entries() {
            let Some(bug) = entry.bug else { continue };
            let switch = format!("has(SeededBug::{bug:?})");
            let mut decided: Vec<_> = links::sources("src")
                .into_iter()
                .filter(|(path, text)| !path.contains("test") && text.contains(&switch))
                .map(|(path, text)| (path, production(&text, &switch)))
                .filter(|(_, times)| *times > 0)
                .collect();
            decided.sort();
            let expected = vec![(entry.decided.to_owned(), 1)];
            assert_eq!(decided, expected, "{} {bug:?}", entry.id());
        }
    }

    #[test]
    fn every_link_leads_to_a_test() {
        for entry in entries() {
            for link in entry.shown {
                assert!(links::exists(link), "{}: {link}", entry.id());
            }
        }
    }

    /// How often `switch` stands in code, without the tests at the end of a file.
    fn production(text: &str, switch: &str) -> usize {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
        let lines = code.lines().map(str::trim_start);
        let lines = lines.filter(|line| !line.starts_with("//"));
        lines.map(|line| line.matches(switch).count()).sum()
    }
}
