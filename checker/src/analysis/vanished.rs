//! `vanished`: a message that was there is missing from a later complete pass.
//!
//! It was acknowledged, or an ok poll returned it, before the pass was invoked; its offset lies in
//! the range of the pass and at or above the log's start; and the pass did not return it.
//! lost-write and unseen subtract whatever was ever read, so a loss after everything was read once
//! (a restart, a truncation) shows here alone. One finding for each message, of the first pass that
//! missed it.
//!
//! A message that was acknowledged without an offset is missing too, where a pass went over the
//! whole log: from its start to at least every watermark that was ever answered, one of them by
//! the leader with the highest epoch after the acknowledgement.

use super::claims::Claims;
use super::facts::{Facts, Message, NONE};
use super::findings::{About, Details, Findings};
use super::kind::Kind;
use super::lost_write::by_transaction;
use super::passes::{Pass, Passes, UNPROVEN};
use super::watermarks::{KeyAnswers, Watermarks};

/// Finds vanished messages.
pub(super) fn find(
    facts: &Facts,
    passes: &Passes,
    watermarks: &Watermarks,
    claims: &mut Claims,
    findings: &mut Findings,
) {
    for key in &facts.keys {
        let of_key = passes.of(key.key);
        if of_key.is_empty() {
            continue;
        }
        let answers = watermarks.of(key.key);
        for (number, message) in key.messages.iter().enumerate() {
            let number = number as u32;
            let proven = passes.proven_at(key.key, number);
            if proven == UNPROVEN {
                continue;
            }
            let first = key.first(message);
            let offset = (first != NONE).then(|| key.log.offsets[first as usize]);
            let missed = of_key.iter().position(|pass| {
                proven < pass.invoked
                    && !pass.returned(number)
                    && match offset {
                        Some(offset) => in_range(pass, offset, answers),
                        None => over_everything(pass, proven, answers),
                    }
            });
            let Some(missed) = missed else { continue };
            claims.add(key.key, number);
            let again = of_key[missed + 1..]
                .iter()
                .any(|pass| pass.returned(number));
            let about = About::message(key.key, message.read_ok())
                .transactional(by_transaction(facts, message));
            findings.add(Kind::Vanished, about, || {
                detail(facts, &of_key[missed], message, offset, again)
            });
        }
    }
}

pub(super) fn in_range(pass: &Pass, offset: i64, answers: &KeyAnswers) -> bool {
    (pass.drain.from..pass.drain.to).contains(&offset)
        && answers.log_start.is_none_or(|start| offset >= start)
}

pub(super) fn over_everything(pass: &Pass, proven: u32, answers: &KeyAnswers) -> bool {
    let asked_since = answers.answers.iter().any(|answer| {
        answer.invoked > proven
            && answer.sample.epoch.is_some()
            && answer.sample.epoch == answers.highest_epoch
            && answer.sample.high_watermark.is_some()
    });
    // A log of which nothing was deleted starts at 0.
    asked_since
        && answers.log_start.is_none_or(|start| start == 0)
        && pass.drain.from == 0
        && answers
            .highest_watermark
            .is_some_and(|watermark| pass.drain.to >= watermark)
}

fn detail(
    facts: &Facts,
    pass: &Pass,
    message: &Message,
    offset: Option<i64>,
    again: bool,
) -> super::findings::Finding {
    Details::new(facts.history)
        .key(pass.drain.key)
        .value(message.value)
        .json("offset", offset)
        .json("range", vec![pass.drain.from, pass.drain.to])
        .json("returned-later", again)
        .op("writer", message.writer())
        .op("reader", message.first_reader())
        .op("op", Some(pass.drain.op))
        .finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn read_once_and_gone_after_the_restart() {
        let findings = own("
            0 ok send x=1@0 x=2@1 x=3@2
            1> drain
            1 ok poll x:1@0,2@1,3@2
            1< ok drain x=0..3
            2> drain
            2 ok poll x:1@0,3@2
            2< ok drain x=0..3
        ");
        assert_eq!(findings.total(Kind::Vanished), 1);
        let found = &findings.get(Kind::Vanished).expect("found").listed[0].details;
        assert_eq!((&found["value"], &found["offset"]), (&json!(2), &json!(1)));
        assert_eq!((&found["writer"], &found["op"]), (&json!(1), &json!(9)));
    }

    #[test]
    fn acknowledged_without_an_offset_and_nowhere() {
        let findings = own("
            0 ok send x=1@0 x=2
            sample x hw=1 epoch=0 asked=1
            1> drain
            1 ok poll x:1@0
            1< ok drain x=0..1
        ");
        let found = &findings.get(Kind::Vanished).expect("found").listed[0].details;
        assert_eq!(
            (&found["value"], &found["offset"]),
            (&json!(2), &json!(null))
        );
        assert_eq!(findings.total(Kind::Unseen), 0, "its loss is proven");
    }

    #[test]
    fn what_a_pass_does_not_speak_for() {
        let findings = own("
            0 ok send x=1@0 x=2@1 x=3@2
            9 ok poll x:1@0,2@1,3@2
            1> drain
            1 ok poll x:1@0
            1< info drain
            2> drain
            2 ok poll x:2@1
            2< ok drain x=1..2
            3> drain
            3 ok poll x:1@0,2@1,3@2
            0 ok send x=4@3
            4 ok poll x:4@3
            3< ok drain x=0..4
        ");
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
