//! The search for cycles: in each component of the whole graph, the shortest cycle of each class.
//!
//! For each class the component is narrowed to those edges that its cycles are made of, and split
//! again: a cycle lies within one of the parts. From every edge that the class requires, a
//! breadth-first search looks for the shortest way back, over states of (node, what is still
//! required, how it may turn). A step to a barrier counts as one and the steps on from it as
//! nothing, so that a real-time edge is one step however far it reaches.
//!
//! The search tries starting edges until it has spent [`STEPS_MAX`]; it never gives up before it
//! has found a cycle where the parts say that there is one.

use std::collections::{BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use super::class::{Class, Turns};
use super::graph::{Graph, Rels};
use super::scc::Components;
use crate::analysis::Kind;
use crate::analysis::list_append::models;

/// Edges looked at for one class in one part, beyond which the best cycle so far is good enough.
const STEPS_MAX: usize = 20_000_000;

/// A cycle: operations with the relation that leads from each to the next, the last back to the
/// first. Barriers are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Its class.
    pub kind: Kind,
    /// Operation, and the relation that leads on from it.
    pub steps: Vec<(u32, Rels)>,
}

impl Cycle {
    /// A cycle has no beginning: it is told from its earliest operation on.
    pub(super) fn turn_to_earliest(&mut self) {
        let steps = &mut self.steps;
        let earliest = (0..steps.len()).min_by_key(|&at| steps[at].0).unwrap_or(0);
        steps.rotate_left(earliest);
    }
}

/// Finds one cycle of each class in each component, as short as it can be.
#[must_use]
pub fn search(graph: &Graph, classes: &[Class]) -> Vec<Cycle> {
    let every = Rels(u8::MAX);
    let mut components = Components::of(graph);
    let mut cycles = Vec::new();
    for component in components.whole(every) {
        let mut implied: BTreeSet<&'static str> = BTreeSet::new();
        for class in classes {
            if implied.contains(class.kind.name()) {
                continue;
            }
            if let Some(cycle) = shortest(graph, &mut components, &component, class) {
                implied.extend(models::implied(class.kind.name()));
                cycles.push(cycle);
            }
        }
    }
    cycles
}

/// The shortest cycle of one class in one component.
#[must_use]
pub fn shortest(
    graph: &Graph,
    components: &mut Components,
    component: &[u32],
    class: &Class,
) -> Option<Cycle> {
    let rels = match class.turns {
        Turns::None => class.rels,
        _ => class.rels.and(Rels::RW),
    };
    let parts = components.among(rels, component);
    parts
        .iter()
        .filter_map(|part| Part::new(graph, part, class).shortest())
        .min_by_key(|cycle| cycle.steps.len())
}

/// What a path still lacks, and how it may turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// One bit for each required relation not yet met.
    wanted: u8,
    /// rw edges still wanted.
    turns: u8,
    /// The last edge was rw.
    turned: bool,
}

impl State {
    const COUNT: usize = 4 * 3 * 2;

    fn code(self) -> usize {
        (self.wanted as usize * 3 + self.turns as usize) * 2 + usize::from(self.turned)
    }
}

/// One strongly connected part, with nodes numbered from 0.
struct Part<'a> {
    graph: &'a Graph,
    class: &'a Class,
    nodes: &'a [u32],
    local: FxHashMap<u32, u32>,
}

/// How a state was reached: the state before, the relation taken, and the length so far.
#[derive(Clone, Copy)]
struct Came {
    from: usize,
    rel: Rels,
    length: usize,
}

impl<'a> Part<'a> {
    fn new(graph: &'a Graph, nodes: &'a [u32], class: &'a Class) -> Part<'a> {
        let local = nodes
            .iter()
            .enumerate()
            .map(|(at, &node)| (node, at as u32))
            .collect();
        Part {
            graph,
            class,
            nodes,
            local,
        }
    }

    /// Edges within the part.
    fn out(&self, node: u32) -> impl Iterator<Item = (u32, Rels)> + '_ {
        let edges = self.graph.out(self.nodes[node as usize]);
        edges.filter_map(|(to, rels)| self.local.get(&to).map(|&to| (to, rels)))
    }

