//! `G1a`, aborted read, and `G1b`, intermediate read (Adya, 1999).
//!
//! G1a: an ok transaction read an element that a failed one appended. G1b: an ok transaction read a
//! list whose last element was appended by another transaction which went on to append to the same
//! list: a state that existed only in the middle of that transaction.

use super::super::facts::NONE;
use super::index::Lists;
use super::internal::{detail, element};
use crate::analysis::{Findings, Kind};
use crate::history::{OpId, Outcome, RunKind};

/// Finds reads of aborted and of intermediate states.
pub(super) fn find(lists: &Lists, findings: &mut Findings) {
    let aborted = aborted(lists);
    for (id, op) in lists.txns().filter(|(_, op)| op.outcome == Outcome::Ok) {
        for run in lists
            .history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Read)
        {
            let key = lists.key(run.key);
            let aborted = &aborted[run.key.at()];
            for &number in lists.numbers(run).iter().filter(|_| !aborted.is_empty()) {
                if aborted[number as usize] != NONE {
                    findings.add(Kind::G1a, run.key, || {
                        detail(lists, id, run)
                            .op("writer", Some(OpId(aborted[number as usize])))
                            .json("element", element(lists, run.key, number))
                            .finish()
                    });
                }
            }
            let Some(&last) = lists.numbers(run).last() else {
                continue;
            };
            let last_element = &key.elements[last as usize];
            if last_element.intermediate && last_element.writer != id.0 {
                findings.add(Kind::G1b, run.key, || {
                    detail(lists, id, run)
                        .op("writer", last_element.writer())
                        .json("element", element(lists, run.key, last))
                        .finish()
                });
            }
        }
    }
}

/// By key and element: the failed transaction that appended it, or [`NONE`]; empty where there is
/// none.
fn aborted(lists: &Lists) -> Vec<Vec<u32>> {
    let mut aborted: Vec<Vec<u32>> = vec![Vec::new(); lists.keys.len()];
    for (id, op) in lists.txns().filter(|(_, op)| op.outcome == Outcome::Fail) {
        for run in lists
            .history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Append)
        {
            let of_key = &mut aborted[run.key.at()];
            of_key.resize(lists.key(run.key).elements.len(), NONE);
            of_key[lists.appended(run) as usize] = id.0;
        }
    }
    aborted
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, names};

    #[test]
    fn aborted_and_intermediate_reads() {
        let found = found(
            r#"
            fail [["append","x",1]]
            ok [["r","x",[1]]]
            ok [["append","y",1],["append","y",2]]
            ok [["r","y",[1]]]
        "#,
        );
        assert_eq!((found["G1a"], found["G1b"]), (1, 1));
    }

    #[test]
    fn reading_final_and_own_states_is_fine() {
        let names = names(
            r#"
            ok [["append","y",1],["r","y",[1]],["append","y",2]]
            ok [["r","y",[1,2]]]
            info [["append","x",1]]
            ok [["r","x",[1]]]
        "#,
        );
        assert!(
            names.iter().all(|name| !name.starts_with("G1")),
            "{names:?}"
        );
    }
}
