//! `duplicate`: one message stands at two or more offsets of its key.
//!
//! An offset counts wherever it comes from: seen by any poll, or told to the producer. So an
//! acknowledgement with one offset and a read with another is a duplicate too. In our own dialect
//! a message that the workload sent twice may stand twice (`non-unique-write`).

use super::facts::{Dialect, Facts};
use super::findings::{Details, Findings};
use super::kind::Kind;

/// Finds duplicates.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    for key in &facts.keys {
        // Nearly no message is one, so the log is searched only for those that are.
        let mut twice: Vec<u32> = (0..key.messages.len() as u32)
            .filter(|&number| {
                let message = &key.messages[number as usize];
                key.first(message) != key.last(message)
                    && (message.sends < 2 || facts.dialect == Dialect::Jepsen)
            })
            .collect();
        if twice.is_empty() {
            continue;
        }
        twice.sort_by_key(|&number| (key.first(&key.messages[number as usize]), number));
        let mut offsets: Vec<(u32, i64)> = key
            .log
            .entries()
            .filter(|&(_, number)| {
                let message = &key.messages[number as usize];
                key.first(message) != key.last(message)
            })
            .map(|(index, number)| (number, key.log.offsets[index as usize]))
            .collect();
        offsets.sort_unstable();
        for number in twice {
            let from = offsets.partition_point(|&(other, _)| other < number);
            let to = offsets.partition_point(|&(other, _)| other <= number);
            let offsets: Vec<_> = offsets[from..to]
                .iter()
                .map(|&(_, offset)| offset)
                .collect();
            findings.add(Kind::Duplicate, key.key, || {
                Details::new(facts.history)
                    .key(key.key)
                    .value(key.messages[number as usize].value)
                    .json("count", offsets.len())
                    .json("offsets", offsets.clone())
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
    fn acknowledged_here_and_read_there() {
        let findings = own("
            0 ok send x=1@0 x=2@1
            1 ok poll x:1@0,2@1,1@2
        ");
        let duplicate = &findings.get(Kind::Duplicate).expect("found").listed[0].details;
        assert_eq!(duplicate["value"], json!(1));
        assert_eq!(
            (&duplicate["count"], &duplicate["offsets"]),
            (&json!(2), &json!([0, 2]))
        );
    }

    #[test]
    fn read_by_two_consumers_is_no_duplicate() {
        let findings = own("
            0 ok send x=1@0
            0 ok send y=1@0
            1 ok poll x:1@0 y:1@0
            2 ok poll x:1@0
        ");
        assert!(names(&findings).is_empty());
    }
}
