//! What each anomaly means, in the words of somebody who uses the broker.

use crate::analysis::Kind;

/// Type, what to say of one, what to say of several.
type Phrase = (Kind, &'static str, &'static str);

const LOST: (&str, &str) = (
    "acknowledged message was lost",
    "acknowledged messages were lost",
);
const SKIPPED: (&str, &str) = (
    "time a consumer skipped messages",
    "times a consumer skipped messages",
);
const BACKWARDS: (&str, &str) = (
    "time a consumer was sent backwards",
    "times a consumer was sent backwards",
);
const DISORDER: (&str, &str) = (
    "time a producer's messages were stored out of order",
    "times a producer's messages were stored out of order",
);

const PHRASES: &[Phrase] = &[
    (Kind::LostWrite, LOST.0, LOST.1),
    (Kind::LostTail, LOST.0, LOST.1),
    (Kind::Vanished, LOST.0, LOST.1),
    (
        Kind::InconsistentOffsets,
        "offset held two different messages",
        "offsets held two different messages each",
    ),
    (
        Kind::ReplicaDivergence,
        "committed offset differs between two brokers",
        "committed offsets differ between two brokers",
    ),
    (
        Kind::Duplicate,
        "message was seen at two offsets",
        "messages were seen at two offsets",
    ),
    (
        Kind::G1a,
        "message was delivered although its send had failed",
        "messages were delivered although their sends had failed",
    ),
    (
        Kind::UnwrittenRead,
        "message was delivered that nobody sent, or damaged",
        "messages were delivered that nobody sent, or damaged",
    ),
    (
        Kind::InvalidOffset,
        "offset cannot be real",
        "offsets cannot be real",
    ),
    (
        Kind::DualLeader,
        "partition had two leaders at once",
        "times a partition had two leaders at once",
    ),
    (
        Kind::EpochRegression,
        "time a broker fell back to an older leadership",
        "times a broker fell back to an older leadership",
    ),
    (
        Kind::StaleWatermark,
        "time a broker named an end of the log before a message that it had acknowledged",
        "times a broker named an end of the log before a message that it had acknowledged",
    ),
    (
        Kind::WatermarkRegression,
        "time the readable end of a log went back",
        "times the readable end of a log went back",
    ),
    (
        Kind::VisibleAboveWatermark,
        "time a consumer had been given more than the log's readable end covers",
        "times a consumer had been given more than the log's readable end covers",
    ),
    (
        Kind::TornTransaction,
        "transaction became visible in part only",
        "transactions became visible in part only",
    ),
    (
        Kind::ZombieWrite,
        "message of a fenced producer became visible",
        "messages of fenced producers became visible",
    ),
    (
        Kind::DoubleOwnership,
        "time two members of a group owned one partition",
        "times two members of a group owned one partition",
    ),
    (
        Kind::DoubleConsume,
        "message was consumed by two committed transactions",
        "messages were consumed by two committed transactions",
    ),
    (
        Kind::CommittedOffsetRegression,
        "time a group's committed offset went back",
        "times a group's committed offset went back",
    ),
    (
        Kind::CommittedOffsetOverrun,
        "time a group's committed offset was ahead of what it was given",
        "times a group's committed offset was ahead of what it was given",
    ),
    (
        Kind::PrecommittedRead,
        "transaction read its own messages",
        "transactions read their own messages",
    ),
    (Kind::PollSkip, SKIPPED.0, SKIPPED.1),
    (Kind::IntPollSkip, SKIPPED.0, SKIPPED.1),
    (Kind::NonmonotonicPoll, BACKWARDS.0, BACKWARDS.1),
    (Kind::IntNonmonotonicPoll, BACKWARDS.0, BACKWARDS.1),
    (Kind::NonmonotonicSend, DISORDER.0, DISORDER.1),
    (Kind::IntNonmonotonicSend, DISORDER.0, DISORDER.1),
    (
        Kind::Unseen,
        "acknowledged message was not read by the end",
        "acknowledged messages were not read by the end",
    ),
    (
        Kind::NotRecovered,
        "partition did not recover after the last fault",
        "partitions did not recover after the last fault",
    ),
    (
        Kind::NonUniqueWrite,
        "value was sent twice",
        "values were sent twice",
    ),
];

/// So many of a type, in words. Cycles have their name: there is no shorter word for them.
#[must_use]
pub(super) fn phrase(kind: Kind, total: u64) -> String {
    if kind == Kind::EmptyTransactionGraph {
        return "no message flowed from a producer to a consumer".to_owned();
    }
    let n = grouped(total);
    match PHRASES.iter().find(|phrase| phrase.0 == kind) {
        Some((_, one, _)) if total == 1 => format!("{n} {one}"),
        Some((_, _, many)) => format!("{n} {many}"),
        None => {
            let plural = if total == 1 { "cycle" } else { "cycles" };
            format!(
                "{n} {} {plural}: orders that contradict each other",
                kind.name()
            )
        }
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
    fn numbers_are_grouped() {
        assert_eq!(
            [1, 999, 1000, 1_234_567].map(grouped),
            ["1", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn one_and_many() {
        assert_eq!(
            phrase(Kind::Duplicate, 1),
            "1 message was seen at two offsets"
        );
        assert_eq!(
            phrase(Kind::Duplicate, 1200),
            "1,200 messages were seen at two offsets"
        );
        assert!(phrase(Kind::G1c, 2).contains("G1c"));
    }
}
