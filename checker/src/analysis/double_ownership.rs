//! `double-ownership`: in one generation of a group, a key has two owners.
//!
//! An assignment gives each partition to one member (KIP-62, KIP-848). Who was given records of a
//! key, or had offsets of it committed, as a member in a generation, owned it then; so does who
//! says so in an `assign` that carries group, member and generation.
//! so in an `assign` that carries group, member and generation.

use rustc_hash::FxHashMap;

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;
use crate::history::{Function, KeyId, Op, OpId, Outcome, RunKind};

/// Who first owned a key in a generation of a group, and by which operation.
type Owners<'h> = FxHashMap<(&'h str, i64, KeyId), Vec<(&'h str, OpId)>>;

/// Finds keys with two owners.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    let history = facts.history;
    let mut owners: Owners = FxHashMap::default();
    let mut commits = history.group_offsets.iter().peekable();
    for (id, op) in history.iter() {
        while commits.next_if(|commit| commit.op < id).is_some() {}
        let Some(detail) = history.detail(op) else {
            continue;
        };
        let (Some(group), Some(member), Some(generation)) =
            (&detail.group, &detail.member, detail.generation)
        else {
            continue;
        };
        let mut own = |key: KeyId| {
            let of_key = owners.entry((group, generation, key)).or_default();
            if of_key.iter().all(|&(known, _)| known != member) {
                of_key.push((member, id));
            }
        };
        for run in history
            .runs(op)
            .iter()
            .filter(|run| shows_ownership(op, run.kind, run.len))
        {
            own(run.key);
        }
        if op.function == Function::CommitOffsets && op.outcome == Outcome::Ok {
            let commit = commits.peek().filter(|commit| commit.op == id);
            commit
                .iter()
                .flat_map(|commit| &commit.offsets)
                .for_each(|&(key, _)| own(key));
        }
    }
    let mut doubly: Vec<_> = owners
        .into_iter()
        .filter(|(_, owners)| owners.len() > 1)
        .collect();
    doubly.sort_by_key(|(_, owners)| owners[1].1);
    for ((group, generation, key), owners) in doubly {
        findings.add(Kind::DoubleOwnership, key, || {
            let members: Vec<_> = owners.iter().map(|&(member, _)| member).collect();
            let ops: Vec<_> = owners.iter().map(|&(_, op)| op).collect();
            Details::new(history)
                .key(key)
                .json("group", group)
                .json("generation", generation)
                .json("members", members)
                .ops("ops", &ops)
                .finish()
        });
    }
}

fn shows_ownership(op: &Op, kind: RunKind, len: u32) -> bool {
    match kind {
        RunKind::Poll => len > 0,
        RunKind::Assign => op.function == Function::Assign && op.outcome == Outcome::Ok,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    fn poll(member: &str, generation: i64, value: i64) -> String {
        format!(
            r#"{{"process":{value},"type":"ok","f":"poll","group":"g","member":"{member}","generation":{generation},"value":[["poll",{{"x":[[{value},{value}]]}}]]}}"#
        )
    }

    const SENDS: &str = "9 ok send x=0@0 x=1@1 x=2@2";

    #[test]
    fn two_members_read_one_key_in_one_generation() {
        let findings = own(&format!(
            "{SENDS}\n{}\n{}\n{}",
            poll("a", 1, 0),
            poll("b", 1, 1),
            poll("b", 1, 2)
        ));
        let found = &findings.get(Kind::DoubleOwnership).expect("found").listed;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].details["members"], json!(["a", "b"]));
        assert_eq!(found[0].details["generation"], json!(1));
    }

    #[test]
    fn the_next_generation_may_have_another_owner() {
        let findings = own(&format!(
            "{SENDS}\n{}\n{}\n{}",
            poll("a", 1, 0),
            poll("b", 2, 1),
            poll("a", 3, 2)
        ));
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
