//! Logs: the definitions of jepsen.tests.kafka, each as a loop over everything.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use checker::history::read::read_from;
use checker::{Options, SubVia, check};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

/// (key, offset, value)
type Sent = (u8, Option<i64>, i64);
/// (key, records)
type Polled = (u8, Vec<(i64, i64)>);

#[derive(Clone, Debug)]
struct Op {
    process: u8,
    outcome: &'static str,
    /// Keys of an assign; none for a transaction.
    assign: Option<Vec<u8>>,
    sends: Vec<Sent>,
    polls: Vec<Polled>,
}

impl Op {
    fn ok(&self) -> bool {
        self.outcome == "ok"
    }

    fn polled(&self, key: u8) -> Vec<i64> {
        let polls = self.polls.iter().filter(|(k, _)| *k == key);
        polls
            .flat_map(|(_, records)| records.iter().map(|&(_, value)| value))
            .collect()
    }

    fn sent(&self, key: u8) -> Vec<i64> {
        let sends = self.sends.iter().filter(|(k, ..)| *k == key);
        sends.map(|&(_, _, value)| value).collect()
    }

    fn event(&self) -> Json {
        if let Some(keys) = &self.assign {
            let keys: Vec<String> = keys.iter().map(u8::to_string).collect();
            let (process, outcome) = (self.process, self.outcome);
            return json!({"process": process, "type": outcome, "f": "assign", "value": keys});
        }
        let sends = self.sends.iter();
        let mut value: Vec<Json> = sends
            .map(|(key, offset, value)| json!(["send", key.to_string(), [offset, value]]))
            .collect();
        for (key, records) in &self.polls {
            let mut one = Map::new();
            one.insert(key.to_string(), json!(records));
            value.push(json!(["poll", one]));
        }
        json!({"process": self.process, "type": self.outcome, "f": "txn", "value": value})
    }
}

const KEYS: [u8; 2] = [0, 1];

struct Oracle<'o> {
    ops: &'o [Op],
    found: BTreeSet<&'static str>,
}