    /// The relation with which every cycle of the class may be thought to begin.
    fn first_rel(&self) -> Rels {
        match self.class.turns {
            Turns::None => self.class.required[0],
            _ => Rels::RW,
        }
    }

    fn shortest(&self) -> Option<Cycle> {
        let first = self.first_rel();
        let mut best: Option<Cycle> = None;
        let mut spent = 0;
        for node in 0..self.nodes.len() as u32 {
            for (to, rels) in self.out(node) {
                if !rels.strongest().meets(first) {
                    continue;
                }
                if best.is_some() && spent > STEPS_MAX {
                    return best;
                }
                let start = (node, to, rels.strongest());
                let bound = best.as_ref().map_or(usize::MAX, |cycle| cycle.steps.len());
                if let Some(cycle) = self.way_back(start, bound, &mut spent) {
                    best = Some(cycle);
                }
            }
        }
        best
    }

    /// The state after an edge of one relation, where the class may take it.
    fn after(&self, state: State, rel: Rels) -> Option<State> {
        let required = self.class.required.iter().enumerate();
        let met = required
            .filter(|(_, wanted)| wanted.meets(rel))
            .fold(0, |met, (at, _)| met | 1 << at);
        let mut next = State {
            wanted: state.wanted & !met,
            turned: false,
            ..state
        };
        if rel == Rels::RW {
            match self.class.turns {
                Turns::Nonadjacent if !state.turned => next.turned = true,
                Turns::Multiple => {}
                _ => return None,
            }
            next.turns = state.turns.saturating_sub(1);
        } else if !self.class.rels.meets(rel) {
            return None;
        }
        Some(next)
    }

    /// The state that an edge leads to. Of several relations between two operations the strongest
    /// explains it, so that no cycle looks milder, or graver, than it is.
    fn step(&self, state: State, rels: Rels) -> Option<(State, Rels)> {
        let rel = rels.strongest();
        self.after(state, rel).map(|after| (after, rel))
    }

    fn begin(&self, rel: Rels) -> State {
        let all = (1u8 << self.class.required.len()) - 1;
        let required = self.class.required.iter().enumerate();
        let met = required
            .filter(|(_, wanted)| wanted.meets(rel))
            .fold(0, |met, (at, _)| met | 1 << at);
        let turns = match self.class.turns {
            Turns::None | Turns::Single => 0,
            Turns::Nonadjacent | Turns::Multiple => 1,
        };
        State {
            wanted: all & !met,
            turns,
            turned: self.class.turns == Turns::Nonadjacent,
        }
    }

    fn done(state: State) -> bool {
        state.wanted == 0 && state.turns == 0 && !state.turned
    }

    /// The shortest way from `to` back to `node` after the edge between them, if it makes a cycle
    /// of fewer than `bound` operations.
    fn way_back(
        &self,
        (node, to, rel): (u32, u32, Rels),
        bound: usize,
        spent: &mut usize,
    ) -> Option<Cycle> {
        let slots = self.nodes.len() * State::COUNT;
        let mut came: FxHashMap<usize, Came> = FxHashMap::default();
        let mut queue: VecDeque<(u32, State, usize)> = VecDeque::new();
        let start = self.begin(rel);
        let slot = |node: u32, state: State| node as usize * State::COUNT + state.code();
        came.insert(
            slot(to, start),
            Came {
                from: slots,
                rel,
                length: 1,
            },
        );
        queue.push_back((to, start, 1));
        while let Some((at, state, length)) = queue.pop_front() {
            let here = slot(at, state);
            if came[&here].length < length {
                continue;
            }
            if at == node {
                if Self::done(state) {
                    return self.trace(&came, here, slots);
                }
                continue;
            }
            if length >= bound {
                continue;
            }
            // Leaving a barrier costs nothing: it is the same real-time edge.
            let op = self.graph.is_op(self.nodes[at as usize]);
            let next_length = length + usize::from(op);
            for (next, rels) in self.out(at) {
                *spent += 1;
                if let Some((after, rel)) = self.step(state, rels) {
                    let key = slot(next, after);
                    if came
                        .get(&key)
                        .is_some_and(|known| known.length <= next_length)
                    {
                        continue;
                    }
                    came.insert(
                        key,
                        Came {
                            from: here,
                            rel,
                            length: next_length,
                        },
                    );
                    if op {
                        queue.push_back((next, after, next_length));
                    } else {
                        queue.push_front((next, after, next_length));
                    }
                }
            }
        }
        None
    }

