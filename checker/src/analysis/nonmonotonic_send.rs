//! `nonmonotonic-send`: a producer's later send stands before its earlier one.
//!
//! For each process and key: the last message of its last ok or info operation that sent to the
//! key, against the first of its next, stand in the log the other way round.

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use super::steps::Steps;

/// Finds them among the steps.
pub(super) fn find(facts: &Facts, steps: &Steps, findings: &mut Findings) {
    for step in steps.across_sends.iter().filter(|step| step.delta() < 1) {
        findings.add(Kind::NonmonotonicSend, step.key, || {
            Details::new(facts.history)
                .key(step.key)
                .values("values", [step.from.0.value, step.to.0.value])
                .json("delta", step.delta())
                .ops("ops", &[step.from_op, step.to_op])
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
    fn the_second_send_stands_first() {
        let findings = own("
            0 ok send x=1@7
            0 ok send x=2@3
        ");
        let found = &findings.get(Kind::NonmonotonicSend).expect("found").listed[0].details;
        assert_eq!(
            (&found["delta"], &found["values"]),
            (&json!(-1), &json!([1, 2]))
        );
        assert_eq!(found["ops"], json!([1, 3]));
    }

    #[test]
    fn other_producers_may_stand_anywhere() {
        let findings = own("
            0 ok send x=1@7
            1 ok send x=2@3
            0 ok send x=3@8
            2 ok poll x:2@3,1@7,3@8
        ");
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
