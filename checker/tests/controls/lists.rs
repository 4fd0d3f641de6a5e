//! The same for lists: histories of a correct store never alarm, and what is then broken in them is
//! found under its right name.

use checker::simulate::Plan;
use checker::{Model, Options};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

use super::{checked, generated};

fn plans(count: u64) -> impl Iterator<Item = Plan> {
    (0..count).map(|seed| Plan {
        seed,
        model: Model::ListAppend,
        operations: 60 + seed % 5 * 60,
        clients: 2 + (seed % 12) as u32,
        partitions: 1 + (seed % 6) as u32,
        trouble: [0.0, 0.1][(seed % 2) as usize],
        ..Plan::default()
    })
}

fn options() -> Options {
    Options {
        model: Model::ListAppend,
        ..Options::default()
    }
}

#[test]
fn a_correct_store_never_alarms() {
    for plan in plans(80) {
        let verdict = checked(&generated(&plan), &options());
        assert!(
            verdict.anomalies.is_empty(),
            "{plan:?}: {:?}",
            verdict.anomalies
        );
    }
}

/// One read of an ok transaction: (event, micro-op, key, list).
type Read = (usize, usize, Json, Vec<Json>);

fn reads(events: &[Json]) -> Vec<Read> {
    let ok = events
        .iter()
        .enumerate()
        .filter(|(_, event)| event["type"] == "ok");
    let mut reads = Vec::new();
    for (at, event) in ok {
        for (mop, micro_op) in event["value"].as_array().into_iter().flatten().enumerate() {
            if let (Some("r"), Some(list)) = (micro_op[0].as_str(), micro_op[2].as_array()) {
                reads.push((at, mop, micro_op[1].clone(), list.clone()));
            }
        }
    }
    reads
}

/// Breaks a history; `None` where it cannot be broken in this way.
type Damage = fn(&mut [Json], &mut ChaCha8Rng) -> Option<()>;

const WAYS: &[(&str, &str, Damage)] = &[
    (
        "two elements of a read change places",
        "incompatible-order",
        |events, random| {
            let all = reads(events);
            let long: Vec<_> = all
                .iter()
                .filter(|read| read.3.len() >= 2)
                .filter(|read| {
                    // Somebody else read that part, too.
                    let others = all
                        .iter()
                        .filter(|other| other.0 != read.0 && other.2 == read.2);
                    others.into_iter().any(|other| other.3.starts_with(&read.3))
                })
                .collect();
            let (event, mop, _, list) = long.choose(random)?;
            let at = random.random_range(1..list.len());
            let list = events[*event]["value"][*mop][2].as_array_mut()?;
            list.swap(at - 1, at);
            Some(())
        },
    ),
    (
        "an element stands in a read twice",
        "duplicate-elements",
        |events, random| {
            let all = reads(events);
            let some: Vec<_> = all.iter().filter(|read| !read.3.is_empty()).collect();
            let (event, mop, _, list) = some.choose(random)?;
            let again = list.choose(random)?.clone();
            events[*event]["value"][*mop][2].as_array_mut()?.push(again);
            Some(())
        },
    ),
    (
        "an append that was read had failed",
        "G1a",
        |events, random| {
            let all = reads(events);
            let (_, _, key, list) = all.choose(random)?;
            let element = list.choose(random)?;
            let wrote = |event: &&mut Json| {
                let mut mops = event["value"].as_array().into_iter().flatten();
                event["type"] == "ok"
                    && mops.any(|mop| mop[0] == "append" && mop[1] == *key && mop[2] == *element)
            };
            let writer = events.iter_mut().find(wrote)?;
            writer["type"] = json!("fail");
            Some(())
        },
    ),
    (
        "an element is read that nobody appended",
        "unwritten-read",
        |events, random| {
            let all = reads(events);
            let (event, mop, ..) = all.choose(random)?;
            let list = events[*event]["value"][*mop][2].as_array_mut()?;
            list.push(json!(7_000_000));
            Some(())
        },
    ),
];

#[test]
fn whatever_is_broken_in_lists_is_caught_under_its_right_name() {
    let mut applied = vec![0; WAYS.len()];
    for plan in plans(60) {
        let history = generated(&plan);
        for (at, (name, caught_as, damage)) in WAYS.iter().enumerate() {
            let mut events: Vec<Json> = history
                .lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect();
            let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
            if damage(&mut events, &mut random).is_none() {
                continue;
            }
            applied[at] += 1;
            let lines: Vec<String> = events.iter().map(Json::to_string).collect();
            let verdict = checked(&lines.join("\n"), &options());
            assert!(
                verdict.anomalies.contains_key(*caught_as),
                "{name}: expected {caught_as}, found {:?} with {plan:?}",
                verdict.totals
            );
        }
    }
    assert!(applied.iter().all(|&times| times >= 10), "{applied:?}");
}
