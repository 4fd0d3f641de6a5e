//! `dirty-update`: a committed transaction builds on what an aborted one appended.
//!
//! In the version order of a key an element of a failed transaction stands before one of a
//! transaction that ended ok. Elements between them whose transactions may have aborted as well
//! change nothing.

use super::index::{KeyLists, Lists};
use super::internal::element;
use crate::analysis::{Details, Findings, Kind};
use crate::history::{OpId, Outcome};

/// Finds dirty updates.
pub(super) fn find(lists: &Lists, findings: &mut Findings) {
    if !lists.txns().any(|(_, op)| op.outcome == Outcome::Fail) {
        return;
    }
    for key in &lists.keys {
        find_in(lists, key, findings);
    }
}

fn find_in(lists: &Lists, key: &KeyLists, findings: &mut Findings) {
    // The transaction whose fate counts, and the elements since then.
    let mut last: Option<(OpId, Outcome)> = None;
    let mut since: Vec<u32> = Vec::new();
    for &number in &key.order {
        since.push(number);
        let Some(writer) = key.elements[number as usize].writer() else {
            continue;
        };
        let outcome = lists.history.op(writer).outcome;
        let aborted = last.is_some_and(|(_, outcome)| outcome == Outcome::Fail);
        match outcome {
            Outcome::Ok => {
                if let Some((first, _)) = last.filter(|_| aborted) {
                    findings.add(Kind::DirtyUpdate, key.key, || {
                        let values = since.iter().map(|&n| element(lists, key.key, n));
                        Details::new(lists.history)
                            .key(key.key)
                            .json("values", values.collect::<Vec<_>>())
                            .ops("txns", &[first, writer])
                            .finish()
                    });
                }
                (last, since) = (Some((writer, outcome)), vec![number]);
            }
            Outcome::Fail if !aborted => (last, since) = (Some((writer, outcome)), vec![number]),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, names};

    #[test]
    fn committed_upon_aborted() {
        let text = r#"
            fail [["append","x",1]]
            info [["append","x",2]]
            ok [["append","x",3]]
            ok [["r","x",[1,2,3]]]
        "#;
        assert_eq!(found(text)["dirty-update"], 1);
    }

    #[test]
    fn aborted_upon_committed() {
        let text = r#"
            ok [["append","x",1]]
            fail [["append","x",2]]
            ok [["r","x",[1,2]]]
        "#;
        assert!(!names(text).contains(&"dirty-update".to_owned()));
    }
}
