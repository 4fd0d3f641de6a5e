//! Classes of cycles, from the most to the least severe, as data.
//!
//! A class says which edges its cycles are made of, which of them must occur, and how often they
//! may turn backwards (rw). Classes and the order between them are Elle's (Kingsbury and Alvaro,
//! 2020, after Adya, 1999): finding one makes looking for those that it implies pointless
//! ([`crate::analysis::list_append::models`]).

use super::graph::Rels;
use crate::analysis::Kind;

/// How often a cycle takes rw edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// Never.
    None,
    /// Exactly once.
    Single,
    /// At least twice, never twice in a row.
    Nonadjacent,
    /// At least twice.
    Multiple,
}

/// A class of cycles.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// Its name.
    pub kind: Kind,
    /// Edges that it may take at any time; rw edges only as `turns` says.
    pub rels: Rels,
    /// At least one edge of each of these.
    pub required: &'static [Rels],
    /// How often it takes rw edges.
    pub turns: Turns,
}

const WW: Rels = Rels::WW;
const DATA: Rels = Rels::WW.and(Rels::WR);
const REALTIME: Rels = Rels::REALTIME;

const fn class(kind: Kind, rels: Rels, required: &'static [Rels]) -> Class {
    Class {
        kind,
        rels,
        required,
        turns: Turns::None,
    }
}

/// Classes without rw edges: those that a Kafka history can show.
pub const FORWARD: &[Class] = &[
    class(Kind::G0, WW, &[WW]),
    class(Kind::G1c, DATA, &[Rels::WR]),
    class(Kind::G0Realtime, WW.and(REALTIME), &[REALTIME]),
    class(Kind::G1cRealtime, DATA.and(REALTIME), &[Rels::WR, REALTIME]),
];
