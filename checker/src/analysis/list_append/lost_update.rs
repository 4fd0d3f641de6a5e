//! `lost-update`: two committed transactions read one state of a list, and both appended to it.
//!
//! Whichever came second did not see the first one's update. (Bailis et al., 2013; a special case
//! of write skew.) What a transaction read is its first read of the key before it appends to it; a
//! transaction that appended without reading first, and read then, is taken by that read, as Elle
//! does.

use super::index::Lists;
use super::internal::element;
use crate::analysis::{Details, Findings, Kind};
use crate::history::{KeyId, OpId, Outcome, Run, RunKind};

/// A state of a list, told by its last element; `None` for null, and an empty list is a state of
/// its own.
type State = Option<Option<u32>>;

/// Finds lost updates.
pub(super) fn find(lists: &Lists, findings: &mut Findings) {
    let mut builds: Vec<(KeyId, State, u32, OpId, Run)> = Vec::new();
    let mut read: Vec<Run> = Vec::new();
    let mut done: Vec<KeyId> = Vec::new();
    for (id, op) in lists.txns().filter(|(_, op)| op.outcome == Outcome::Ok) {
        read.clear();
        done.clear();
        let runs = lists.history.runs(op);
        for run in runs {
            let known = read.iter().find(|known| known.key == run.key);
            match (run.kind, known) {
                (RunKind::Append, Some(known)) if !done.contains(&run.key) => {
                    done.push(run.key);
                    let state = state(lists, known);
                    builds.push((run.key, state, known.len, id, *known));
                }
                (RunKind::Read | RunKind::ReadUnknown, None) => read.push(*run),
                _ => {}
            }
        }
    }
    builds.sort_unstable_by_key(|&(key, state, len, id, _)| (key, state, len, id));
    let cases = builds.chunk_by(|a, b| (a.0, a.1, a.2) == (b.0, b.1, b.2));
    let mut cases: Vec<_> = cases.filter(|case| case.len() > 1).collect();
    cases.sort_by_key(|case| case[0].3);
    for case in cases {
        let key = case[0].0;
        let txns: Vec<_> = case.iter().map(|&(.., id, run)| (id, run)).collect();
        // States of one length with one end may still differ where reads contradict each other.
        for group in groups(lists, &txns)
            .into_iter()
            .filter(|group| group.len() > 1)
        {
            findings.add(Kind::LostUpdate, key, || {
                let value: Vec<_> = lists
                    .numbers(&group[0].1)
                    .iter()
                    .map(|&n| element(lists, key, n))
                    .collect();
                let txns: Vec<_> = group.iter().map(|&(id, _)| id).collect();
                Details::new(lists.history)
                    .key(key)
                    .json("value", value)
                    .ops("txns", &txns)
                    .finish()
            });
        }
    }
}

fn state(lists: &Lists, read: &Run) -> State {
    (read.kind == RunKind::Read).then(|| lists.numbers(read).last().copied())
}

fn groups(lists: &Lists, txns: &[(OpId, Run)]) -> Vec<Vec<(OpId, Run)>> {
    let mut groups: Vec<Vec<(OpId, Run)>> = Vec::new();
    for &(id, run) in txns {
        let same =
            |group: &&mut Vec<(OpId, Run)>| lists.numbers(&group[0].1) == lists.numbers(&run);
        match groups.iter_mut().find(same) {
            Some(group) => group.push((id, run)),
            None => groups.push(vec![(id, run)]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, names};

    #[test]
    fn two_read_one_state_and_both_append() {
        let text = r#"
            ok [["append","x",1]]
            ok [["r","x",[1]],["append","x",2]]
            ok [["r","x",[1]],["append","x",3]]
        "#;
        assert_eq!(found(text)["lost-update"], 1);
    }

    #[test]
    fn one_after_the_other() {
        let text = r#"
            ok [["append","x",1]]
            ok [["r","x",[1]],["append","x",2]]
            ok [["r","x",[1,2]],["append","x",3]]
            fail [["r","x",[1]],["append","x",4]]
        "#;
        assert!(!names(text).contains(&"lost-update".to_owned()));
    }
}
