//! What the run exercised: a verdict is worth as much as the test behind it.

use std::collections::BTreeMap;

use crate::history::Outcome;
use crate::report::data::errors::name;
use crate::report::facts::Facts;
use crate::report::text::{axis_number, count, plural};

/// One demand on the run.
pub struct CriterionRow {
    /// Its name.
    pub name: String,
    /// In words.
    pub says: String,
    /// What was reached.
    pub achieved: String,
    /// What was to be reached.
    pub required: String,
    /// Whether it was.
    pub met: bool,
}

/// Operations of one kind.
pub struct MixRow {
    /// The operation.
    pub function: String,
    /// How many ended ok, failed, are uncertain.
    pub ok: String,
    /// See `ok`.
    pub fail: String,
    /// See `ok`.
    pub info: String,
}

/// The section.
pub struct Power {
    /// Demands.
    pub criteria: Vec<CriterionRow>,
    /// Operations by kind.
    pub mix: Vec<MixRow>,
    /// What the numbers allow to conclude.
    pub bound: String,
}

/// Builds the section.
#[must_use]
pub fn power(facts: &Facts<'_>) -> Power {
    let criteria = facts.verdict.iter().flat_map(|verdict| &verdict.criteria);
    Power {
        criteria: criteria
            .map(|criterion| CriterionRow {
                name: criterion.name.clone(),
                says: criterion.says.clone(),
                achieved: number(criterion.achieved),
                required: number(criterion.required),
                met: criterion.met,
            })
            .collect(),
        mix: mix(facts),
        bound: bound(facts),
    }
}

/// Shares are written as they are, with three digits; counts as counts.
fn number(x: f64) -> String {
    if x.abs() < 10.0 && x.fract() != 0.0 {
        let text = format!("{x:.3}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    axis_number(x)
}

fn mix(facts: &Facts<'_>) -> Vec<MixRow> {
    let mut rows: BTreeMap<&'static str, [u64; 3]> = BTreeMap::new();
    for op in facts.history.ops() {
        let row = rows.entry(name(op.function)).or_default();
        match op.outcome {
            Outcome::Ok => row[0] += 1,
            Outcome::Fail => row[1] += 1,
            Outcome::Info | Outcome::Open => row[2] += 1,
        }
    }
    let rows = rows.into_iter();
    rows.map(|(function, [ok, fail, info])| MixRow {
        function: function.to_owned(),
        ok: count(ok),
        fail: count(fail),
        info: count(info),
    })
    .collect()
}

/// With no failure in n trials, the probability of one is below 1 - 0.05^(1/n) with 95 %
/// confidence (Clopper and Pearson, for zero successes).
fn bound(facts: &Facts<'_>) -> String {
    let bitten = facts.bitten() as u64;
    let clean = facts
        .verdict
        .is_some_and(|verdict| verdict.anomalies.is_empty());
    if !clean {
        return String::new();
    }
    if bitten == 0 {
        return "No fault took effect, so this run says nothing about faults.".to_owned();
    }
    let bound = 1.0 - 0.05f64.powf(1.0 / bitten as f64);
    format!(
        "None of {} that took effect led to a forbidden anomaly. With 95 % confidence, fewer than \
         {:.1} % of faults like these would; more runs make this number smaller.",
        plural(bitten, "fault", "faults"),
        bound * 100.0
    )
}
