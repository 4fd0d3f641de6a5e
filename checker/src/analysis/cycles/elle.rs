//! Cycles as Elle finds and names them, to the letter.
//!
//! In each component Elle searches for a cycle of each class in turn, takes the first that it comes
//! across ([`walk`]), and then *names it by its explanation*: of several relations between two
//! operations the strongest explains an edge, however the search took it. So a search for
//! `G1c-realtime` may find, and report, a `G0-realtime`, and stands for both; and a class whose
//! first cycle turns out to be another is not looked for again. Which classes are named therefore
//! depends on the order of the search. This follows it, so that the names agree, and then shows the
//! shortest cycle of each name ([`super::search`]).
//!
//! The search looks at every path. [`PATHS_MAX`] of them for a component and [`PATHS_ALL`] for a
//! history are looked at; from there on each class is looked for by itself, by [`super::search`].
//! (Elle gives up after a second: `cycle-search-timeout`.)

pub mod exists;
mod path;
mod tangle;
mod trie;
mod walk;

use super::class::{Class, Turns};
use super::graph::{Graph, Rels};
use super::scc::Components;
use super::search::{Cycle, shortest};
use crate::analysis::Kind;
use crate::analysis::list_append::models;
use crate::history::Op;
use path::Rules;
use tangle::Tangle;

/// Paths looked at in one component.
const PATHS_MAX: usize = 2_000_000;
/// Paths looked at in one history.
const PATHS_ALL: usize = 20_000_000;
/// Edges of a component whose paths are looked at.
const EDGES_MAX: usize = 2_000_000;

/// What was found.
#[derive(Debug, Default)]
pub struct Cycles {
    /// One of each class in each component, under the name that Elle gives it.
    pub named: Vec<Cycle>,
    /// For each component, one for each model that it contradicts (`*-cycle-exists`).
    pub exist: Vec<Cycle>,
}

/// Finds cycles of these classes, which stand in Elle's order. `timed` are the operations that take
/// part in the order of real time, if the graph has it.
#[must_use]
pub fn search<'h>(
    ops: &[Op],
    graph: &Graph,
    classes: &[Class],
    timed: Option<impl Iterator<Item = (u32, &'h Op)>>,
) -> Cycles {
    let mut finder = Components::of(graph);
    let components = finder.whole(Rels(u8::MAX));
    let mut cycles = Cycles::default();
    if components.is_empty() {
        return cycles;
    }
    let tangles = tangle::untangle(ops, graph, &components, timed);
    let mut left = PATHS_ALL;
    for (component, tangle) in components.iter().zip(&tangles) {
        let known = exists::look(tangle);
        cycles.exist.extend(known.cycles);
        let mut redundant = known.impossible;
        let mut budget = match tangle.edges() {
            0..=EDGES_MAX => left.min(PATHS_MAX),
            _ => 0,
        };
        let given = budget;
        let mut named: Vec<Cycle> = Vec::new();
        for class in classes {
            if redundant.contains(class.kind.name()) {
                continue;
            }
            let found = match first(tangle, class, &mut budget) {
                Ok(found) => found.map(|cycle| {
                    let other = classes.iter().find(|class| class.kind == cycle.kind);
                    let shorter = other
                        .and_then(|class| shortest(graph, &mut finder, component, class))
                        .filter(|other| other.steps.len() < cycle.steps.len());
                    shorter.unwrap_or(cycle)
                }),
                Err(walk::Spent) => {
                    budget = 0;
                    shortest(graph, &mut finder, component, class)
                }
            };
            if let Some(cycle) = found {
                redundant.extend(models::implied(class.kind.name()));
                if named.iter().all(|other| other.kind != cycle.kind) {
                    named.push(cycle);
                }
            }
        }
        cycles.named.extend(named);
        left -= given - budget;
    }
    cycles
}

/// The first cycle that Elle's search for a class comes across, under the name that its explanation
/// gives it; none if that is a name that the class does not admit.
fn first(tangle: &Tangle, class: &Class, budget: &mut usize) -> Result<Option<Cycle>, walk::Spent> {
    let rules = Rules::of(class);
    if !possible(tangle, class, rules.rels) {
        return Ok(None);
    }
    let Some(nodes) = walk::walk(tangle, &rules, budget)? else {
        return Ok(None);
    };
    let next = nodes.iter().cycle().skip(1);
    let steps: Vec<(u32, Rels)> = nodes
        .iter()
        .zip(next)
        .map(|(&from, &to)| {
            let rels = tangle.rels(from, to);
            (tangle.nodes[from as usize], rels.strongest())
        })
        .collect();
    let kind = name(&steps);
    let admitted = class.turns == Turns::None || kind == Some(class.kind);
    let mut cycle = kind.filter(|_| admitted).map(|kind| Cycle { kind, steps });
    if let Some(cycle) = &mut cycle {
        cycle.turn_to_earliest();
    }
    Ok(cycle)
}

/// Whether any component of the class's edges has what its cycles require: else there is nothing to
/// be found, and no need to look at every path.
fn possible(tangle: &Tangle, class: &Class, rels: Rels) -> bool {
    let mut builder = super::graph::GraphBuilder::new(tangle.nodes.len() as u32);
    for (from, row) in (0..).zip(&tangle.out) {
        for &(to, all) in row {
            builder.link(from, to, all.common(rels));
        }
    }
    let graph = builder.finish();
    let turn = match class.turns {
        Turns::None => None,
        _ => Some(Rels::RW),
    };
    let mut member = vec![false; tangle.nodes.len()];
    Components::of(&graph).whole(rels).iter().any(|component| {
        component
            .iter()
            .for_each(|&node| member[node as usize] = true);
        let has = |wanted: Rels| {
            let mut edges = component.iter().flat_map(|&node| graph.out(node));
            edges.any(|(to, rels)| member[to as usize] && rels.meets(wanted))
        };
        let possible = class.required.iter().copied().chain(turn).all(has);
        component
            .iter()
            .for_each(|&node| member[node as usize] = false);
        possible
    })
}

/// The name of a cycle whose edges are explained by these relations.
fn name(steps: &[(u32, Rels)]) -> Option<Kind> {
    let count = |wanted: Rels| steps.iter().filter(|&&(_, rel)| rel == wanted).count();
    let before = steps.iter().cycle().skip(steps.len().saturating_sub(1));
    let adjacent = steps
        .iter()
        .zip(before)
        .any(|(&(_, rel), &(_, before))| rel == Rels::RW && before == Rels::RW);
    let stem = match count(Rels::RW) {
        1 => "G-single-item",
        2.. if adjacent => "G2-item",
        2.. => "G-nonadjacent-item",
        0 if count(Rels::WR) > 0 => "G1c",
        0 => "G0",
    };
    let suffix = match () {
        () if count(Rels::REALTIME) > 0 => "-realtime",
        () if count(Rels::PROCESS) > 0 => "-process",
        () => "",
    };
    Kind::named(&format!("{stem}{suffix}"))
}

#[cfg(test)]
#[path = "elle_test.rs"]
mod tests;
