//! What must hold in every state, and what must be possible.

use broker::types::{BrokerId, Durability};
use stateright::Property;

use crate::replica::Replica;
use crate::system::{Bounds, State, System, slot};

/// Every property within these bounds.
pub fn all(bounds: &Bounds) -> Vec<Property<System>> {
    let mut all = vec![
        Property::always(SAFETY[0], |_, state: &State| state.ghost.broken.is_none()),
        Property::always(SAFETY[1], |_, state: &State| leader_is_complete(state)),
        Property::always(SAFETY[2], |_, state: &State| members_are_complete(state)),
        Property::always(SAFETY[3], |_, state: &State| quorums_overlap(state)),
    ];
    all.extend(expected(bounds));
    all
}

/// What must be possible within bounds that allow it: a model in which nothing happens proves
/// nothing.
fn expected(bounds: &Bounds) -> Vec<Property<System>> {
    let mut expected = vec![
        Property::sometimes("a record is acknowledged", |_, state: &State| {
            !state.ghost.acknowledged.is_empty()
        }),
        Property::sometimes("a broker leaves or joins the ISR", |_, state: &State| {
            state.ghost.joined || state.controller.image().isr.len() < 3
        }),
    ];
    if bounds.moves > 0 {
        expected.push(Property::sometimes(
            "two brokers believe to lead",
            |_, state: &State| {
                let leads = |replica: &&Replica| replica.core.as_leader().is_some();
                state.replicas.iter().filter(leads).count() > 1
            },
        ));
    }
    if bounds.moves > 0 && bounds.changes >= 2 {
        expected.push(Property::sometimes(
            "acknowledged in a later epoch",
            |_, state: &State| {
                let mut records = state.ghost.acknowledged.values();
                records.any(|record| record.epoch > 0)
            },
        ));
        expected.push(Property::sometimes(
            "a follower truncates",
            |_, state: &State| state.ghost.truncated,
        ));
        expected.push(Property::sometimes(
            "a broker joins the ISR",
            |_, state: &State| state.ghost.joined,
        ));
    }
    if bounds.crashes > 0 && bounds.durability == Durability::Replicated {
        expected.push(Property::sometimes("a tail is lost", |_, state: &State| {
            state.ghost.lost_a_tail
        }));
    }
    let elr = bounds.fences > 0 && bounds.crashes > 0;
    if elr && bounds.changes >= 3 && bounds.epochs >= 3 {
        expected.push(Property::sometimes(
            "a member of the ELR is elected",
            |_, state: &State| state.ghost.elected_from_elr,
        ));
    }
    expected
}

/// The safety properties, by name.
pub const SAFETY: [&str; 4] = [
    "I1, I4, I5, I8, I17: what is readable stays so, and what is acknowledged is committed",
    "I6, I15: the elected leader holds every committed record",
    "I7: every member of the ISR and of the ELR holds every committed record",
    "I9, I13: the leader counts everybody who may be elected",
];

pub fn holds_committed(state: &State, id: BrokerId) -> bool {
    let committed = &state.ghost.committed;
    state.replicas[slot(id)].log.0.starts_with(committed)
}

fn leader_is_complete(state: &State) -> bool {
    let image = state.images.last().expect("there is a first image");
    image
        .leader
        .is_none_or(|leader| holds_committed(state, leader))
}

fn members_are_complete(state: &State) -> bool {
    let candidates = state.controller.candidates();
    candidates.iter().all(|id| holds_committed(state, *id))
}

fn quorums_overlap(state: &State) -> bool {
    let image = state.images.last().expect("there is a first image");
    let Some(id) = image.leader else { return true };
    let Some(leader) = state.replicas[slot(id)].core.as_leader() else {
        return true;
    };
    leader.epoch() != image.leader_epoch || leader.isr().maximal().is_superset(&image.isr)
}
