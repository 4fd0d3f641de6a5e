//! The dependency graph: operations as nodes, dependencies as labelled edges, in compressed rows.
//!
//! Histories have millions of operations and tens of millions of edges, so the whole graph is two
//! flat arrays. Real-time order is not drawn edge by edge (with c clients it takes about c/2 edges
//! for each operation): a chain of *barriers* runs along the history, an operation that completed
//! leads to the next barrier, and the last barrier before an invocation leads to its operation.
//! Reachability is the same, with at most three edges for each operation. Barriers are nodes
//! numbered behind the operations; they never stand in an explanation.

use crate::history::{Op, Outcome};

/// A set of relations; an edge has one or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rels(pub u8);

impl Rels {
    /// None.
    pub const NONE: Rels = Rels(0);
    /// The second overwrote, or stands after, what the first wrote.
    pub const WW: Rels = Rels(1);
    /// The second read what the first wrote.
    pub const WR: Rels = Rels(2);
    /// The second overwrote what the first read.
    pub const RW: Rels = Rels(4);
    /// One process did one after the other.
    pub const PROCESS: Rels = Rels(8);
    /// The first completed before the second was invoked.
    pub const REALTIME: Rels = Rels(16);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Rels) -> Rels {
        Rels(self.0 | other.0)
    }

    /// What both sets have.
    #[must_use]
    pub const fn common(self, other: Rels) -> Rels {
        Rels(self.0 & other.0)
    }

    /// What the other set has not.
    #[must_use]
    pub const fn without(self, other: Rels) -> Rels {
        Rels(self.0 & !other.0)
    }

    /// Each relation by itself, the strongest first.
    pub fn each(self) -> impl Iterator<Item = Rels> {
        let bits = (0..u8::BITS).map(|bit| Rels(1 << bit));
        bits.filter(move |rel| rel.meets(self))
    }

    /// The relation that explains an edge best: what was written before what was read, data before
    /// time.
    #[must_use]
    pub const fn strongest(self) -> Rels {
        Rels(self.0 & self.0.wrapping_neg())
    }

    /// Whether they have anything in common.
    #[must_use]
    pub const fn meets(self, other: Rels) -> bool {
        self.0 & other.0 != 0
    }
}

/// Collects edges.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    edges: Vec<(u32, u32, Rels)>,
    ops: u32,
    barriers: u32,
}

impl GraphBuilder {
    /// For that many operations.
    #[must_use]
    pub fn new(ops: u32) -> GraphBuilder {
        GraphBuilder {
            edges: Vec::new(),
            ops,
            barriers: 0,
        }
    }

    /// Draws an edge; none from a node to itself. Edges may be drawn more than once.
    #[inline]
    pub fn link(&mut self, from: u32, to: u32, rels: Rels) {
        if from != to && self.edges.last() != Some(&(from, to, rels)) {
            self.edges.push((from, to, rels));
        }
    }

    /// Draws real-time order over operations (given as node and operation, any order): who ended
    /// ok precedes whoever was invoked later. An operation without a completion has no node in the
    /// reference's graph, and takes no part.
    pub fn link_realtime<'h>(&mut self, ops: impl Iterator<Item = (u32, &'h Op)>) {
        // (moment, is a completion, node): what began at the moment of a completion did not begin
        // after it.
        let mut events: Vec<(u32, bool, u32)> = Vec::new();
        for (node, op) in ops.filter(|(_, op)| op.outcome != Outcome::Open) {
            events.push((op.invoked.seq, false, node));
            if op.outcome == Outcome::Ok {
                events.push((op.completed.seq, true, node));
            }
        }
        events.sort_unstable();
        let mut current: Option<u32> = None; // The last barrier.
        let mut pending: Vec<u32> = Vec::new(); // Completions since then.
        for (_, completion, node) in events {
            if completion {
                pending.push(node);
                continue;
            }
            if !pending.is_empty() {
                let barrier = self.ops + self.barriers;
                self.barriers += 1;
                for done in pending.drain(..) {
                    self.edges.push((done, barrier, Rels::REALTIME));
                }
                if let Some(previous) = current {
                    self.edges.push((previous, barrier, Rels::REALTIME));
                }
                current = Some(barrier);
            }
            if let Some(barrier) = current {
                self.edges.push((barrier, node, Rels::REALTIME));
            }
        }
    }

    /// Draws each process's order over operations that ended ok, given in order.
    pub fn link_processes<'h>(&mut self, ops: impl Iterator<Item = (u32, &'h Op)>) {
        let mut last = rustc_hash::FxHashMap::default();
        for (node, op) in ops.filter(|(_, op)| op.outcome == Outcome::Ok) {
            if let Some(previous) = last.insert(op.process, node) {
                self.link(previous, node, Rels::PROCESS);
            }
        }
    }

    /// The graph.
    #[must_use]
    pub fn finish(self) -> Graph {
        let nodes = (self.ops + self.barriers) as usize;
        let mut rows = vec![0usize; nodes + 1];
        for &(from, _, _) in &self.edges {
            rows[from as usize + 1] += 1;
        }
        for at in 0..nodes {
            rows[at + 1] += rows[at];
        }
        let mut next = rows.clone();
        let mut targets = vec![0u32; self.edges.len()];
        let mut rels = vec![Rels::NONE; self.edges.len()];
        for &(from, to, rel) in &self.edges {
            let slot = &mut next[from as usize];
            targets[*slot] = to;
            rels[*slot] = rel;
            *slot += 1;
        }
        merge(Graph {
            rows,
            targets,
            rels,
            ops: self.ops,
        })
    }
}