impl Oracle<'_> {
    fn read_ok(&self, key: u8) -> BTreeSet<i64> {
        let ok = self.ops.iter().filter(|op| op.ok());
        ok.flat_map(|op| op.polled(key)).collect()
    }

    /// The last operation that sent it counts.
    fn writer(&self, key: u8, value: i64) -> Option<&Op> {
        self.ops.iter().rfind(|op| op.sent(key).contains(&value))
    }

    fn committed(&self, op: &Op) -> bool {
        let proven = || {
            KEYS.iter()
                .any(|&key| op.sent(key).iter().any(|v| self.read_ok(key).contains(v)))
        };
        op.ok() || (op.outcome == "info" && proven())
    }

    fn log(&self, key: u8) -> BTreeMap<i64, BTreeSet<i64>> {
        let mut log: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        for op in self.ops {
            for (_, records) in op.polls.iter().filter(|(k, _)| *k == key) {
                for &(offset, value) in records {
                    log.entry(offset).or_default().insert(value);
                }
            }
            if self.committed(op) {
                for &(_, offset, value) in op.sends.iter().filter(|(k, ..)| *k == key) {
                    if let Some(offset) = offset {
                        log.entry(offset).or_default().insert(value);
                    }
                }
            }
        }
        log
    }

    /// Whether some offset of any key is ambiguous, so that orders are a matter of taste.
    fn log_anomalies(&mut self) -> bool {
        let mut ambiguous = false;
        for key in KEYS {
            let log = self.log(key);
            let sets: Vec<&BTreeSet<i64>> = log.values().collect();
            let places = |value: i64| -> Vec<usize> {
                let has = |at: &usize| sets[*at].contains(&value);
                (0..sets.len()).filter(has).collect()
            };
            let values: BTreeSet<i64> = sets.iter().flat_map(|set| set.iter().copied()).collect();
            if sets.iter().any(|set| set.len() > 1) {
                self.found.insert("inconsistent-offsets");
                ambiguous = true;
            }
            if values.iter().any(|&value| places(value).len() > 1) {
                self.found.insert("duplicate");
            }
            let read = self.read_ok(key);
            let bound = read
                .iter()
                .filter_map(|&value| places(value).first().copied())
                .max();
            let missing = values.iter().any(|&value| {
                places(value).last().copied() <= bound
                    && !read.contains(&value)
                    && self.writer(key, value).is_some_and(|op| self.committed(op))
            });
            if bound.is_some() && missing {
                self.found.insert("lost-write");
            }
        }
        ambiguous
    }

    fn reads(&mut self) {
        for key in KEYS {
            let failed: BTreeSet<i64> = self
                .ops
                .iter()
                .filter(|op| op.outcome == "fail")
                .flat_map(|op| op.sent(key))
                .collect();
            if !failed.is_disjoint(&self.read_ok(key)) {
                self.found.insert("G1a");
            }
            if self
                .ops
                .iter()
                .any(|op| op.polled(key).iter().any(|v| op.sent(key).contains(v)))
            {
                self.found.insert("precommitted-read");
            }
            let sent: BTreeSet<i64> = self
                .ops
                .iter()
                .filter(|op| op.ok())
                .flat_map(|op| op.sent(key))
                .collect();
            if !sent.is_subset(&self.read_ok(key)) {
                self.found.insert("unseen");
            }
        }
    }

    /// Between neighbours of one list.
    fn delta(&self, key: u8, from: i64, to: i64) -> i64 {
        let log = self.log(key);
        let index = |value: i64| log.values().rposition(|set| set.contains(&value));
        match (index(from), index(to)) {
            (Some(from), Some(to)) => to as i64 - from as i64,
            _ => 1,
        }
    }

    fn step(&mut self, key: u8, from: i64, to: i64, skip: &'static str, back: &'static str) {
        match self.delta(key, from, to) {
            2.. => self.found.insert(skip),
            1 => false,
            _ => self.found.insert(back),
        };
    }

    fn order(&mut self) {
        let ops = self.ops;
        let mut polled: BTreeMap<(u8, u8), i64> = BTreeMap::new();
        let mut sent: BTreeMap<(u8, u8), i64> = BTreeMap::new();
        for op in ops {
            if let Some(keys) = op.assign.as_ref().filter(|_| op.outcome != "fail") {
                let keeps = |&(process, key): &(u8, u8), _: &mut i64| {
                    process != op.process || keys.contains(&key)
                };
                polled.retain(keeps);
                sent.retain(keeps);
            }
            for key in KEYS {
                let (reads, writes) = (op.polled(key), op.sent(key));
                for pair in reads.windows(2) {
                    self.step(
                        key,
                        pair[0],
                        pair[1],
                        "int-poll-skip",
                        "int-nonmonotonic-poll",
                    );
                }
                for pair in writes.windows(2) {
                    self.step(
                        key,
                        pair[0],
                        pair[1],
                        "int-send-skip",
                        "int-nonmonotonic-send",
                    );
                }
                let at = (op.process, key);
                if let (Some(&last), Some(&first)) = (polled.get(&at), reads.first()) {
                    self.step(key, last, first, "poll-skip", "nonmonotonic-poll");
                }
                if let Some(&last) = reads.last().filter(|_| op.ok()) {
                    polled.insert(at, last);
                }
                if op.outcome == "fail" {
                    continue;
                }
                if let (Some(&last), Some(&first)) = (sent.get(&at), writes.first())
                    && self.delta(key, last, first) < 1
                {
                    self.found.insert("nonmonotonic-send");
                }
                if let Some(&last) = writes.last() {
                    sent.insert(at, last);
                }
            }
        }
    }
}

