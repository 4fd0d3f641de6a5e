//! Tables of availability per fault and of errors by code.

use crate::report::data::availability::Recovery;
use crate::report::data::names::Names;
use crate::report::facts::{DRAWN, Facts};
use crate::report::text::{count, duration, moment};

/// What one fault cost.
pub struct AvailabilityRow {
    /// Its number, for highlighting.
    pub number: usize,
    /// Its kind.
    pub kind: String,
    /// At whom.
    pub targets: String,
    /// From its effect.
    pub from: String,
    /// To its healing.
    pub until: String,
    /// How long that is.
    pub lasted: String,
    /// Operations invoked inside.
    pub ops: String,
    /// Messages acknowledged inside.
    pub acknowledged: String,
    /// The longest gap.
    pub gap: String,
    /// On which partition.
    pub gap_on: String,
    /// Until nobody had to wait any more.
    pub recovery: String,
    /// Leader changes.
    pub elections: String,
    /// It did not bite: why, in a word.
    pub missed: &'static str,
}

/// The table.
pub struct AvailabilityTable {
    /// One row per fault.
    pub rows: Vec<AvailabilityRow>,
    /// The same outside all faults, for comparison.
    pub outside: String,
}

/// Builds the table of faults.
#[must_use]
pub fn availability(facts: &Facts<'_>) -> AvailabilityTable {
    let names = Names::new(facts.keys());
    let rows = facts.faults.iter().take(DRAWN).map(|fault| {
        let (from, until) = (fault.from().unwrap_or(0), fault.over(facts.end));
        let cost = facts.availability.cost(from, until);
        AvailabilityRow {
            number: fault.number,
            kind: fault.kind.clone(),
            targets: match &fault.role {
                Some(role) if fault.targets.is_empty() => role.clone(),
                Some(role) => format!("{role} → {}", fault.targets),
                None => fault.targets.clone(),
            },
            from: moment(from),
            until: fault
                .healed
                .map_or_else(|| "never healed".to_owned(), moment),
            lasted: duration(fault.until(facts.end) - from),
            ops: count(cost.ops),
            acknowledged: count(cost.acknowledged),
            gap: cost.gap.map_or_else(
                || format!("< {}", duration(facts.availability.floor)),
                |(_, gap)| duration(gap.length()),
            ),
            gap_on: cost
                .gap
                .map_or_else(String::new, |(key, _)| names.short(key).to_owned()),
            recovery: match cost.recovery {
                Recovery::AtOnce => "at once".to_owned(),
                Recovery::After(time) => duration(time),
                Recovery::Never => "never".to_owned(),
            },
            elections: count(
                fault
                    .leader_changes
                    .unwrap_or_else(|| facts.leaders.changes_within(from, until)),
            ),
            missed: match (fault.bit(), fault.skipped) {
                (true, _) => "",
                (false, true) => "skipped",
                (false, false) => "did not bite",
            },
        }
    });
    AvailabilityTable {
        rows: rows.collect(),
        outside: outside(facts, &names),
    }
}

/// The longest gap that touches no fault.
fn outside(facts: &Facts<'_>, names: &Names<'_>) -> String {
    let gaps = facts.availability.keys.iter().enumerate();
    let free = gaps.flat_map(|(key, gaps)| gaps.iter().map(move |gap| (key, *gap)));
    let longest = free
        .filter(|(_, gap)| {
            facts.faults.iter().all(|fault| {
                let from = fault.asked.or(fault.effective).unwrap_or(i64::MAX);
                gap.until <= from || gap.from >= fault.over(facts.end)
            })
        })
        .max_by_key(|(key, gap)| (gap.length(), std::cmp::Reverse(*key)));
    match longest {
        None => format!(
            "Outside faults nobody waited {} or longer.",
            duration(facts.availability.floor)
        ),
        Some((key, gap)) => format!(
            "Outside faults the longest wait was {}, on {} at {}.",
            duration(gap.length()),
            names.short(crate::history::KeyId(key as u32)),
            moment(gap.from)
        ),
    }
}

/// One code.
pub struct ErrorView {
    /// The operation.
    pub function: String,
    /// The code.
    pub code: String,
    /// Certainly failed.
    pub fail: String,
    /// May have happened.
    pub info: String,
    /// Succeeded all the same.
    pub ok: String,
    /// First and last.
    pub when: String,
    /// A message that came with it.
    pub message: String,
}

/// The table of errors.
pub struct ErrorTable {
    /// By code.
    pub rows: Vec<ErrorView>,
    /// What to know about them as a whole.
    pub summary: String,
}

/// Builds the table of errors.
#[must_use]
pub fn errors(facts: &Facts<'_>) -> ErrorTable {
    let rows: Vec<ErrorView> = facts
        .errors
        .iter()
        .map(|row| ErrorView {
            function: row.function.clone(),
            code: row.code.clone(),
            fail: count(row.fail),
            info: count(row.info),
            ok: count(row.ok),
            when: format!("{} – {}", moment(row.first), moment(row.last)),
            message: row.message.clone(),
        })
        .collect();
    let [ok, info, fail, _] = facts.rates.totals();
    let all = ok + info + fail;
    let summary = match (all, info * 10 > all) {
        (0, _) => "No message was sent.".to_owned(),
        (all, weak) => format!(
            "Of {} messages sent, {} were acknowledged, {} failed for certain, and the fate of {} \
             was never told.{}",
            count(all),
            count(ok),
            count(fail),
            count(info),
            match weak {
                true =>
                    " That is more than one in ten: the test is weak, because a message \
                         without a promise cannot be lost.",
                false => "",
            }
        ),
    };
    ErrorTable { rows, summary }
}
