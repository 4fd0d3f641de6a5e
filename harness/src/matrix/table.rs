//! The table of seeded bugs: where each was found, by what, after how much.

use std::fmt::Write as _;

use broker::chaos::catalogue::{self, Entry, Fate};
use broker::chaos::seeded_bug::SeededBug;
use serde::{Deserialize, Serialize};

use super::trial::Tally;
use super::wilson;

/// One bug on one runtime.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// `M01` ..; `None` for a control.
    pub id: Option<String>,
    /// The flags of `run`, without seed and runtime.
    pub flags: String,
    /// Why there were no runs.
    pub skipped: Option<String>,
    /// What came of the runs.
    pub tally: Tally,
}

/// All that one command measured; stored as `results/matrix/RUNTIME.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Matrix {
    /// `sim`, `docker` or `namespaces`.
    pub runtime: String,
    /// The command that does it again.
    pub command: String,
    /// When it was begun, UTC.
    pub started: String,
    /// The machine.
    pub machine: serde_json::Value,
    /// One a bug, in the order of the catalogue.
    pub bugs: Vec<Row>,
    /// The same runs with no bug.
    pub controls: Vec<Row>,
}

/// A share with its interval: `3 of 20 (5-36 %)`.
pub fn share(tally: &Tally) -> String {
    let (low, high) = wilson::interval(tally.alarms, tally.runs);
    let percent = |share: f64| (share * 100.0).round();
    format!(
        "{} of {} ({:.0}-{:.0} %)",
        tally.alarms,
        tally.runs,
        percent(low),
        percent(high)
    )
}

/// One line for people while it runs.
pub fn line(row: &Row) -> String {
    let id = row.id.as_deref().unwrap_or("control");
    if let Some(why) = &row.skipped {
        return format!("{id:8} skipped: {why}");
    }
    let broken = match row.tally.broken.len() {
        0 => String::new(),
        some => format!("; the test bed failed in {some}"),
    };
    let share = share(&row.tally);
    let anomalies = anomalies(&row.tally);
    format!("{id:8} {share:20}  {anomalies}  [{}]{broken}", row.flags)
}

/// `lost-write 3, unseen 1`, the most frequent first.
fn anomalies(tally: &Tally) -> String {
    let mut by: Vec<(&String, &u64)> = tally.by.iter().collect();
    by.sort_by(|(a, n), (b, m)| m.cmp(n).then(a.cmp(b)));
    let words: Vec<String> = by.iter().map(|(name, n)| format!("{name} {n}")).collect();
    words.join(", ")
}

/// The page, from what was measured on each runtime.
pub fn markdown(all: &[Matrix]) -> String {
    let mut page = String::from(HEAD);
    for matrix in all {
        // Writing into a string cannot fail.
        let _ = writeln!(page, "* {}: `{}`", matrix.runtime, matrix.command);
    }
    page.push_str("\n| id | name | the rule that is switched off | tests inside |");
    for matrix in all {
        let _ = write!(page, " {0}: caught in | {0}: by | ", matrix.runtime);
        let _ = write!(page, "{0}: first after | {0}: flags |", matrix.runtime);
    }
    page.push_str("\n|---|---|---|---|");
    page.push_str(&"---|---|---|---|".repeat(all.len()));
    page.push('\n');
    for entry in catalogue::entries() {
        page.push_str(&entry_row(entry, all));
    }
    for matrix in all {
        page.push_str(&controls(matrix));
    }
    page
}

const HEAD: &str = "# Seeded bugs: which alarm rings\n\n\
    Each bug is one rule switched off. *Caught in* counts runs with an alarm (in parentheses the \
    95 % Wilson interval of the share); *first after* is how many runs, and how many seconds of \
    their own clock, it took until the first. *Tests inside* are those of the broker's own crate \
    (model, random walks, unit tests) that see the bug without a cluster.\n\n\
    A bug that no history shows says **escapes**. Made by:\n\n";

