//! The search for one cycle of one class, path by path in Elle's order.
//!
//! From each operation in turn, all paths grow by one edge at a time. The first that returns to an
//! operation it has been at, and has met everything by then, is taken; if it did not begin there,
//! the same search is made among the operations of the loop alone. Nothing is pruned, as nothing is
//! there: the number of paths can grow exponentially, so their number is bounded.

use super::super::graph::Rels;
use super::path::{Rules, State};
use super::tangle::Tangle;
use super::trie;

/// The bound on paths was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent;

/// The edges of one class, each row in the order in which it is walked.
struct Net {
    rows: Vec<Vec<(u32, Rels)>>,
}

/// A path's end, and the path that it extends.
struct Step {
    from: u32,
    node: u32,
    state: State,
}

/// There is no path before the first.
const ROOT: u32 = u32::MAX;

/// The first cycle that meets the rules: nodes in order, without a repetition.
///
/// # Errors
/// [`Spent`] when `budget` paths were looked at.
pub fn walk(tangle: &Tangle, rules: &Rules, budget: &mut usize) -> Result<Option<Vec<u32>>, Spent> {
    let net = Net::of(tangle, rules.rels);
    let mut touched = vec![false; net.rows.len()];
    for (from, row) in net.rows.iter().enumerate() {
        for &(to, _) in row {
            touched[from] = true;
            touched[to as usize] = true;
        }
    }
    let mut starts: Vec<u32> = (0..net.rows.len() as u32)
        .filter(|&node| touched[node as usize])
        .collect();
    trie::arrange(&mut starts, &|node| tangle.places[node as usize]);
    for start in starts {
        if let Some(cycle) = net.from(tangle, rules, start, budget)? {
            return Ok(Some(cycle));
        }
    }
    Ok(None)
}

impl Net {
    fn of(tangle: &Tangle, rels: Rels) -> Net {
        let rows = tangle.out.iter().map(|row| {
            let edges = row.iter().map(|&(to, all)| (to, all.common(rels)));
            let mut row: Vec<_> = edges.filter(|&(_, rels)| rels != Rels::NONE).collect();
            arrange(tangle, &mut row);
            row
        });
        Net {
            rows: rows.collect(),
        }
    }

    /// Among some nodes alone.
    fn within(&self, tangle: &Tangle, nodes: &[u32]) -> Net {
        let mut rows = vec![Vec::new(); self.rows.len()];
        for &node in nodes {
            let row = self.rows[node as usize].iter().copied();
            let mut row: Vec<_> = row.filter(|(to, _)| nodes.contains(to)).collect();
            arrange(tangle, &mut row);
            rows[node as usize] = row;
        }
        Net { rows }
    }

    fn from(
        &self,
        tangle: &Tangle,
        rules: &Rules,
        start: u32,
        budget: &mut usize,
    ) -> Result<Option<Vec<u32>>, Spent> {
        let mut steps = vec![Step {
            from: ROOT,
            node: start,
            state: rules.start,
        }];
        let mut shell = vec![0u32];
        while !shell.is_empty() {
            let mut open = Vec::new();
            for &path in &shell {
                let Some(since) = looped(&steps, path) else {
                    open.push(path);
                    continue;
                };
                let end = &steps[path as usize];
                if !Rules::met(end.state) {
                    continue;
                }
                let nodes = nodes(&steps, path, since);
                if end.node == start {
                    return Ok(Some(nodes));
                }
                let net = self.within(tangle, &nodes);
                for &node in &nodes {
                    if let Some(cycle) = net.from(tangle, rules, node, budget)? {
                        return Ok(Some(cycle));
                    }
                }
            }
            shell = self.grow(&mut steps, &open, rules, budget)?;
        }
        Ok(None)
    }

    /// Every path that extends one of these by an edge.
    fn grow(
        &self,
        steps: &mut Vec<Step>,
        open: &[u32],
        rules: &Rules,
        budget: &mut usize,
    ) -> Result<Vec<u32>, Spent> {
        let mut shell = Vec::new();
        for &path in open {
            let Step { from, node, state } = steps[path as usize];
            for &(to, rels) in &self.rows[node as usize] {
                *budget = budget.checked_sub(1).ok_or(Spent)?;
                rules.step(state, rels, from == ROOT, |state| {
                    shell.push(steps.len() as u32);
                    steps.push(Step {
                        from: path,
                        node: to,
                        state,
                    });
                });
            }
        }
        Ok(shell)
    }
}

fn arrange(tangle: &Tangle, row: &mut [(u32, Rels)]) {
    row.sort_unstable_by_key(|&(to, _)| to);
    let mut order: Vec<u32> = row.iter().map(|&(to, _)| to).collect();
    trie::arrange(&mut order, &|node| tangle.places[node as usize]);
    let rels: Vec<_> = order
        .iter()
        .map(|&to| {
            let at = row.binary_search_by_key(&to, |&(to, _)| to);
            row[at.expect("a row holds what was taken from it")]
        })
        .collect();
    row.copy_from_slice(&rels);
}

/// The step at which a path was where it ends, if it was there before.
fn looped(steps: &[Step], path: u32) -> Option<u32> {
    let end = steps[path as usize].node;
    let mut at = steps[path as usize].from;
    while at != ROOT {
        let step = &steps[at as usize];
        if step.node == end {
            return Some(at);
        }
        at = step.from;
    }
    None
}

/// The nodes of a loop, from the step where it began up to the one before its end.
fn nodes(steps: &[Step], path: u32, since: u32) -> Vec<u32> {
    let mut nodes = Vec::new();
    let mut at = path;
    while at != since {
        at = steps[at as usize].from;
        nodes.push(steps[at as usize].node);
    }
    nodes.reverse();
    nodes
}
