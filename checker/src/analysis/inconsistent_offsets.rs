//! `inconsistent-offsets`: one offset of a key holds two or more different messages.
//!
//! Polls of any outcome count: a consumer must never be handed unsafe data, whether or not its own
//! transaction commits. Two acknowledgements with one offset count before anything is read.

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;

/// Finds inconsistent offsets.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    let table = facts.history.values();
    for key in &facts.keys {
        for conflict in key.log.conflicts.chunk_by(|a, b| a.0 == b.0) {
            let index = conflict[0].0;
            let others = conflict.iter().map(|&(_, number)| number);
            let numbers = std::iter::once(key.log.order[index as usize]).chain(others);
            let mut values: Vec<_> = numbers
                .map(|number| key.messages[number as usize].value)
                .collect();
            values.sort_by(|&a, &b| table.compare(a, b));
            findings.add(Kind::InconsistentOffsets, key.key, || {
                Details::new(facts.history)
                    .key(key.key)
                    .json("offset", key.log.offsets[index as usize])
                    .json("index", index)
                    .values("values", values)
                    .finish()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn two_acknowledgements_of_one_offset() {
        let findings = own("
            0 ok send x=5@3
            1 info send x=4@3 x=6
        ");
        let found = &findings
            .get(Kind::InconsistentOffsets)
            .expect("found")
            .listed[0]
            .details;
        assert_eq!((&found["offset"], &found["index"]), (&json!(3), &json!(0)));
        assert_eq!(found["values"], json!([4, 5]));
    }

    #[test]
    fn an_offset_of_a_message_that_was_not_acknowledged_claims_nothing() {
        let findings = own("
            0 ok send x=1@0
            1 info txn x=2@0
            2 ok poll x:1@0
        ");
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