fn entry_row(entry: &Entry, all: &[Matrix]) -> String {
    let id = entry.id();
    let name = entry.bug.map_or("-", SeededBug::name);
    let rule = match entry.fate {
        Fate::Found => entry.rule.to_owned(),
        Fate::Equivalent(why) => format!("{} *Equivalent:* {why}", entry.rule),
        Fate::NotBuilt(why) => format!("{} *Not built:* {why}", entry.rule),
    };
    let mut row = format!("| {id} | {name} | {rule} | {} |", inside(entry));
    for matrix in all {
        let one = matrix.bugs.iter().find(|row| row.id.as_ref() == Some(&id));
        row.push_str(&cells(one));
    }
    row.push('\n');
    row
}

fn cells(row: Option<&Row>) -> String {
    let Some(row) = row else {
        return " - | - | - | - |".to_owned();
    };
    if let Some(why) = &row.skipped {
        return format!(" {why} | - | - | - |");
    }
    let first = match (row.tally.runs_to_first, row.tally.seconds_to_first) {
        (Some(1), Some(seconds)) => format!("1 run, {seconds:.0} s"),
        (Some(runs), Some(seconds)) => format!("{runs} runs, {seconds:.0} s"),
        _ => "-".to_owned(),
    };
    let by = match (row.tally.alarms, row.tally.broken.first_key_value()) {
        (0, None) => "**escapes**".to_owned(),
        (0, Some((_, why))) => {
            let some = row.tally.broken.len();
            format!("no verdict, but {some} runs ended early, as the first: {why}")
        }
        _ => anomalies(&row.tally),
    };
    let share = share(&row.tally);
    format!(" {share} | {by} | {first} | `{}` |", row.flags)
}

/// The kinds of tests inside the crate that show it.
fn inside(entry: &Entry) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for link in entry.shown {
        let mut parts = link.file.split('/');
        let kind = match (parts.next(), parts.next()) {
            (Some("tests"), Some(kind)) => kind,
            _ => "unit",
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.join(", ")
}

fn controls(matrix: &Matrix) -> String {
    let mut page = format!(
        "\n## Controls: {}, no bug\n\nThe same flags and seeds with a broker that keeps all rules; \
         every alarm here is false.\n\n| flags | alarms | acknowledged | seconds | test bed failed \
         |\n|---|---|---:|---:|---:|\n",
        matrix.runtime
    );
    for row in &matrix.controls {
        let tally = &row.tally;
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {:.0} | {} |",
            row.flags,
            share(tally),
            tally.acknowledged,
            tally.seconds,
            tally.broken.len()
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(alarms: u64) -> Matrix {
        let tally = Tally {
            runs: 20,
            alarms,
            by: [("lost-write".to_owned(), alarms)].into(),
            runs_to_first: (alarms > 0).then_some(2),
            seconds_to_first: (alarms > 0).then_some(80.4),
            ..Tally::default()
        };
        Matrix {
            runtime: "sim".to_owned(),
            command: "harness matrix".to_owned(),
            started: String::new(),
            machine: serde_json::Value::Null,
            bugs: vec![Row {
                id: Some("M05".to_owned()),
                flags: "--nemesis kill".to_owned(),
                skipped: None,
                tally,
            }],
            controls: Vec::new(),
        }
    }

    #[test]
    fn what_was_caught_and_what_escaped_stand_in_the_table() {
        let page = markdown(&[matrix(3)]);
        let caught = "3 of 20 (5-36 %) | lost-write 3 | 2 runs, 80 s | `--nemesis kill`";
        assert!(page.contains(caught), "{page}");
        let page = markdown(&[matrix(0)]);
        assert!(
            page.contains("0 of 20 (0-16 %) | **escapes** | -"),
            "{page}"
        );
    }

    #[test]
    fn every_bug_of_the_catalogue_has_a_row() {
        let page = markdown(&[matrix(1)]);
        for entry in catalogue::entries() {
            assert!(
                page.contains(&format!("\n| {} |", entry.id())),
                "{}",
                entry.id()
            );
        }
    }
}
