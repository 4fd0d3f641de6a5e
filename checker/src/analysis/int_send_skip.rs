//! `int-send-skip`: others' messages stand between one operation's sends.
//!
//! Within one completion of any type, two consecutive sends to a key stand more than one index
//! apart. Kafka does not isolate writes, so every profile allows it; it is reported because it
//! shows how much the producers interleaved.

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use super::steps::Steps;

/// Finds them among the steps.
pub(super) fn find(facts: &Facts, steps: &Steps, findings: &mut Findings) {
    for step in steps.within_sends.iter().filter(|step| step.delta() > 1) {
        findings.add(Kind::IntSendSkip, step.key, || {
            Details::new(facts.history)
                .key(step.key)
                .values("values", [step.from.0.value, step.to.0.value])
                .json("delta", step.delta())
                .values("skipped", step.skipped(facts))
                .op("op", Some(step.to_op))
                .finish()
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn another_producer_came_between() {
        let findings = own("
            0 ok send x=1@0 x=2@2
            1 ok send x=3@1
            2 ok poll x:1@0,3@1,2@2
        ");
        let found = &findings.get(Kind::IntSendSkip).expect("found").listed[0].details;
        assert_eq!(
            (&found["delta"], &found["skipped"]),
            (&json!(2), &json!([3]))
        );
        assert_eq!(
            (&found["values"], &found["op"]),
            (&json!([1, 2]), &json!(1))
        );
    }

    #[test]
    fn a_gap_without_messages_is_none() {
        let findings = own("
            0 ok send x=1@0 x=2@2
            1 ok poll x:1@0,2@2
        ");
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
