//! Names as Elle gives them.

use super::*;
use crate::analysis::cycles::class::FORWARD;
use crate::analysis::cycles::graph::GraphBuilder;
use crate::analysis::list_append::ALL_CLASSES;
use crate::analysis::testing::script;

/// Operations that all overlap, so that time says nothing.
fn concurrent(count: u32) -> crate::History {
    let begin = (0..count).map(|process| format!("{process}> poll\n"));
    let end = (0..count).map(|process| format!("{process}< ok poll\n"));
    script(&begin.chain(end).collect::<String>())
}

fn cycles(count: u32, edges: &[(u32, u32, Rels)], classes: &[Class]) -> Cycles {
    let history = concurrent(count);
    let mut builder = GraphBuilder::new(count);
    for &(from, to, rels) in edges {
        builder.link(from, to, rels);
    }
    let timed: Option<std::iter::Empty<(u32, &Op)>> = None;
    search(history.ops(), &builder.finish(), classes, timed)
}

fn names(cycles: &[Cycle]) -> Vec<&'static str> {
    cycles.iter().map(|cycle| cycle.kind.name()).collect()
}

#[test]
fn a_search_may_find_a_cycle_of_another_name() {
    // The way back is real time as well as wr: the search for G0-realtime takes it as time, and it
    // is explained as wr.
    let edges = [
        (0, 1, Rels::WW),
        (1, 2, Rels::WR.and(Rels::REALTIME)),
        (2, 0, Rels::REALTIME),
    ];
    let found = cycles(3, &edges, FORWARD);
    assert_eq!(names(&found.named), ["G1c-realtime"]);
    assert_eq!(names(&found.exist), ["strong-PL-1-cycle-exists"]);
}

#[test]
fn the_shortest_cycle_of_a_name_is_shown() {
    let ww = Rels::WW;
    let edges = [(0, 1, ww), (1, 2, ww), (2, 3, ww), (3, 0, ww), (2, 1, ww)];
    let found = cycles(4, &edges, FORWARD);
    assert_eq!(names(&found.named), ["G0"]);
    assert_eq!(found.named[0].steps.len(), 2);
}

#[test]
fn rw_edges_next_to_each_other_are_g2_item() {
    let edges = [(0, 1, Rels::RW), (1, 0, Rels::RW)];
    let found = cycles(2, &edges, ALL_CLASSES);
    assert_eq!(names(&found.named), ["G2-item"]);
    let apart = [
        (0, 1, Rels::RW),
        (1, 2, Rels::WR),
        (2, 3, Rels::RW),
        (3, 0, Rels::WW),
    ];
    assert_eq!(
        names(&cycles(4, &apart, ALL_CLASSES).named),
        ["G-nonadjacent-item"]
    );
    assert_eq!(
        names(&cycles(2, &[(0, 1, Rels::RW), (1, 0, Rels::WR)], ALL_CLASSES).named),
        ["G-single-item"]
    );
}

#[test]
fn where_there_are_too_many_paths_each_class_is_searched_for_by_itself() {
    // Every operation wrote before every other: more paths than anybody can look at, none of which
    // is a G1c-realtime.
    let count = 40;
    let mut edges = Vec::new();
    for from in 0..count {
        for to in (0..count).filter(|&to| to != from) {
            let rels = if from < to { Rels::WR } else { Rels::RW };
            edges.push((from, to, rels));
        }
    }
    let found = cycles(count, &edges, ALL_CLASSES);
    assert_eq!(names(&found.named), ["G-single-item"]);
}
