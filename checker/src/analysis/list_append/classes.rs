//! Elle's classes of cycles for list-append, each in three variants: by data alone, with the order
//! of each process, with real-time order.

use super::super::cycles::class::{Class, Turns};
use super::super::cycles::graph::Rels;
use super::super::kind::Kind;

const WW: Rels = Rels::WW;
const DATA: Rels = Rels::WW.and(Rels::WR);
const PROCESS: Rels = Rels::PROCESS;
const REALTIME: Rels = Rels::REALTIME;

const fn class(kind: Kind, rels: Rels, required: &'static [Rels], turns: Turns) -> Class {
    Class {
        kind,
        rels,
        required,
        turns,
    }
}

/// All classes, in the order in which Elle looks for them: none is implied by one behind it.
pub const ALL: &[Class] = &[
    class(Kind::GSingleItem, DATA, &[], Turns::Single),
    class(Kind::G0, WW, &[WW], Turns::None),
    class(Kind::GNonadjacentItem, DATA, &[], Turns::Nonadjacent),
    class(
        Kind::GSingleItemProcess,
        DATA.and(PROCESS),
        &[PROCESS],
        Turns::Single,
    ),
    class(Kind::G1c, DATA, &[Rels::WR], Turns::None),
    class(
        Kind::GNonadjacentItemProcess,
        DATA.and(PROCESS),
        &[PROCESS],
        Turns::Nonadjacent,
    ),
    class(
        Kind::GSingleItemRealtime,
        DATA.and(REALTIME),
        &[REALTIME],
        Turns::Single,
    ),
    class(Kind::G2Item, DATA, &[], Turns::Multiple),
    class(
        Kind::GNonadjacentItemRealtime,
        DATA.and(REALTIME),
        &[REALTIME],
        Turns::Nonadjacent,
    ),
    class(Kind::G0Process, WW.and(PROCESS), &[PROCESS], Turns::None),
    class(
        Kind::G1cProcess,
        DATA.and(PROCESS),
        &[Rels::WR, PROCESS],
        Turns::None,
    ),
    class(
        Kind::G2ItemProcess,
        DATA.and(PROCESS),
        &[PROCESS],
        Turns::Multiple,
    ),
    class(Kind::G0Realtime, WW.and(REALTIME), &[REALTIME], Turns::None),
    class(
        Kind::G1cRealtime,
        DATA.and(REALTIME),
        &[Rels::WR, REALTIME],
        Turns::None,
    ),
    class(
        Kind::G2ItemRealtime,
        DATA.and(REALTIME),
        &[REALTIME],
        Turns::Multiple,
    ),
];
