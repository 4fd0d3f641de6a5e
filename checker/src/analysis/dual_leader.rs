//! `dual-leader`: two brokers claim to lead one partition in one epoch.
//!
//! An epoch belongs to one leader for ever, so the answers need not be near each other in time.
//! Who answers as a leader claims it; an answer that names another broker claims it for that one.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use super::watermarks::Watermarks;
use crate::history::OpId;

/// Finds epochs with two leaders.
pub(super) fn find(facts: &Facts, watermarks: &Watermarks, findings: &mut Findings) {
    for (key, answers) in watermarks.iter() {
        let mut leaders: BTreeMap<i64, Vec<(i64, OpId)>> = BTreeMap::new();
        for answer in &answers.answers {
            let sample = &answer.sample;
            let (Some(epoch), Some(leader)) = (sample.epoch, sample.leader.or(sample.asked)) else {
                continue;
            };
            let claims = leaders.entry(epoch).or_default();
            if claims.iter().all(|&(known, _)| known != leader) {
                claims.push((leader, sample.op));
            }
        }
        for (epoch, claims) in leaders.into_iter().filter(|(_, claims)| claims.len() > 1) {
            findings.add(Kind::DualLeader, key, || {
                let ops: Vec<_> = claims.iter().map(|&(_, op)| op).collect();
                let leaders: Vec<_> = claims.iter().map(|&(leader, _)| leader).collect();
                Details::new(facts.history)
                    .key(key)
                    .json("epoch", epoch)
                    .json("leaders", leaders)
                    .ops("ops", &ops)
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
    fn two_brokers_in_one_epoch() {
        let findings = own("
            sample x hw=0 epoch=3 leader=1 asked=1
            sample x hw=0 epoch=3 leader=2 asked=2
        ");
        let found = &findings.get(Kind::DualLeader).expect("found").listed[0].details;
        assert_eq!(
            (&found["epoch"], &found["leaders"]),
            (&json!(3), &json!([1, 2]))
        );
    }

    #[test]
    fn a_deposed_leader_claims_an_older_epoch() {
        let findings = own("
            sample x hw=0 epoch=4 leader=2 asked=2
            sample x hw=0 epoch=3 leader=1 asked=1
            sample y hw=0 epoch=3 leader=2 asked=2
        ");
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
