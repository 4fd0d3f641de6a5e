//! Witnesses of what brokers and replicas say: answers, logs, and that nothing went on.

use serde_json::Value as Json;

use super::kafka::samples;
use super::{Claim, Finding, Raw, claim, integer};
use crate::history::{Function, Outcome, RunKind};

/// Two answers name different leaders for one epoch.
pub fn dual_leader(raw: &Raw, finding: &Finding) -> Claim {
    let epoch = integer(finding, "epoch").ok_or("it has an epoch")?;
    let leaders = finding.details.get("leaders").and_then(Json::as_array);
    let leaders = leaders.ok_or("it has leaders")?;
    let ops = raw.ops(finding, "ops");
    claim(
        leaders.len() > 1 && ops.len() == leaders.len(),
        "it names an answer for each of several leaders",
    )?;
    let distinct = (1..leaders.len()).all(|at| !leaders[..at].contains(&leaders[at]));
    claim(distinct, "they are different brokers")?;
    let says = leaders.iter().zip(ops).all(|(leader, op)| {
        samples(raw, op, finding).any(|sample| {
            let leads = sample.leader.or(sample.asked);
            sample.epoch == Some(epoch) && leads == leader.as_i64()
        })
    });
    claim(says, "that is what was answered")
}

/// Two replicas hold different things at one offset, below the watermarks of both.
pub fn replica_divergence(raw: &Raw, finding: &Finding) -> Claim {
    let offset = integer(finding, "offset").ok_or("it has an offset")?;
    let ops = raw.ops(finding, "ops");
    let logs = raw.history.audits.iter().filter(|audit| {
        let index = raw.history.op(audit.op).index;
        Some(audit.key) == finding.key && ops.iter().any(|op| op.index == index)
    });
    let covering = logs.filter(|audit| audit.high_watermark.is_some_and(|hw| offset < hw));
    let held = covering.map(|audit| {
        let mut there = audit
            .records
            .iter()
            .filter(|record| record.offset == offset);
        there.next().map(|record| (record.epoch, record.value))
    });
    let held: Vec<_> = held.collect();
    claim(
        held.iter().any(|one| *one != held[0]),
        "two logs differ there, below both watermarks",
    )
}

/// Nothing was acknowledged between the first attempt and the limit after it.
pub fn not_recovered(raw: &Raw, finding: &Finding) -> Claim {
    let field = |name: &str| integer(finding, name);
    let first = field("first-attempt").ok_or("somebody tried")?;
    let deadline = first.saturating_add(field("limit").ok_or("there is a limit")?);
    let healed = field("healed").ok_or("the last fault was healed")?;
    claim(healed <= first, "it was tried after the healing")?;
    let sends = |op: &&crate::history::Op| raw.touches(op, RunKind::Send, finding.key);
    let ops = || raw.history.ops().iter().filter(sends);
    claim(
        ops().any(|op| op.invoked.time == first),
        "the first attempt is in the history",
    )?;
    let early = ops().any(|op| {
        op.outcome == Outcome::Ok
            && op.function == Function::Send
            && (healed..=deadline).contains(&{ op.completed.time })
    });
    claim(!early, "no send to the key ended ok in time")
}
