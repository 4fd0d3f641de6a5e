//! `invalid-offset`: an acknowledgement or a record carries an offset that cannot be.
//!
//! Negative, or absurd: at or beyond 2^53 (no log gets there: a record each nanosecond for a
//! hundred days), or further than 2^32 from every other offset of its key below it (four thousand
//! million records that nobody saw). Negative offsets stand in no log, so no other analysis sees
//! them. (The spurious zero offsets of Bufstream 0.1.0 are `duplicate` and `inconsistent-offsets`.)

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use crate::history::{KeyId, Outcome, RunKind};

const OFFSET_MAX: i64 = 1 << 53;
const GAP_MAX: i64 = 1 << 32;

/// Finds offsets that cannot be.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    let limits: Vec<i64> = facts
        .keys
        .iter()
        .map(|key| limit(&key.log.offsets))
        .collect();
    let absurd = |key: KeyId, offset: i64| offset < 0 || offset >= limits[key.at()];
    for (id, op) in facts.data_ops() {
        for run in facts.history.runs(op) {
            let sent = run.kind == RunKind::Send;
            if op.outcome == Outcome::Open || (!sent && run.kind != RunKind::Poll) {
                continue;
            }
            for record in facts.history.records(run) {
                let Some(offset) = record.offset().filter(|&offset| absurd(run.key, offset)) else {
                    continue;
                };
                findings.add(Kind::InvalidOffset, run.key, || {
                    Details::new(facts.history)
                        .key(run.key)
                        .value(record.value)
                        .json("offset", offset)
                        .op("op", Some(id))
                        .finish()
                });
            }
        }
    }
}

/// The lowest offset that is absurd, given the offsets seen (ascending).
fn limit(offsets: &[i64]) -> i64 {
    let gap = offsets.windows(2).find(|pair| pair[1] - pair[0] > GAP_MAX);
    gap.map_or(OFFSET_MAX, |pair| pair[1]).min(OFFSET_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn negative_and_absurd_offsets() {
        let findings = own("
            0 ok send x=1@-1 x=2@0 x=3@9223372036854775807
            1 ok poll x:2@0,4@99999999999
        ");
        let offsets: Vec<_> = findings
            .get(Kind::InvalidOffset)
            .expect("found")
            .listed
            .iter()
            .map(|found| found.details["offset"].as_i64().expect("an integer"))
            .collect();
        assert_eq!(offsets, [-1, i64::MAX, 99_999_999_999]);
    }

    #[test]
    fn a_log_may_begin_anywhere_and_have_gaps() {
        let findings = own("
            0 ok send x=1@99999999999 x=2@100000000100
            1 ok poll x:1@99999999999,2@100000000100
        ");
        assert!(names(&findings).is_empty());
    }
}
