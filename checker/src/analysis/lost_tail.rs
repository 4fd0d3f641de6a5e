//! `lost-tail`: the log ends at or before a message that was acknowledged or read.
//!
//! The end is asked of the leader with the highest epoch seen, after the last complete pass over
//! the key, when nothing is being written any more; of several such answers the highest counts. A
//! history without a complete pass over the key was cut short, and proves nothing. It does not
//! matter who has read the message before: that is what tells a lost tail from a slow one.

use super::claims::Claims;
use super::facts::{Facts, NONE};
use super::findings::{About, Details, Findings};
use super::kind::Kind;
use super::lost_write::by_transaction;
use super::passes::{Passes, UNPROVEN};
use super::watermarks::{Answer, Watermarks};
use crate::history::KeyId;

/// Finds messages behind the end of their log.
pub(super) fn find(
    facts: &Facts,
    passes: &Passes,
    watermarks: &Watermarks,
    claims: &mut Claims,
    findings: &mut Findings,
) {
    for key in &facts.keys {
        let Some((answer, end)) = final_end(key.key, passes, watermarks) else {
            continue;
        };
        for (number, message) in key.messages.iter().enumerate() {
            let number = number as u32;
            let first = key.first(message);
            if first == NONE || passes.proven_at(key.key, number) == UNPROVEN {
                continue;
            }
            let offset = key.log.offsets[first as usize];
            if offset < end || passes.proven_at(key.key, number) > answer.invoked {
                continue;
            }
            claims.add(key.key, number);
            let about = About::message(key.key, message.read_ok())
                .transactional(by_transaction(facts, message));
            findings.add(Kind::LostTail, about, || {
                Details::new(facts.history)
                    .key(key.key)
                    .value(message.value)
                    .json("offset", offset)
                    .json("end", end)
                    .json("epoch", answer.sample.epoch)
                    .op("writer", message.writer())
                    .op("reader", message.first_reader())
                    .op("op", Some(answer.sample.op))
                    .finish()
            });
        }
    }
}

/// The log's end after the last pass, and the answer that says so.
pub fn final_end<'w>(
    key: KeyId,
    passes: &Passes,
    watermarks: &'w Watermarks,
) -> Option<(&'w Answer, i64)> {
    let last_pass = passes.of(key).iter().map(|pass| pass.completed).max()?;
    let answers = watermarks.of(key);
    let highest = answers.highest_epoch?;
    answers
        .answers
        .iter()
        .filter(|answer| answer.invoked > last_pass && answer.sample.epoch == Some(highest))
        .filter_map(|answer| answer.sample.high_watermark.map(|end| (answer, end)))
        .max_by_key(|&(_, end)| end)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn the_log_ends_too_early() {
        let findings = own("
            0 ok send x=1@0 x=2@1 x=3@2
            9 ok poll x:1@0,2@1
            1> drain
            1 ok poll x:1@0
            1< ok drain x=0..1
            sample x hw=1 epoch=7 asked=2
        ");
        let found = &findings.get(Kind::LostTail).expect("found").listed;
        assert_eq!(found.len(), 2, "one was read before, one never");
        assert_eq!(
            (&found[0].details["value"], &found[0].details["end"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(found[1].details["value"], json!(3));
        assert_eq!(findings.total(Kind::Unseen), 0);
    }

    #[test]
    fn slow_is_not_lost() {
        // No pass was completed; then the end is asked of a deposed leader; then of the right one.
        for samples in [
            "",
            "sample x hw=1 epoch=6 asked=1\n            sample x hw=3 epoch=7 asked=2",
        ] {
            let findings = own(&format!(
                "
            0 ok send x=1@0 x=2@1 x=3@2
            1> drain
            1 ok poll x:1@0
            1< {}
            {samples}
            ",
                if samples.is_empty() {
                    "info drain"
                } else {
                    "ok drain x=0..1"
                }
            ));
            assert_eq!(names(&findings), ["unseen"], "{samples}");
        }
    }
}
