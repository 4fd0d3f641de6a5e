//! Witnesses of groups: owners of partitions, and committed offsets.

use serde_json::Value as Json;

use super::{Claim, Finding, Raw, claim, integer, text};
use crate::history::{Function, Op, Outcome, RunKind};

/// Two members were given a key, or committed offsets of it, in one generation.
pub fn double_ownership(raw: &Raw, finding: &Finding) -> Claim {
    let members = finding.details.get("members").and_then(Json::as_array);
    let members = members.ok_or("it has members")?;
    let generation = integer(finding, "generation");
    let ops = raw.ops(finding, "ops");
    claim(
        members.len() > 1 && ops.len() == members.len(),
        "it names an operation for each of several members",
    )?;
    let distinct = (1..members.len()).all(|at| !members[..at].contains(&members[at]));
    claim(distinct, "they are different members")?;
    let owns = members.iter().zip(ops).all(|(member, op)| {
        let said = raw.history.detail(op).is_some_and(|detail| {
            detail.member.as_deref() == member.as_str()
                && detail.generation == generation
                && detail.group.as_deref() == Some(text(finding, "group"))
        });
        let concerned = [RunKind::Poll, RunKind::Assign]
            .iter()
            .any(|&kind| raw.touches(op, kind, finding.key));
        said && (concerned || offset_told(raw, op, finding).is_some())
    });
    claim(
        owns,
        "each acted for the key as a member of that generation",
    )
}

/// The offset that an operation committed for the key and group, or was told; `Some(None)` for
/// none.
fn offset_told(raw: &Raw, op: &Op, finding: &Finding) -> Option<Option<i64>> {
    let group = text(finding, "group");
    let told = raw.history.group_offsets.iter();
    let told = told.filter(|told| raw.history.op(told.op).index == op.index && told.group == group);
    let mut of_key = told.flat_map(|told| &told.offsets);
    let told = of_key.find(|(key, _)| Some(*key) == finding.key);
    let sent = raw.history.detail(op).map(|detail| &detail.sent_offsets);
    let sent = sent.into_iter().flatten().filter(|(of, _)| of == group);
    let mut sent = sent.flat_map(|(_, offsets)| offsets);
    let sent = sent.find(|(key, _)| Some(*key) == finding.key);
    told.map(|&(_, offset)| offset)
        .or_else(|| sent.map(|&(_, offset)| Some(offset)))
}

/// A committed offset was known, and a lower one was answered to who asked after that.
pub fn regression(raw: &Raw, finding: &Finding) -> Claim {
    let [earlier, later] = raw.ops(finding, "ops")[..] else {
        return Err("it names two operations");
    };
    claim(
        earlier.outcome == Outcome::Ok && earlier.precedes(later),
        "the first was over before the second was asked",
    )?;
    let (from, to) = (integer(finding, "from"), integer(finding, "to"));
    claim(
        offset_told(raw, earlier, finding) == Some(from) && from.is_some(),
        "the first has that offset",
    )?;
    let answered = later.function == Function::FetchOffsets && later.outcome == Outcome::Ok;
    let told = offset_told(raw, later, finding).map(|told| told.filter(|&offset| offset >= 0));
    claim(answered && told == Some(to), "that is what was answered")?;
    claim(to < from, "it is lower")
}

/// The committed offset is above everything that the group was given before.
pub fn overrun(raw: &Raw, finding: &Finding) -> Claim {
    let op = raw.op(finding, "op").ok_or("somebody committed it")?;
    let offset = integer(finding, "offset");
    claim(
        offset_told(raw, op, finding) == Some(offset) && offset.is_some(),
        "that is what was committed",
    )?;
    let (delivered, passed) = (integer(finding, "delivered"), integer(finding, "passed-by"));
    claim(delivered < offset, "it is above what was given")?;
    claim(
        passed.is_none_or(|passed| delivered < Some(passed) && Some(passed) < offset),
        "what was passed by lies in between",
    )
}
