//! `*-cycle-exists`: that a component contradicts a consistency model, told by the mere existence
//! of some cycle in the part of the graph that the model is about.
//!
//! A cycle of a class proves more, so these are what is left where no class of cycles shows it; and
//! what they do not find need not be searched for.

use std::collections::{BTreeSet, VecDeque};

use super::super::graph::{GraphBuilder, Rels};
use super::super::scc::Components;
use super::super::search::Cycle;
use super::tangle::Tangle;
use crate::analysis::Kind;
use crate::analysis::list_append::models;

/// A model and the part of the graph that has no cycle where it holds.
struct Claim {
    kind: Kind,
    model: &'static str,
    rels: Rels,
    /// A single rw edge may follow each of those.
    jumps: bool,
}

const fn claim(kind: Kind, model: &'static str, rels: Rels) -> Claim {
    Claim {
        kind,
        model,
        rels,
        jumps: false,
    }
}

const fn jumping(kind: Kind, model: &'static str, rels: Rels) -> Claim {
    Claim {
        jumps: true,
        ..claim(kind, model, rels)
    }
}

const WW: Rels = Rels::WW;
const DATA: Rels = Rels::WW.and(Rels::WR);
const ALL: Rels = DATA.and(Rels::RW);
const PROCESS: Rels = Rels::PROCESS;
const REALTIME: Rels = Rels::REALTIME;

const CLAIMS: [Claim; 13] = [
    claim(Kind::ExistsPl1, "read-uncommitted", WW),
    claim(Kind::ExistsPl2, "read-committed", DATA),
    jumping(Kind::ExistsPlSi, "snapshot-isolation", DATA),
    claim(Kind::ExistsPl299, "repeatable-read", ALL),
    claim(Kind::ExistsPl3, "serializable", ALL),
    claim(
        Kind::ExistsSessionPl1,
        "strong-session-read-uncommitted",
        WW.and(PROCESS),
    ),
    claim(
        Kind::ExistsSessionPl2,
        "strong-session-read-committed",
        DATA.and(PROCESS),
    ),
    jumping(
        Kind::ExistsSessionSi,
        "strong-session-snapshot-isolation",
        DATA.and(PROCESS),
    ),
    claim(
        Kind::ExistsSessionSerializable,
        "strong-session-serializable",
        ALL.and(PROCESS),
    ),
    claim(
        Kind::ExistsStrongPl1,
        "strong-read-uncommitted",
        WW.and(REALTIME),
    ),
    claim(
        Kind::ExistsStrongPl2,
        "strong-read-committed",
        DATA.and(REALTIME),
    ),
    jumping(
        Kind::ExistsStrongSi,
        "strong-snapshot-isolation",
        DATA.and(REALTIME),
    ),
    claim(Kind::ExistsPlSs, "strong-serializable", ALL.and(REALTIME)),
];

/// The model that a type of this kind rules out, if it is one.
#[must_use]
pub fn model_of(kind: Kind) -> Option<&'static str> {
    let claim = CLAIMS.iter().find(|claim| claim.kind == kind);
    claim.map(|claim| claim.model)
}

/// What is known of a component before any class is searched for.
pub struct Known {
    /// One cycle for each model that is contradicted and does not follow from those before it.
    pub cycles: Vec<Cycle>,
    /// Classes that cannot be there.
    pub impossible: BTreeSet<&'static str>,
}

/// Looks for cycles in each model's part of the graph.
#[must_use]
pub fn look(tangle: &Tangle) -> Known {
    let mut cycles = Vec::new();
    let mut broken: BTreeSet<&'static str> = BTreeSet::new();
    for claim in &CLAIMS {
        if broken.contains(claim.model) {
            continue;
        }
        if let Some(steps) = cycle(tangle, claim) {
            broken.extend(models::stronger(claim.model));
            cycles.push(Cycle {
                kind: claim.kind,
                steps,
            });
        }
    }
    let standing: Vec<_> = CLAIMS
        .iter()
        .map(|claim| claim.model)
        .filter(|model| !broken.contains(model))
        .collect();
    Known {
        cycles,
        impossible: models::prohibited(&standing),
    }
}

/// A cycle of edges of the claim's relations, where an rw edge may follow each of them if it
/// `jumps`. The graph is doubled: a node is there once for having been reached by such an edge, and
/// once for having been reached by an rw edge, after which another is not allowed.
fn cycle(tangle: &Tangle, claim: &Claim) -> Option<Vec<(u32, Rels)>> {
    let count = tangle.nodes.len() as u32;
    let mut builder = GraphBuilder::new(count * 2);
    for (from, row) in (0..).zip(&tangle.out) {
        for &(to, rels) in row {
            if rels.meets(claim.rels) {
                builder.link(from, to, Rels::WW);
                builder.link(from + count, to, Rels::WW);
            }
            if claim.jumps && rels.meets(Rels::RW) {
                builder.link(from, to + count, Rels::WW);
            }
        }
    }
    let graph = builder.finish();
    let components = Components::of(&graph).whole(Rels::WW);
    let smallest = components.iter().min_by_key(|nodes| nodes.len())?;
    let within: BTreeSet<u32> = smallest.iter().copied().collect();
    let start = *within.first()?;
    let mut came = vec![u32::MAX; graph.nodes() as usize];
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for (to, _) in graph.out(at).filter(|(to, _)| within.contains(to)) {
            if came[to as usize] != u32::MAX {
                continue;
            }
            came[to as usize] = at;
            if to == start {
                return Some(steps(tangle, claim, &came, start));
            }
            queue.push_back(to);
        }
    }
    None
}

/// The steps of a cycle through `start`, told by where each node of the doubled graph was reached
/// from.
fn steps(tangle: &Tangle, claim: &Claim, came: &[u32], start: u32) -> Vec<(u32, Rels)> {
    let count = tangle.nodes.len() as u32;
    let mut steps = Vec::new();
    let mut to = start;
    loop {
        let from = came[to as usize];
        let rels = tangle.rels(from % count, to % count);
        let taken = if to >= count { Rels::RW } else { claim.rels };
        let op = tangle.nodes[(from % count) as usize];
        steps.push((op, rels.common(taken).strongest()));
        to = from;
        if to == start {
            break;
        }
    }
    steps.reverse();
    steps
}
