//! `not-recovered`: the cluster made no progress after the last fault was healed.
//!
//! From the moment at which the last fault was verified as healed, or the first attempt to send to
//! a key after it if that is later, an acknowledgement for that key must complete within the limit.
//! Judged only where the history goes on for longer than that: a run that ended earlier may have
//! been about to recover. Keys to which nobody sent any more are not judged.

use std::time::Duration;

use super::facts::{Facts, acknowledged};
use super::findings::{Details, Findings};
use super::kind::Kind;
use crate::history::{History, Outcome, RunKind, Step};

/// Finds keys that did not recover.
pub(super) fn find(facts: &Facts, limit: Duration, findings: &mut Findings) {
    let Some(healed) = last_verified(facts.history) else {
        return;
    };
    let limit = i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX);
    let end = facts
        .history
        .ops()
        .iter()
        .map(|op| op.completed.time)
        .max()
        .unwrap_or(-1);
    // By key: first attempt after the healing, first acknowledgement after it.
    let mut attempts: Vec<Option<(i64, Option<i64>)>> = vec![None; facts.keys.len()];
    for (_, op) in facts.data_ops() {
        for run in facts
            .history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Send)
        {
            let slot = &mut attempts[run.key.at()];
            if op.invoked.time >= healed {
                let first = slot
                    .map_or(i64::MAX, |(first, _)| first)
                    .min(op.invoked.time);
                *slot = Some((first, slot.and_then(|(_, acknowledged)| acknowledged)));
            }
            let acked = op.outcome != Outcome::Open
                && op.completed.time >= healed
                && facts
                    .history
                    .records(run)
                    .iter()
                    .any(|&record| acknowledged(op, record));
            if let Some((_, known)) = slot.as_mut().filter(|_| acked) {
                *known = Some(known.map_or(op.completed.time, |t| t.min(op.completed.time)));
            }
        }
    }
    for (key, attempt) in facts.keys.iter().zip(attempts) {
        let Some((first, acknowledged)) = attempt else {
            continue;
        };
        let deadline = first.saturating_add(limit);
        let waited = acknowledged.unwrap_or(end).saturating_sub(first);
        let late = acknowledged.map_or(end > deadline, |time| time > deadline);
        if late {
            findings.add(Kind::NotRecovered, key.key, || {
                Details::new(facts.history)
                    .key(key.key)
                    .json("healed", healed)
                    .json("first-attempt", first)
                    .json("recovered", acknowledged)
                    .json("waited", waited)
                    .json("limit", limit)
                    .finish()
            });
        }
    }
}

/// When the last fault was verified as healed; `None` while one is not, or where there was none.
fn last_verified(history: &History) -> Option<i64> {
    let asked = history
        .nemesis
        .iter()
        .filter(|step| step.step == Step::Asked);
    let verified: Vec<_> = history
        .nemesis
        .iter()
        .filter(|step| step.step == Step::Verified && !step.failed)
        .collect();
    let mut open = asked.filter(|asked| verified.iter().all(|step| step.id != asked.id));
    if open.next().is_some() {
        return None;
    }
    verified
        .iter()
        .map(|step| step.at.time)
        .filter(|&time| time >= 0)
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::{names, own};

    fn history(acknowledged_at: i64, end: i64) -> Findings<'static> {
        own(&format!(
            r#"
            {{"process":"nemesis","time":1000000000,"type":"info","f":"kill","value":{{"fault":"kill","id":"1","step":"asked"}}}}
            {{"process":"nemesis","time":2000000000,"type":"info","f":"kill","value":{{"fault":"kill","id":"1","step":"verified"}}}}
            {{"process":0,"time":3000000000,"type":"invoke","f":"send","value":[["send","x",1]]}}
            {{"process":0,"time":{acknowledged_at},"type":"ok","f":"send","value":[["send","x",[0,1]]]}}
            {{"process":1,"time":{end},"type":"ok","f":"poll","value":[["poll",{{"x":[[0,1]]}}]]}}
        "#
        ))
    }

    #[test]
    fn no_acknowledgement_in_time() {
        let findings = history(90_000_000_000, 90_000_000_001);
        assert_eq!(findings.total(Kind::NotRecovered), 1);
    }

    #[test]
    fn in_time() {
        let findings = history(4_000_000_000, 90_000_000_000);
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