    /// The operations of the path that ends in a slot, from the first edge on.
    fn trace(&self, came: &FxHashMap<usize, Came>, end: usize, root: usize) -> Option<Cycle> {
        // Backwards: each slot's node, and the relation that led to it.
        let mut path = Vec::new();
        let mut at = end;
        loop {
            let Came { from, rel, .. } = came[&at];
            path.push((self.nodes[at / State::COUNT], rel));
            if from == root {
                break;
            }
            at = from;
        }
        path.reverse();
        // The last node is where the first edge began: the relation *to* a node leads on from the
        // one before it.
        let first = path.last().expect("a path has an end").0;
        let mut steps: Vec<(u32, Rels)> = Vec::new();
        let mut from = first;
        for (node, rel) in path {
            if self.graph.is_op(from) {
                steps.push((from, rel));
            }
            from = node;
        }
        let mut nodes: Vec<u32> = steps.iter().map(|&(node, _)| node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut cycle = Cycle {
            kind: self.class.kind,
            steps,
        };
        cycle.turn_to_earliest();
        (nodes.len() == cycle.steps.len()).then_some(cycle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::cycles::class::FORWARD;
    use crate::analysis::cycles::graph::GraphBuilder;

    fn cycles(edges: &[(u32, u32, Rels)]) -> Vec<(&'static str, Vec<u32>)> {
        let nodes = edges
            .iter()
            .map(|&(a, b, _)| a.max(b))
            .max()
            .map_or(0, |node| node + 1);
        let mut builder = GraphBuilder::new(nodes);
        edges
            .iter()
            .for_each(|&(from, to, rels)| builder.link(from, to, rels));
        let cycles = search(&builder.finish(), FORWARD);
        let shown = cycles.into_iter().map(|cycle| {
            (
                cycle.kind.name(),
                cycle.steps.iter().map(|&(node, _)| node).collect(),
            )
        });
        shown.collect()
    }

    #[test]
    fn the_worst_class_stands_for_those_that_it_implies() {
        let found = cycles(&[(0, 1, Rels::WW), (1, 0, Rels::WW), (1, 0, Rels::WR)]);
        assert_eq!(found, [("G0", vec![0, 1])]);
        let found = cycles(&[(0, 1, Rels::WW), (1, 0, Rels::WR)]);
        assert_eq!(found, [("G1c", vec![0, 1])]);
        let found = cycles(&[(0, 1, Rels::WW), (1, 0, Rels::REALTIME)]);
        assert_eq!(found, [("G0-realtime", vec![0, 1])]);
        let found = cycles(&[(0, 1, Rels::WR), (1, 0, Rels::REALTIME)]);
        assert_eq!(found, [("G1c-realtime", vec![0, 1])]);
    }

    #[test]
    fn the_shortest_cycle_is_shown() {
        let ww = Rels::WW;
        let found = cycles(&[(0, 1, ww), (1, 2, ww), (2, 3, ww), (3, 0, ww), (2, 1, ww)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.len(), 2);
    }

    #[test]
    fn unrelated_components_are_told_apart() {
        let found = cycles(&[
            (0, 1, Rels::WW),
            (1, 0, Rels::WW),
            (2, 3, Rels::WR),
            (3, 2, Rels::WR),
            (1, 2, Rels::WW),
        ]);
        let names: Vec<_> = found.iter().map(|&(name, _)| name).collect();
        assert_eq!(found.len(), 2);
        assert!(names.contains(&"G0") && names.contains(&"G1c"));
    }
}
