//! `replica-divergence`: two replicas hold different records for one offset below both watermarks.
//!
//! Below its high watermark a replica's log is committed and never changes, so the audits need not
//! be of one moment. Different: another value, another epoch, or a hole in one log where the other
//! holds a record (between that log's own first and last record: its start may have been deleted,
//! its end may lag). An audit without a high watermark proves nothing.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use crate::history::{Audit, AuditRecord, KeyId};

/// Finds replicas that hold different records.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    let mut by_key: BTreeMap<KeyId, Vec<&Audit>> = BTreeMap::new();
    for audit in facts
        .history
        .audits
        .iter()
        .filter(|audit| audit.high_watermark.is_some())
    {
        by_key.entry(audit.key).or_default().push(audit);
    }
    for audits in by_key.values() {
        for (at, a) in audits.iter().enumerate() {
            for b in &audits[at + 1..] {
                compare(facts, a, b, findings);
            }
        }
    }
}

/// Walks two logs side by side, both sorted by offset.
fn compare(facts: &Facts, a: &Audit, b: &Audit, findings: &mut Findings) {
    let Some((from, to)) = common_range(a, b) else {
        return;
    };
    let (left, right) = (committed(a, from, to), committed(b, from, to));
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        let (x, y) = (left.get(i), right.get(j));
        let offset = match (x, y) {
            (Some(x), Some(y)) => x.offset.min(y.offset),
            (Some(one), None) | (None, Some(one)) => one.offset,
            (None, None) => break,
        };
        let x = x.filter(|record| record.offset == offset);
        let y = y.filter(|record| record.offset == offset);
        i += usize::from(x.is_some());
        j += usize::from(y.is_some());
        if x.map(content) != y.map(content) {
            findings.add(Kind::ReplicaDivergence, a.key, || {
                let values = facts.history.values();
                let held = |record: Option<&AuditRecord>| {
                    record.map(|record| (record.epoch, values.json(record.value)))
                };
                let ((x, y), mut ops) = ((held(x), held(y)), vec![a.op, b.op]);
                ops.dedup();
                Details::new(facts.history)
                    .key(a.key)
                    .json("offset", offset)
                    .json("brokers", vec![a.broker, b.broker])
                    .json(
                        "values",
                        vec![x.clone().map(|x| x.1), y.clone().map(|y| y.1)],
                    )
                    .json("epochs", vec![x.map(|x| x.0), y.map(|y| y.0)])
                    .ops("ops", &ops)
                    .finish()
            });
        }
    }
}

fn content(record: &AuditRecord) -> (i64, crate::history::Value) {
    (record.epoch, record.value)
}

/// Offsets that both logs speak for: below both watermarks, within both logs.
fn common_range(a: &Audit, b: &Audit) -> Option<(i64, i64)> {
    let bounds = |audit: &Audit| {
        let (first, last) = (audit.records.first()?.offset, audit.records.last()?.offset);
        Some((first, audit.high_watermark?.min(last.saturating_add(1))))
    };
    let ((first_a, end_a), (first_b, end_b)) = (bounds(a)?, bounds(b)?);
    Some((first_a.max(first_b), end_a.min(end_b)))
}

fn committed(audit: &Audit, from: i64, to: i64) -> &[AuditRecord] {
    let start = audit.records.partition_point(|record| record.offset < from);
    let end = audit.records.partition_point(|record| record.offset < to);
    &audit.records[start..end.max(start)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn another_record_and_a_hole() {
        let findings = own(r#"
            {"process":7,"type":"ok","f":"audit","value":{"x":{"broker":1,"high-watermark":4,"records":[[0,0,1],[1,0,2],[2,0,3],[3,1,4]]}}}
            {"process":7,"type":"ok","f":"audit","value":{"x":{"broker":2,"high-watermark":9,"records":[[0,0,1],[1,1,9],[3,1,4],[4,1,5]]}}}
        "#);
        let found = &findings.get(Kind::ReplicaDivergence).expect("found").listed;
        assert_eq!(found.len(), 2);
        assert_eq!(
            (&found[0].details["offset"], &found[0].details["values"]),
            (&json!(1), &json!([2, 9]))
        );
        assert_eq!(found[0].details["epochs"], json!([0, 1]));
        assert_eq!(
            (&found[1].details["offset"], &found[1].details["values"]),
            (&json!(2), &json!([3, null]))
        );
        assert_eq!(found[1].details["brokers"], json!([1, 2]));
    }

    #[test]
    fn above_a_watermark_and_beyond_an_end_logs_may_differ() {
        let findings = own(r#"
            {"process":7,"type":"ok","f":"audit","value":{"x":{"broker":1,"high-watermark":1,"records":[[0,0,1],[1,0,2],[2,0,3]]}}}
            {"process":7,"type":"ok","f":"audit","value":{"x":{"broker":2,"high-watermark":3,"records":[[0,0,1],[1,1,9]]}}}
            {"process":7,"type":"ok","f":"audit","value":{"x":{"broker":3,"high-watermark":3,"records":[]}}}
        "#);
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
