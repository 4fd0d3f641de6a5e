//! `int-nonmonotonic-poll`: one operation's polls went back.
//!
//! As `int-poll-skip`, but the later message stands at or before the earlier one; reading one
//! message twice is a step of zero.

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use super::steps::Steps;

/// Finds them among the steps.
pub(super) fn find(facts: &Facts, steps: &Steps, findings: &mut Findings) {
    for step in steps.within_polls.iter().filter(|step| step.delta() < 1) {
        findings.add(Kind::IntNonmonotonicPoll, step.key, || {
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
    fn one_poll_goes_back() {
        let findings = own("
            0 ok send x=1@0 x=2@1
            1 ok poll x:2@1,1@0
        ");
        let found = &findings
            .get(Kind::IntNonmonotonicPoll)
            .expect("found")
            .listed[0]
            .details;
        assert_eq!(
            (&found["delta"], &found["values"]),
            (&json!(-1), &json!([2, 1]))
        );
    }

    #[test]
    fn other_keys_do_not_matter() {
        let findings = own("
            0 ok send x=1@0 x=2@1 y=1@0
            1 ok poll x:1@0,2@1 y:1@0
        ");
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
