//! `incompatible-order` and `duplicate-elements`: reads that no single list explains.
//!
//! Lists only grow at their end, so of two reads of a key the shorter is a prefix of the longer; if
//! not, no order of appends explains both. And an element is appended once, so no read shows it
//! twice. Reads of transactions that may have happened count.

use rustc_hash::FxHashSet;

use super::index::{KeyLists, Lists};
use super::internal::{detail, element};
use crate::analysis::{Details, Findings, Kind};
use crate::history::{Run, RunKind};

/// Finds reads that contradict each other or themselves.
pub(super) fn find(lists: &Lists, findings: &mut Findings) {
    let mut contradicted = vec![false; lists.keys.len()];
    for (id, op) in lists.possible() {
        for run in lists
            .history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Read)
        {
            let key = lists.key(run.key);
            let seen = lists.numbers(run);
            let longest = key
                .longest
                .map_or(&[][..], |(_, longest)| lists.numbers(&longest));
            let prefix = longest.starts_with(seen);
            contradicted[run.key.at()] |= !prefix;
            // A prefix of a list without repetitions has none.
            if (!prefix || longest.len() != key.order.len()) && repeats(seen) {
                findings.add(Kind::DuplicateElements, run.key, || {
                    let repeated = repeated(seen).into_iter();
                    let repeated: Vec<_> = repeated
                        .map(|number| element(lists, run.key, number))
                        .collect();
                    detail(lists, id, run).json("duplicates", repeated).finish()
                });
            }
        }
    }
    for key in lists.keys.iter().filter(|key| contradicted[key.key.at()]) {
        if let Some((a, b)) = first_contradiction(lists, key) {
            findings.add(Kind::IncompatibleOrder, key.key, || {
                let list = |run: &Run| -> serde_json::Value {
                    lists
                        .numbers(run)
                        .iter()
                        .map(|&n| element(lists, key.key, n))
                        .collect()
                };
                Details::new(lists.history)
                    .key(key.key)
                    .json("values", vec![list(&a), list(&b)])
                    .finish()
            });
        }
    }
}

fn repeats(seen: &[u32]) -> bool {
    !repeated(seen).is_empty()
}

fn repeated(seen: &[u32]) -> Vec<u32> {
    let mut known = FxHashSet::default();
    seen.iter()
        .copied()
        .filter(|&number| !known.insert(number))
        .collect()
}

/// Of all reads of a key, by length, the first that is no prefix of the next.
fn first_contradiction(lists: &Lists, key: &KeyLists) -> Option<(Run, Run)> {
    let mut reads: Vec<Run> = Vec::new();
    for (_, op) in lists.possible() {
        let runs = lists.history.runs(op).iter();
        reads.extend(runs.filter(|run| run.kind == RunKind::Read && run.key == key.key));
    }
    reads.sort_by_key(|run| run.len);
    let pair = reads.windows(2).find(|pair| {
        let (shorter, longer) = (lists.numbers(&pair[0]), lists.numbers(&pair[1]));
        !longer.starts_with(shorter)
    });
    pair.map(|pair| (pair[0], pair[1]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, names};

    #[test]
    fn reads_that_no_order_explains() {
        let found = found(
            r#"
            ok [["append","x",1],["append","y",1]]
            ok [["append","x",2]]
            ok [["r","x",[1,2]]]
            ok [["r","x",[2,1]]]
            ok [["r","y",[1,1]]]
        "#,
        );
        assert_eq!(
            (found["incompatible-order"], found["duplicate-elements"]),
            (1, 1)
        );
    }

    #[test]
    fn prefixes_agree() {
        let names = names(
            r#"
            ok [["append","x",1]]
            ok [["append","x",2]]
            ok [["r","x",[1]]]
            ok [["r","x",[1,2]]]
            ok [["r","x",[]]]
            fail [["r","x",[2,1,1]]]
        "#,
        );
        assert!(
            !names.contains(&"incompatible-order".to_owned()),
            "{names:?}"
        );
        assert!(
            !names.contains(&"duplicate-elements".to_owned()),
            "{names:?}"
        );
    }
}
