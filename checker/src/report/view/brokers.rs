//! What the brokers wrote into their logs, around the moments that matter.

use crate::report::broker_log::LogLine;
use crate::report::facts::Facts;
use crate::report::text::{count, moment};

/// One line.
pub struct LineView {
    /// Its number.
    pub number: u64,
    /// Its time within the run.
    pub time: String,
    /// A warning or worse.
    pub alarm: bool,
    /// The line.
    pub text: String,
}

/// One broker.
pub struct BrokerView {
    /// Its name.
    pub name: String,
    /// Lines, warnings and errors.
    pub summary: String,
    /// Lines worth reading.
    pub notable: Vec<LineView>,
    /// How it begins.
    pub first: Vec<LineView>,
    /// How it ends.
    pub last: Vec<LineView>,
}

/// Notable lines shown per broker.
const NOTABLE: usize = 40;

/// Builds the section.
#[must_use]
pub fn brokers(facts: &Facts<'_>) -> Vec<BrokerView> {
    let moments = moments(facts);
    let logs = facts.folder.logs.iter();
    logs.map(|log| BrokerView {
        name: log.name.clone(),
        summary: format!(
            "{} lines, {} warnings, {} errors",
            count(log.lines),
            count(log.warnings),
            count(log.errors)
        ),
        notable: log.near(&moments, NOTABLE).into_iter().map(line).collect(),
        first: log.first.iter().map(line).collect(),
        last: log.last.iter().map(line).collect(),
    })
    .collect()
}

fn line(line: &LogLine) -> LineView {
    LineView {
        number: line.number,
        time: line.time.map_or_else(String::new, moment),
        alarm: line.alarm,
        text: line.text.clone(),
    }
}

/// Moments of witnesses; without any, of faults.
fn moments(facts: &Facts<'_>) -> Vec<i64> {
    let sightings = facts.sightings.iter().map(|sighting| sighting.time);
    let stories = facts.verdict.iter().flat_map(|verdict| &verdict.stories);
    let evidence = stories
        .take(64)
        .flat_map(|story| &story.evidence)
        .map(|evidence| evidence.time);
    let mut moments: Vec<i64> = sightings.take(200).chain(evidence).collect();
    if moments.is_empty() {
        let faults = facts.faults.iter();
        moments = faults
            .flat_map(|fault| [fault.effective, fault.healed])
            .flatten()
            .collect();
    }
    moments
}
