//! One strongly connected component as Elle sees it: operations and all edges between them, those
//! of real time drawn one by one.
//!
//! Of the order of real time only those edges are drawn that no others imply (Elle's transitive
//! reduction): an operation that ended ok leads to each operation invoked later, until one of those
//! has ended ok itself. Which edges are drawn does not change what is reachable, but it changes how
//! long a path is, and so which cycle is found first.

use rustc_hash::FxHashMap;

use super::super::graph::{Graph, Rels};
use super::trie;
use crate::history::{Op, Outcome};

/// A component; nodes are numbered from 0, in the order of their operations.
#[derive(Debug)]
pub struct Tangle {
    /// The operations.
    pub nodes: Vec<u32>,
    /// Each one's place in every set of operations.
    pub places: Vec<u32>,
    /// Edges, by the node they leave.
    pub out: Vec<Vec<(u32, Rels)>>,
}

impl Tangle {
    /// The relations between two nodes.
    #[must_use]
    pub fn rels(&self, from: u32, to: u32) -> Rels {
        let edges = self.out[from as usize].iter();
        let between = edges.filter(|&&(node, _)| node == to);
        between.fold(Rels::NONE, |all, &(_, rels)| all.and(rels))
    }

    /// How many edges there are.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.out.iter().map(Vec::len).sum()
    }

    fn link(&mut self, from: u32, to: u32, rels: Rels) {
        let row = &mut self.out[from as usize];
        match row.iter_mut().find(|(node, _)| *node == to) {
            Some((_, known)) => *known = known.and(rels),
            None => row.push((to, rels)),
        }
    }
}

/// The components of a graph, given as lists of nodes (with barriers), as Elle sees them.
/// `timed` are the operations that take part in the order of real time, if that counts.
pub fn untangle<'h>(
    ops: &[Op],
    graph: &Graph,
    components: &[Vec<u32>],
    timed: Option<impl Iterator<Item = (u32, &'h Op)>>,
) -> Vec<Tangle> {
    // Operation -> (component, node).
    let mut places: FxHashMap<u32, (u32, u32)> = FxHashMap::default();
    let mut tangles = Vec::with_capacity(components.len());
    for (at, component) in (0..).zip(components) {
        let mut nodes: Vec<u32> = component
            .iter()
            .copied()
            .filter(|&node| graph.is_op(node))
            .collect();
        nodes.sort_unstable();
        places.extend((0..).zip(&nodes).map(|(node, &op)| (op, (at, node))));
        tangles.push(Tangle {
            places: nodes
                .iter()
                .map(|&op| trie::place(ops[op as usize].index))
                .collect(),
            out: vec![Vec::new(); nodes.len()],
            nodes,
        });
    }
    for (&op, &(at, node)) in &places {
        for (to, rels) in graph.out(op) {
            if let Some(&(_, to)) = places.get(&to).filter(|&&(of, _)| of == at) {
                tangles[at as usize].link(node, to, rels);
            }
        }
    }
    if let Some(timed) = timed {
        realtime(timed, |from, to| {
            if let (Some(&(a, from)), Some(&(b, to))) = (places.get(&from), places.get(&to))
                && a == b
            {
                tangles[a as usize].link(from, to, Rels::REALTIME);
            }
        });
    }
    tangles
}

/// Names each edge of real-time order that no others imply.
fn realtime<'h>(ops: impl Iterator<Item = (u32, &'h Op)>, mut edge: impl FnMut(u32, u32)) {
    let mut events: Vec<(u32, Event, u32)> = Vec::new();
    for (node, op) in ops {
        match op.outcome {
            Outcome::Open => {}
            Outcome::Ok => {
                events.push((op.invoked.seq, Event::Begins, node));
                events.push((op.completed.seq, Event::Ends, node));
            }
            Outcome::Fail | Outcome::Info => {
                events.push((op.invoked.seq, Event::BeginsOnly, node));
            }
        }
    }
    events.sort_unstable();
    // Who ended ok, and is not known to precede anybody else who did.
    let mut ended: Vec<u32> = Vec::new();
    // Who had ended when each operation that still runs was invoked.
    let mut before: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for (_, event, node) in events {
        if event == Event::Ends {
            if let Some(implied) = before.remove(&node) {
                ended.retain(|earlier| !implied.contains(earlier));
            }
            ended.push(node);
        } else {
            ended.iter().for_each(|&earlier| edge(earlier, node));
            if event == Event::Begins {
                before.insert(node, ended.clone());
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Of an operation that does not end ok.
    BeginsOnly,
    /// Of one that does.
    Begins,
    Ends,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::script;

    #[test]
    fn only_edges_that_no_others_imply_are_drawn() {
        //   ==a==       ==c== ==e==
        //         ==b==
        //           ==d===
        let history = script(
            "
            0> poll
            0< ok poll
            1> poll
            2> poll
            1< ok poll
            0> poll
            0< ok poll
            2< ok poll
            0> poll
            0< ok poll
            ",
        );
        let named = |id: u32| history.ops()[id as usize].index;
        let mut edges = Vec::new();
        realtime(history.iter().map(|(id, op)| (id.0, op)), |from, to| {
            edges.push((named(from), named(to)));
        });
        let (a, b, c, d, e) = (1, 4, 6, 7, 9);
        assert_eq!(edges, [(a, b), (a, d), (b, c), (c, e), (d, e)]);
    }
}
