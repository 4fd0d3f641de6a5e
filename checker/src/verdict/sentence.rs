//! The verdict in one sentence, for a person who has never heard of any of this.

use super::faults::Fault;
use super::phrase::{grouped, phrase};
use super::{Conclusion, Counts, Criterion};
use crate::analysis::{Findings, Kind};

/// Everything that the sentence may be about.
pub(super) struct Said<'a, 'j> {
    pub verdict: Conclusion,
    pub findings: &'a Findings<'j>,
    /// Messages whose loss is proven.
    pub lost: u64,
    pub counts: &'a Counts,
    pub criteria: &'a [Criterion],
    pub faults: &'a [Fault],
    pub troubles: &'a [String],
    pub shortage: Option<&'a str>,
}

/// The sentence.
pub(super) fn sentence(said: &Said) -> String {
    match said.verdict {
        Conclusion::Invalid => invalid(said),
        Conclusion::Infrastructure => {
            format!(
                "Infrastructure: {}; the run says nothing about the broker.",
                said.troubles[0]
            )
        }
        Conclusion::Stalled => stalled(said),
        Conclusion::Vacuous => {
            let unmet: Vec<_> = said
                .criteria
                .iter()
                .filter(|c| !c.met)
                .map(|c| &*c.says)
                .collect();
            format!(
                "Vacuous: nothing wrong was found, but the run proves little: {}.",
                unmet.join("; ")
            )
        }
        Conclusion::Unknown => format!(
            "Unknown: {}.",
            said.shortage.unwrap_or(
                "the workload sent the same value twice, so its messages cannot be told apart"
            )
        ),
        Conclusion::Valid => valid(said),
    }
}

const LOSSES: [Kind; 3] = [Kind::LostWrite, Kind::LostTail, Kind::Vanished];

fn invalid(said: &Said) -> String {
    let mut parts = Vec::new();
    let losses: u64 = LOSSES
        .iter()
        .filter_map(|&kind| said.findings.get(kind))
        .map(|f| f.total)
        .sum();
    if losses > 0 {
        // One message may be lost by several definitions at once.
        let lost = said.lost.min(losses);
        let verb = if lost == 1 {
            "message was"
        } else {
            "messages were"
        };
        parts.push(format!(
            "{} acknowledged or delivered {verb} lost",
            grouped(lost)
        ));
    }
    for (kind, found) in said.findings.forbidden() {
        if !LOSSES.contains(&kind) && kind != Kind::Unseen {
            parts.push(phrase(kind, found.total));
        }
    }
    if parts.is_empty() {
        parts.push(phrase(Kind::Unseen, said.findings.total(Kind::Unseen)));
    }
    let more = parts.len().saturating_sub(4);
    parts.truncate(4);
    let mut text = format!("Invalid: {}", joined(&parts));
    if more > 0 {
        let kinds = if more == 1 { "kind" } else { "kinds" };
        text += &format!(", and {more} more {kinds} of anomaly");
    }
    if losses > 0 && said.counts.acknowledged > 0 {
        text += &format!(" (of {} acknowledged)", grouped(said.counts.acknowledged));
    }
    text + "."
}

fn stalled(said: &Said) -> String {
    let parts: Vec<_> = [Kind::Unseen, Kind::NotRecovered]
        .into_iter()
        .filter_map(|kind| {
            said.findings
                .get(kind)
                .map(|found| phrase(kind, found.total))
        })
        .collect();
    format!("Stalled: nothing is proven lost, but {}.", joined(&parts))
}

fn valid(said: &Said) -> String {
    let counts = said.counts;
    let read_back = match counts.passes {
        0 => "were read",
        1 => "were read back",
        2 => "were read back, twice",
        _ => "were read back, again and again",
    };
    let mut losses = said.findings.allowed();
    let mut text = match losses.any(|(kind, _)| LOSSES.contains(&kind)) {
        // Not all of them, then; how many is said at the end.
        true => format!(
            "Valid: {} messages were acknowledged",
            grouped(counts.acknowledged)
        ),
        false => format!(
            "Valid: all {} acknowledged messages {read_back}",
            grouped(counts.acknowledged)
        ),
    };
    let faults = said
        .faults
        .iter()
        .filter(|fault| fault.effective.is_some())
        .count();
    if faults > 0 {
        let changes = counts.leader_changes;
        let plural = if faults == 1 { "" } else { "s" };
        text += &format!(", through {faults} fault{plural}");
        if changes > 0 {
            text += &format!(
                " and {} change{} of leader",
                grouped(changes),
                if changes == 1 { "" } else { "s" }
            );
        }
    }
    let allowed = allowed(said);
    match allowed.is_empty() {
        true => text + "; nothing was lost, duplicated, reordered or invented.",
        false => text + &format!("; allowed by these settings: {}.", joined(&allowed)),
    }
}

/// What would be grave, had the settings promised otherwise.
fn allowed(said: &Said) -> Vec<String> {
    const GRAVE: [Kind; 5] = [
        Kind::InconsistentOffsets,
        Kind::Duplicate,
        Kind::StaleWatermark,
        Kind::NonmonotonicSend,
        Kind::IntNonmonotonicSend,
    ];
    let mut parts = Vec::new();
    if said
        .findings
        .allowed()
        .any(|(kind, _)| LOSSES.contains(&kind))
    {
        parts.push(format!("{} messages were lost", grouped(said.lost)));
    }
    for (kind, found) in said.findings.allowed() {
        if GRAVE.contains(&kind) {
            parts.push(phrase(kind, found.total));
        }
    }
    parts
}

fn joined(parts: &[String]) -> String {
    match parts {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined() {
        assert_eq!(joined(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }
}
