//! What a path through the graph has met of its class, step by step, as Elle counts it.
//!
//! An edge may stand for several relations. Elle tries each relation that makes a difference: an rw
//! edge where one is wanted, each relation still required, and the first of those that are merely
//! allowed. So one edge can lead to several states, and an edge that is ww as well as real time may
//! be taken as either.

use super::super::class::{Class, Turns};
use super::super::graph::Rels;

/// What may still be done with rw edges, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// As any other relation: where it is allowed.
    Plain,
    /// One more.
    Single,
    /// One now.
    Free,
    /// None now: the last edge was one.
    Taken,
}

/// The state of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// One bit for each required relation not yet met.
    wanted: u8,
    /// How many rw edges are wanted.
    turns: u8,
    mode: Mode,
}

/// The rules of a class.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    legal: Rels,
    required: &'static [Rels],
    /// Where each path begins.
    pub start: State,
    /// All relations that play a part.
    pub rels: Rels,
}

impl Rules {
    /// Those of that class.
    #[must_use]
    pub fn of(class: &Class) -> Rules {
        let (turns, mode, turning) = match class.turns {
            Turns::None => (0, Mode::Plain, Rels::NONE),
            Turns::Single => (1, Mode::Single, Rels::RW),
            Turns::Nonadjacent => (2, Mode::Free, Rels::RW),
            Turns::Multiple => (2, Mode::Plain, Rels::RW),
        };
        let legal = match class.turns {
            Turns::Multiple => class.rels.and(Rels::RW),
            _ => class.rels,
        };
        let start = State {
            wanted: (1 << class.required.len()) - 1,
            turns,
            mode,
        };
        Rules {
            legal,
            required: class.required,
            start,
            rels: class.rels.and(turning),
        }
    }

    /// Whether a path in this state closes a cycle of the class.
    #[must_use]
    pub fn met(state: State) -> bool {
        state.wanted == 0 && state.turns == 0 && state.mode != Mode::Taken
    }

    fn wanted(&self, state: State) -> Rels {
        let all = self.required.iter().enumerate();
        let open = all.filter(|(at, _)| state.wanted >> at & 1 == 1);
        open.fold(Rels::NONE, |all, (_, &rels)| all.and(rels))
    }

    /// The states to which an edge leads, in the order in which Elle takes them; `first` if it is
    /// the path's first edge.
    pub fn step(&self, state: State, edge: Rels, first: bool, mut reach: impl FnMut(State)) {
        let turning = state.turns > 0 || matches!(state.mode, Mode::Single | Mode::Free);
        let rw = if turning { Rels::RW } else { Rels::NONE };
        let wanted = self.wanted(state).without(rw);
        let legal = self.legal.without(rw).without(wanted);
        for rel in edge.common(rw).each() {
            self.take(state, rel).into_iter().for_each(&mut reach);
        }
        // A path begins with what its class is about.
        if first && state.turns > 0 {
            return;
        }
        for rel in edge.common(wanted).each() {
            self.take(state, rel).into_iter().for_each(&mut reach);
        }
        if first && state.wanted != 0 {
            return;
        }
        let mut allowed = edge.common(legal).each();
        if let Some(next) = allowed.find_map(|rel| self.take(state, rel)) {
            reach(next);
        }
    }

    fn take(&self, state: State, rel: Rels) -> Option<State> {
        let wanted = state.wanted & !self.met_first(state, rel);
        let turns = state.turns.saturating_sub(u8::from(rel == Rels::RW));
        if self.legal.meets(rel) {
            let mode = match state.mode {
                Mode::Taken => Mode::Free,
                mode => mode,
            };
            return Some(State {
                wanted,
                turns,
                mode,
            });
        }
        let (turns, mode) = match (rel, state.mode) {
            (Rels::RW, Mode::Single) => (0, Mode::Plain),
            (Rels::RW, Mode::Free) => (turns, Mode::Taken),
            _ => return None,
        };
        Some(State {
            wanted,
            turns,
            mode,
        })
    }

    /// The bit of the first requirement that a relation meets.
    fn met_first(&self, state: State, rel: Rels) -> u8 {
        let mut all = self.required.iter().enumerate();
        all.find(|(at, rels)| state.wanted >> at & 1 == 1 && rels.meets(rel))
            .map_or(0, |(at, _)| 1 << at)
    }
}
