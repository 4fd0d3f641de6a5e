//! `nonmonotonic-poll`: a consumer went back, or read a message again.
//!
//! As `poll-skip`, but the later message stands at or before the earlier one. Polls that did not
//! end ok are judged and move nothing: the consumer of an aborted transaction rewinds.

use super::facts::Facts;
use super::findings::{About, Details, Findings};
use super::kind::Kind;
use super::rebalances::Rebalances;
use super::steps::Steps;

/// Finds them among the steps.
pub(super) fn find(facts: &Facts, steps: &Steps, rebalances: &Rebalances, findings: &mut Findings) {
    for step in steps.across_polls.iter().filter(|step| step.delta() < 1) {
        let about = About::from(step.key).inexcusable(rebalances.contiguous(facts, step));
        findings.add(Kind::NonmonotonicPoll, about, || {
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
    fn the_second_poll_goes_back() {
        let findings = own("
            0 ok send x=1@0 x=2@1
            1 ok poll x:1@0,2@1
            1 ok poll x:2@1
        ");
        let found = &findings.get(Kind::NonmonotonicPoll).expect("found").listed[0].details;
        assert_eq!(
            (&found["delta"], &found["values"]),
            (&json!(0), &json!([2, 2]))
        );
        assert_eq!(found["ops"], json!([3, 5]));
    }

    #[test]
    fn an_aborted_poll_rewinds_and_so_does_a_seek() {
        let findings = own(r#"
            0 ok send x=1@0 x=2@1
            1 ok poll x:1@0
            1 fail poll x:2@1
            1 ok poll x:2@1
            {"process":1,"type":"ok","f":"assign","value":["x"],"seek-to-beginning?":true}
            1 ok poll x:1@0
        "#);
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
