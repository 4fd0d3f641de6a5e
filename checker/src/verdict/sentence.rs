//! The verdict in one sentence, for a person who has never heard of any of this.

use super::faults::Fault;
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
    let more = parts.len().saturating_sub(3);
    parts.truncate(3);
    let mut text = format!("Invalid: {}", joined(&parts));
    if more > 0 {
        text += &format!(", and {more} more kinds of anomaly");
    }
    if losses > 0 && said.counts.acknowledged > 0 {
        text += &format!(" (of {} acknowledged)", grouped(said.counts.acknowledged));
    }
    text + "."
}

/// What an anomaly means, in the words of somebody who uses the broker.
fn phrase(kind: Kind, total: u64) -> String {
    let n = grouped(total);
    if kind == Kind::EmptyTransactionGraph {
        return "no message flowed from a producer to a consumer".to_owned();
    }
    match words_of_logs(kind).or_else(|| words_of_clients(kind)) {
        Some((one, many)) => format!("{n} {}", if total == 1 { one } else { many }),
        None => format!("{n} {} found", kind.name()),
    }
}

/// What went wrong with the log, for one and for many.
fn words_of_logs(kind: Kind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        Kind::LostWrite | Kind::LostTail | Kind::Vanished => (
            "acknowledged message was lost",
            "acknowledged messages were lost",
        ),
        Kind::InconsistentOffsets => (
            "offset held two different messages",
            "offsets held two different messages each",
        ),
        Kind::ReplicaDivergence => (
            "committed offset differs between two brokers",
            "committed offsets differ between two brokers",
        ),
        Kind::Duplicate => ("message was stored twice", "messages were stored twice"),
        Kind::G1a => (
            "message was delivered although its send had failed",
            "messages were delivered although their sends had failed",
        ),
        Kind::UnwrittenRead => (
            "message was delivered that nobody sent, or damaged",
            "messages were delivered that nobody sent, or damaged",
        ),
        Kind::InvalidOffset => ("offset cannot be real", "offsets cannot be real"),
        Kind::DualLeader => (
            "partition had two leaders at once",
            "times a partition had two leaders at once",
        ),
        Kind::EpochRegression => (
            "time a broker fell back to an older leadership",
            "times a broker fell back to an older leadership",
        ),
        Kind::StaleWatermark => (
            "time a broker named an end of the log before a message that it had acknowledged",
            "times a broker named an end of the log before a message that it had acknowledged",
        ),
        Kind::WatermarkRegression => (
            "time the readable end of a log went back",
            "times the readable end of a log went back",
        ),
        Kind::VisibleAboveWatermark => (
            "time a consumer had been given more than the log's readable end covers",
            "times a consumer had been given more than the log's readable end covers",
        ),
        _ => return None,
    })
}

/// What clients were served, for one and for many.
fn words_of_clients(kind: Kind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        Kind::PrecommittedRead => (
            "transaction read its own messages",
            "transactions read their own messages",
        ),
        Kind::PollSkip | Kind::IntPollSkip => (
            "time a consumer skipped messages",
            "times a consumer skipped messages",
        ),
        Kind::NonmonotonicPoll | Kind::IntNonmonotonicPoll => (
            "time a consumer was sent backwards",
            "times a consumer was sent backwards",
        ),
        Kind::NonmonotonicSend | Kind::IntNonmonotonicSend => (
            "time a producer's messages were stored out of order",
            "times a producer's messages were stored out of order",
        ),
        Kind::Unseen => (
            "acknowledged message was not read by the end",
            "acknowledged messages were not read by the end",
        ),
        Kind::NotRecovered => (
            "partition did not recover after the last fault",
            "partitions did not recover after the last fault",
        ),
        Kind::NonUniqueWrite => ("value was sent twice", "values were sent twice"),
        _ => return None,
    })
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
    let mut text = format!(
        "Valid: all {} acknowledged messages {read_back}",
        grouped(counts.acknowledged)
    );
    let faults = said
        .faults
        .iter()
        .filter(|fault| fault.effective.is_some())
        .count();
    if faults > 0 {
        let changes: u64 = said
            .faults
            .iter()
            .map(|fault| fault.window.leader_changes)
            .sum();
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
    text + "; nothing was lost, duplicated, reordered or invented."
}

fn joined(parts: &[String]) -> String {
    match parts {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

/// 1234567 as 1,234,567.
#[must_use]
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_parts_joined() {
        assert_eq!(
            ["1", "999", "1,000", "1,234,567"],
            [1, 999, 1000, 1_234_567].map(grouped).as_slice()
        );
        assert_eq!(joined(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }

    #[test]
    fn every_type_has_a_phrase() {
        for &kind in Kind::ALL {
            assert!(!phrase(kind, 1).is_empty() && !phrase(kind, 2).is_empty());
        }
    }
}
