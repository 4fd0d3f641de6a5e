//! `poll-skip`: a consumer passed over messages between two polls.
//!
//! For each process and key: the last message of the last ok operation that read the key, against
//! the first of the next operation of any type that reads it, stand more than one index apart. The
//! messages between them are known to exist (somebody read them, or was told their offsets).
//! Control records and other gaps leave no index, so they skip nothing. See [`super::steps`] for
//! what an assign forgets, and [`super::rebalances`] for what a subscription excuses.

use super::facts::Facts;
use super::findings::{About, Details, Findings};
use super::kind::Kind;
use super::rebalances::Rebalances;
use super::steps::Steps;

/// Finds them among the steps.
pub(super) fn find(facts: &Facts, steps: &Steps, rebalances: &Rebalances, findings: &mut Findings) {
    for step in steps.across_polls.iter().filter(|step| step.delta() > 1) {
        let about = About::from(step.key).inexcusable(rebalances.contiguous(facts, step));
        findings.add(Kind::PollSkip, about, || {
            Details::new(facts.history)
                .key(step.key)
                .json("delta", step.delta())
                .values("skipped", step.skipped(facts))
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
    fn the_second_poll_skips_a_message() {
        let findings = own("
            0 ok send x=1@0 x=2@1 x=3@2
            1 ok poll x:1@0
            1 ok poll x:3@2
        ");
        let found = &findings.get(Kind::PollSkip).expect("found").listed[0].details;
        assert_eq!(
            (&found["delta"], &found["skipped"]),
            (&json!(2), &json!([2]))
        );
        assert_eq!(found["ops"], json!([3, 5]));
    }

    #[test]
    fn gaps_without_messages_and_new_assignments_skip_nothing() {
        let findings = own("
            0 ok send x=1@0 x=2@1 x=3@5
            1 ok poll x:1@0,2@1
            1 ok poll x:3@5
            2 ok poll x:1@0
            2 ok assign y
            2 ok assign x
            2 ok poll x:3@5
        ");
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
