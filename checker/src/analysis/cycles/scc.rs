//! Strongly connected components (Tarjan, 1972), without recursion: a chain of a million operations
//! must not overflow the stack.

use super::graph::{Graph, Rels};

/// Finds components of one graph, again and again, without new tables each time.
pub struct Components<'g> {
    graph: &'g Graph,
    rels: Rels,
    /// Order of discovery from 1; [`OUTSIDE`] between searches.
    number: Vec<u32>,
    low: Vec<u32>,
    stack: Vec<u32>,
    /// Nodes being visited, each with the position of its next edge.
    calls: Vec<(u32, usize)>,
    next: u32,
    found: Vec<Vec<u32>>,
}

impl<'g> Components<'g> {
    /// For that graph.
    #[must_use]
    pub fn of(graph: &'g Graph) -> Components<'g> {
        let nodes = graph.nodes() as usize;
        Components {
            graph,
            rels: Rels::NONE,
            number: vec![OUTSIDE; nodes],
            low: vec![0; nodes],
            stack: Vec::new(),
            calls: Vec::new(),
            next: 1,
            found: Vec::new(),
        }
    }

    /// The components with more than one node over all nodes, by edges that meet `rels`.
    pub fn whole(&mut self, rels: Rels) -> Vec<Vec<u32>> {
        self.number.fill(UNSEEN);
        self.search(rels, 0..self.graph.nodes())
    }

    /// The same over some nodes only, each named once.
    pub fn among(&mut self, rels: Rels, nodes: &[u32]) -> Vec<Vec<u32>> {
        for &node in nodes {
            self.number[node as usize] = UNSEEN;
        }
        self.search(rels, nodes.iter().copied())
    }

    fn search(&mut self, rels: Rels, nodes: impl Iterator<Item = u32>) -> Vec<Vec<u32>> {
        self.rels = rels;
        self.next = 1;
        nodes.for_each(|node| self.from(node));
        std::mem::take(&mut self.found)
    }
}

const UNSEEN: u32 = 0;
/// Its component is complete, or it takes no part.
const OUTSIDE: u32 = u32::MAX;

impl Components<'_> {
    fn from(&mut self, root: u32) {
        if self.number[root as usize] != UNSEEN {
            return;
        }
        self.enter(root);
        while let Some((node, at)) = self.calls.last_mut() {
            let (node, position) = (*node, *at);
            *at += 1;
            match self.graph.edge(node, position) {
                Some((to, rels)) => {
                    if rels.meets(self.rels) {
                        self.visit(node, to);
                    }
                }
                None => self.leave(node),
            }
        }
    }

    fn enter(&mut self, node: u32) {
        self.number[node as usize] = self.next;
        self.low[node as usize] = self.next;
        self.next += 1;
        self.stack.push(node);
        self.calls.push((node, 0));
    }

    fn visit(&mut self, node: u32, to: u32) {
        match self.number[to as usize] {
            UNSEEN => self.enter(to),
            OUTSIDE => {}
            number => {
                let low = &mut self.low[node as usize];
                *low = number.min(*low);
            }
        }
    }

    fn leave(&mut self, node: u32) {
        self.calls.pop();
        let low = self.low[node as usize];
        if let Some(&(caller, _)) = self.calls.last() {
            let of_caller = &mut self.low[caller as usize];
            *of_caller = low.min(*of_caller);
        }
        if low == self.number[node as usize] {
            let at = self
                .stack
                .iter()
                .rposition(|&other| other == node)
                .expect("a node being left is on the stack");
            let component = self.stack.split_off(at);
            component
                .iter()
                .for_each(|&member| self.number[member as usize] = OUTSIDE);
            if component.len() > 1 {
                self.found.push(component);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::cycles::graph::GraphBuilder;

    fn graph(nodes: u32, edges: &[(u32, u32)]) -> Graph {
        let mut builder = GraphBuilder::new(nodes);
        edges
            .iter()
            .for_each(|&(from, to)| builder.link(from, to, Rels::WW));
        builder.finish()
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let nodes = 1_000_000;
        let mut edges: Vec<_> = (1..nodes).map(|to| (to - 1, to)).collect();
        assert!(
            Components::of(&graph(nodes, &edges))
                .whole(Rels::WW)
                .is_empty()
        );
        edges.push((nodes - 1, 0));
        let found = Components::of(&graph(nodes, &edges)).whole(Rels::WW);
        assert_eq!(
            found.iter().map(Vec::len).collect::<Vec<_>>(),
            [nodes as usize]
        );
    }

    proptest! {
        #[test]
        fn two_nodes_share_a_component_iff_each_reaches_the_other(
            edges in proptest::collection::vec((0u32..12, 0u32..12), 0..40),
        ) {
            let graph = graph(12, &edges);
            let mut reach = [[false; 12]; 12];
            for &(from, to) in &edges {
                reach[from as usize][to as usize] = true;
            }
            for via in 0..12 {
                for from in 0..12 {
                    for to in 0..12 {
                        reach[from][to] |= reach[from][via] && reach[via][to];
                    }
                }
            }
            let found = Components::of(&graph).whole(Rels::WW);
            let component =
                |node: usize| found.iter().position(|nodes| nodes.contains(&(node as u32)));
            for (a, row) in reach.iter().enumerate() {
                for b in (0..12).filter(|&b| b != a) {
                    let together = component(a).is_some() && component(a) == component(b);
                    prop_assert_eq!(together, row[b] && reach[b][a]);
                }
            }
        }
    }
}