const BY_LOG: [&str; 6] = [
    "inconsistent-offsets",
    "duplicate",
    "lost-write",
    "G1a",
    "precommitted-read",
    "unseen",
];
const BY_ORDER: [&str; 7] = [
    "int-poll-skip",
    "int-nonmonotonic-poll",
    "int-send-skip",
    "int-nonmonotonic-send",
    "poll-skip",
    "nonmonotonic-poll",
    "nonmonotonic-send",
];

fn ours(ops: &[Op]) -> BTreeSet<String> {
    let lines: Vec<String> = ops.iter().map(|op| op.event().to_string()).collect();
    let history = read_from(Cursor::new(lines.join("\n")), "random").expect("a good history");
    let options = Options {
        profile: "jepsen".to_owned(),
        sub_via: vec![SubVia::Assign],
        ..Options::default()
    };
    let verdict = check(&history, &options).expect("good options");
    let found = verdict.anomalies.keys().chain(verdict.allowed.keys());
    found.cloned().collect()
}

/// Like a real log, with something odd here and there: values stand at their own offset.
fn op() -> impl Strategy<Value = Op> {
    let odd = prop_oneof![12 => Just(0i64), 1 => Just(1), 1 => Just(-1)];
    let send = (
        0u8..2,
        0i64..8,
        odd.clone(),
        prop_oneof![4 => Just(true), 1 => Just(false)],
    );
    let send = send
        .prop_map(|(key, value, odd, known)| (key, known.then_some((value + odd).max(0)), value));
    let record = (0i64..3, odd).prop_map(|(gap, odd)| (gap == 0, odd));
    let poll = (0u8..2, 0i64..6, proptest::collection::vec(record, 1..4));
    let poll = poll.prop_map(|(key, from, records)| {
        let mut at = from;
        let records = records.into_iter().map(|(gap, odd)| {
            at += 1 + i64::from(gap);
            ((at + odd).max(0), at)
        });
        (key, records.collect::<Vec<_>>())
    });
    let assign = proptest::option::weighted(0.1, proptest::collection::vec(0u8..2, 0..3));
    let outcome = prop_oneof![5 => Just("ok"), 1 => Just("info"), 1 => Just("fail")];
    (
        0u8..3,
        outcome,
        assign,
        proptest::collection::vec(send, 0..3),
        proptest::collection::vec(poll, 0..3),
    )
        .prop_map(|(process, outcome, assign, sends, polls)| match assign {
            Some(keys) => Op {
                process,
                outcome,
                assign: Some(keys),
                sends: vec![],
                polls: vec![],
            },
            None => Op {
                process,
                outcome,
                assign: None,
                sends,
                polls,
            },
        })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_anomaly_is_found_by_its_definition(ops in proptest::collection::vec(op(), 1..12)) {
        let mut oracle = Oracle { ops: &ops, found: BTreeSet::new() };
        let ambiguous = oracle.log_anomalies();
        oracle.reads();
        oracle.order();
        let compared = |kind: &str| {
            BY_LOG.contains(&kind) || (!ambiguous && BY_ORDER.contains(&kind))
        };
        let mut theirs = oracle.found.clone();
        theirs.retain(|kind| compared(kind));
        let mut ours = ours(&ops);
        ours.retain(|kind| compared(kind));
        // jepsen.tests.kafka counts all that the last operation polled of a key without sends.
        let last = ops.iter().rev().find(|op| op.ok() && op.assign.is_none());
        let quirk = KEYS.iter().any(|&key| {
            let sent = ops.iter().any(|op| op.ok() && !op.sent(key).is_empty());
            !sent && last.is_some_and(|op| !op.polled(key).is_empty())
        });
        if quirk {
            ours.remove("unseen");
            theirs.remove("unseen");
        }
        let theirs: BTreeSet<String> = theirs.into_iter().map(str::to_owned).collect();
        let shown: Vec<String> = ops.iter().map(|op| op.event().to_string()).collect();
        prop_assert_eq!(ours, theirs, "{}", shown.join("\n"));
    }
}
