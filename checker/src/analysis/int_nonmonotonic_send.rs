//! `int-nonmonotonic-send`: one operation's sends stand in the log in another order.
//!
//! Within one completion of any type, two consecutive sends to a key stand in the log the other
//! way round (or at one offset).

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use super::steps::Steps;

/// Finds them among the steps.
pub(super) fn find(facts: &Facts, steps: &Steps, findings: &mut Findings) {
    for step in steps.within_sends.iter().filter(|step| step.delta() < 1) {
        findings.add(Kind::IntNonmonotonicSend, step.key, || {
            Details::new(facts.history)
                .key(step.key)
                .values("values", [step.from.0.value, step.to.0.value])
                .json("delta", step.delta())
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
    fn the_second_message_stands_first() {
        let findings = own("0 ok send x=1@1 x=2@0");
        let found = &findings
            .get(Kind::IntNonmonotonicSend)
            .expect("found")
            .listed[0]
            .details;
        assert_eq!(
            (&found["delta"], &found["values"]),
            (&json!(-1), &json!([1, 2]))
        );
        assert_eq!(found["op"], json!(1));
    }

    #[test]
    fn in_order_with_other_keys_between() {
        let findings = own("
            0 ok send x=1@0 y=1@0 x=2@1
            1 ok poll x:1@0,2@1 y:1@0
        ");
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