/// Edges between the same two nodes become one with all their relations.
fn merge(mut graph: Graph) -> Graph {
    let mut row: Vec<(u32, Rels)> = Vec::new();
    let mut kept = 0;
    let mut from = 0;
    for node in 0..graph.rows.len() - 1 {
        let to = graph.rows[node + 1];
        row.clear();
        row.extend((from..to).map(|at| (graph.targets[at], graph.rels[at])));
        row.sort_unstable_by_key(|&(target, _)| target);
        graph.rows[node] = kept;
        for group in row.chunk_by(|a, b| a.0 == b.0) {
            graph.targets[kept] = group[0].0;
            graph.rels[kept] = group
                .iter()
                .fold(Rels::NONE, |all, &(_, rels)| all.and(rels));
            kept += 1;
        }
        from = to;
    }
    let last = graph.rows.len() - 1;
    graph.rows[last] = kept;
    graph.targets.truncate(kept);
    graph.rels.truncate(kept);
    graph
}

/// The graph.
#[derive(Debug)]
pub struct Graph {
    rows: Vec<usize>,
    targets: Vec<u32>,
    rels: Vec<Rels>,
    ops: u32,
}

impl Graph {
    /// Nodes, barriers included.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.rows.len() as u32 - 1
    }

    /// Edges, as drawn.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.targets.len()
    }

    /// Whether a node is an operation.
    #[must_use]
    pub fn is_op(&self, node: u32) -> bool {
        node < self.ops
    }

    /// Edges out of a node.
    #[inline]
    pub fn out(&self, node: u32) -> impl Iterator<Item = (u32, Rels)> + '_ {
        let range = self.rows[node as usize]..self.rows[node as usize + 1];
        self.targets[range.clone()]
            .iter()
            .copied()
            .zip(self.rels[range].iter().copied())
    }

    /// The edge at that position of a node's row.
    #[inline]
    pub(super) fn edge(&self, node: u32, at: usize) -> Option<(u32, Rels)> {
        let at = self.rows[node as usize] + at;
        (at < self.rows[node as usize + 1]).then(|| (self.targets[at], self.rels[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::script;

    /// Whether one operation reaches another by real-time edges alone.
    fn reaches(graph: &Graph, from: u32, to: u32) -> bool {
        let mut seen = vec![false; graph.nodes() as usize];
        let mut open = vec![from];
        while let Some(node) = open.pop() {
            for (next, _) in graph.out(node) {
                if next == to {
                    return true;
                }
                if !std::mem::replace(&mut seen[next as usize], true) {
                    open.push(next);
                }
            }
        }
        false
    }

    #[test]
    fn barriers_say_exactly_who_precedes_whom() {
        let history = script(
            "
            0> poll
            1> poll
            0< ok poll
            2> poll
            1< info poll
            3> poll
            2< ok poll
            4> poll
            3< fail poll
            4< ok poll
            5> poll
            ",
        );
        exactly(&history);
        // Completions without an invocation began at an unknown time: nothing precedes them.
        exactly(&script("0< ok poll\n1< ok poll\n2 ok poll"));
    }

    fn exactly(history: &crate::History) {
        let ops = || history.iter().map(|(id, op)| (id.0, op));
        let mut builder = GraphBuilder::new(history.ops().len() as u32);
        builder.link_realtime(ops());
        let graph = builder.finish();
        for (a, x) in ops() {
            for (b, y) in ops() {
                let expected =
                    x.outcome == Outcome::Ok && y.outcome != Outcome::Open && x.precedes(y);
                assert_eq!(reaches(&graph, a, b), expected, "{x:?} before {y:?}");
            }
        }
    }
}
