//! `int-poll-skip`: one operation's polls passed over messages.
//!
//! Within one operation of any type, two consecutive messages of a key, over all its polls, stand
//! more than one index apart. Not judged for keys that were rebalanced meanwhile.

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use super::steps::Steps;

/// Finds them among the steps.
pub(super) fn find(facts: &Facts, steps: &Steps, findings: &mut Findings) {
    for step in steps.within_polls.iter().filter(|step| step.delta() > 1) {
        findings.add(Kind::IntPollSkip, step.key, || {
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
    fn one_poll_skips_a_message() {
        let findings = own("
            0 ok send x=1@0 x=2@1 x=3@2
            1 ok poll x:1@0,3@2
        ");
        let found = &findings.get(Kind::IntPollSkip).expect("found").listed[0].details;
        assert_eq!(
            (&found["delta"], &found["skipped"]),
            (&json!(2), &json!([2]))
        );
        assert_eq!(
            (&found["values"], &found["op"]),
            (&json!([1, 3]), &json!(3))
        );
    }

    #[test]
    fn a_rebalance_explains_it() {
        let findings = own(r#"
            0 ok send x=1@0 x=2@1 x=3@2
            {"process":1,"type":"ok","f":"poll","value":[["poll",{"x":[[0,1],[2,3]]}]],"rebalance-log":[{"keys":["x"]}]}
            2 ok poll x:1@0,2@1 | x:3@2
        "#);
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
