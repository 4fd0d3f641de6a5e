//! Whether there is any cycle at all, without drawing the graph.
//!
//! An operation that ended ok took effect at some point between its invocation and its completion.
//! Give each operation the earliest point that its data dependencies allow: its invocation, or the
//! latest point of those it depends on. If every ok operation's point lies before its completion,
//! the points are an order that agrees with all dependencies and with real time, so there is no
//! cycle. And the other way round: a point after the completion was handed down, dependency by
//! dependency, from an operation that was invoked after it, which closes a cycle. So the answer is
//! exact, takes one word for each operation, and the graph is drawn for those histories only that
//! have something to show.

use crate::history::{Op, Outcome};

/// Where one operation stands among another's dependencies: opaque to the walk.
pub type Cursor = (u32, u32);

const UNSEEN: u32 = 0;
/// Its dependencies are being looked at.
const ENTERED: u32 = u32::MAX;

struct Frame {
    node: u32,
    cursor: Cursor,
    point: u32,
}

/// Whether the operations' dependencies, and real time if `realtime`, contradict each other.
///
/// `next` names an operation's dependencies one by one, never itself, and `None` at the end.
pub fn contradict(
    ops: &[Op],
    realtime: bool,
    nodes: impl Iterator<Item = u32>,
    next: impl Fn(u32, &mut Cursor) -> Option<u32>,
) -> bool {
    let mut points = vec![UNSEEN; ops.len()];
    let mut open: Vec<Frame> = Vec::new();
    let enter = |points: &mut [u32], open: &mut Vec<Frame>, node: u32| {
        let op = &ops[node as usize];
        // Without a completion it takes no part in real time.
        let timed = realtime && op.outcome != Outcome::Open;
        points[node as usize] = ENTERED;
        open.push(Frame {
            node,
            cursor: (0, 0),
            point: if timed { op.invoked.seq + 1 } else { 1 },
        });
    };
    for root in nodes {
        if points[root as usize] == UNSEEN {
            enter(&mut points, &mut open, root);
        }
        'walk: while let Some(frame) = open.last_mut() {
            while let Some(earlier) = next(frame.node, &mut frame.cursor) {
                match points[earlier as usize] {
                    ENTERED => return true,
                    UNSEEN => {
                        enter(&mut points, &mut open, earlier);
                        continue 'walk;
                    }
                    point => frame.point = point.max(frame.point),
                }
            }
            let Frame { node, point, .. } = *frame;
            let op = &ops[node as usize];
            if realtime && op.outcome == Outcome::Ok && point > op.completed.seq + 1 {
                return true;
            }
            points[node as usize] = point;
            open.pop();
            if let Some(caller) = open.last_mut() {
                caller.point = point.max(caller.point);
            }
        }
    }
    false
}

/// Whether real time relates any two operations that carry messages; nearly always.
pub fn any_precedes(ops: &[Op]) -> bool {
    let data = || ops.iter().filter(|op| op.function.is_data());
    let completed = data().filter(|op| op.outcome == Outcome::Ok);
    let first = completed.map(|op| op.completed.seq).min();
    let mut closed = data().filter(|op| op.outcome != Outcome::Open);
    first.is_some_and(|first| closed.any(|op| op.invoked.seq > first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::cycles::graph::{GraphBuilder, Rels};
    use crate::analysis::cycles::scc::Components;
    use crate::analysis::testing::script;

    /// Operations of random length, one after the other or at the same time.
    fn operations(events: &[(u8, u8)]) -> Vec<Op> {
        let mut text = String::new();
        let mut busy = [false; 8];
        for &(process, outcome) in events {
            let at = usize::from(process);
            let outcome = ["ok", "ok", "ok", "info", "fail"][usize::from(outcome)];
            text += &match busy[at] {
                true => format!("{process}< {outcome} poll\n"),
                false => format!("{process}> poll\n"),
            };
            busy[at] = !busy[at];
        }
        script(&text).ops().to_vec()
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_components_of_the_graph(
            events in proptest::collection::vec((0u8..8, 0u8..5), 0..40),
            edges in proptest::collection::vec((0u32..20, 0u32..20), 0..12),
            realtime in any::<bool>(),
        ) {
            let ops = operations(&events);
            let count = ops.len() as u32;
            let mut edges: Vec<_> = edges;
            edges.retain(|&(from, to)| from != to && from < count && to < count);
            let mut builder = GraphBuilder::new(count);
            for &(from, to) in &edges {
                builder.link(from, to, Rels::WR);
            }
            if realtime {
                builder.link_realtime((0..).zip(&ops));
            }
            let graph = builder.finish();
            let cyclic = !Components::of(&graph).whole(Rels(u8::MAX)).is_empty();
            let found = contradict(&ops, realtime, 0..count, |node, cursor| {
                while let Some(&(from, to)) = edges.get(cursor.0 as usize) {
                    cursor.0 += 1;
                    if to == node {
                        return Some(from);
                    }
                }
                None
            });
            prop_assert_eq!(found, cyclic);
        }
    }
}
