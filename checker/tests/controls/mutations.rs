//! Ways to break a valid history. Each knows under which names the damage must be found.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

/// One way to break a history.
pub struct Mutation {
    pub name: &'static str,
    /// Types that must be among those found.
    pub caught_as: &'static [&'static str],
    /// Breaks the events; `None` where there is nothing to break in this way.
    damage: fn(&mut Broken) -> Option<()>,
}

/// Breaks a history; `None` where it cannot be broken in this way.
pub fn apply(mutation: &Mutation, history: &str, seed: u64) -> Option<String> {
    let events = history
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let mut broken = Broken {
        events: events.collect(),
        random: ChaCha8Rng::seed_from_u64(seed),
    };
    (mutation.damage)(&mut broken)?;
    let lines: Vec<String> = broken.events.iter().map(Json::to_string).collect();
    Some(lines.join("\n"))
}

/// The events of a history, and chance.
struct Broken {
    events: Vec<Json>,
    random: ChaCha8Rng,
}

/// A record that an ok poll returned.
#[derive(Clone, Debug)]
struct Read {
    event: usize,
    mop: usize,
    key: String,
    at: usize,
    offset: i64,
    value: Json,
}

impl Broken {
    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        from.choose(&mut self.random).cloned()
    }

    /// Positions of the completions of one kind.
    fn completions(&self, f: &str, kind: &str) -> Vec<usize> {
        let is = |event: &&(usize, &Json)| event.1["f"] == f && event.1["type"] == kind;
        let events: Vec<(usize, &Json)> = self.events.iter().enumerate().collect();
        events.iter().filter(is).map(|&(at, _)| at).collect()
    }

    /// Every record that ok polls returned.
    fn reads(&self) -> Vec<Read> {
        let mut reads = Vec::new();
        for (event, json) in self.events.iter().enumerate() {
            if json["type"] != "ok" {
                continue;
            }
            for (mop, micro_op) in json["value"].as_array().into_iter().flatten().enumerate() {
                let polled = micro_op.get(1).and_then(Json::as_object);
                for (key, records) in polled.into_iter().flatten() {
                    for (at, record) in records.as_array().into_iter().flatten().enumerate() {
                        reads.push(Read {
                            event,
                            mop,
                            key: key.clone(),
                            at,
                            offset: record[0].as_i64().expect("an offset"),
                            value: record[1].clone(),
                        });
                    }
                }
            }
        }
        reads
    }

    fn records(&mut self, read: &Read) -> &mut Vec<Json> {
        self.events[read.event]["value"][read.mop][1][&read.key]
            .as_array_mut()
            .expect("records")
    }

    /// (event, micro-op, key, offset, value) of every acknowledged message of plain sends.
    fn acknowledged(&self) -> Vec<(usize, usize, String, i64, Json)> {
        let mut acknowledged = Vec::new();
        for event in self.completions("send", "ok") {
            for (mop, send) in self.events[event]["value"]
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
            {
                if let Some(offset) = send[2][0].as_i64() {
                    let key = send[1].as_str().expect("a key").to_owned();
                    acknowledged.push((event, mop, key, offset, send[2][1].clone()));
                }
            }
        }
        acknowledged
    }

    /// How many ok polls returned each message.
    fn readers(&self) -> BTreeMap<(String, String), usize> {
        let mut readers = BTreeMap::new();
        for read in self.reads() {
            *readers
                .entry((read.key, read.value.to_string()))
                .or_insert(0) += 1;
        }
        readers
    }

    /// Removes a message from every poll, ok or not.
    fn unread(&mut self, key: &str, value: &Json) {
        for event in &mut self.events {
            for mop in event["value"].as_array_mut().into_iter().flatten() {
                let polled = mop.get_mut(1).and_then(|polled| polled.get_mut(key));
                if let Some(records) = polled.and_then(Json::as_array_mut) {
                    records.retain(|record| record[1] != *value);
                }
            }
        }
    }

    /// (event, key) of every answer of the sampler.
    fn answers(&self) -> Vec<(usize, String)> {
        let mut answers = Vec::new();
        for event in self.completions("list-offsets", "ok") {
            for key in self.events[event]["value"]
                .as_object()
                .into_iter()
                .flatten()
            {
                answers.push((event, key.0.clone()));
            }
        }
        answers
    }

    /// For each key, its last answer (the passes are over by then).
    fn last_answers(&self) -> BTreeMap<String, usize> {
        self.answers()
            .into_iter()
            .map(|(event, key)| (key, event))
            .collect()
    }
}

/// Every way.
pub const ALL: &[Mutation] = &[
    Mutation {
        name: "nobody ever reads an acknowledged message",
        caught_as: &["lost-write"],
        damage: |broken| {
            let reads = broken.reads();
            let highest = |key: &str| {
                reads
                    .iter()
                    .filter(|read| read.key == key)
                    .map(|read| read.offset)
                    .max()
            };
            let acknowledged = broken.acknowledged();
            let inner: Vec<_> = acknowledged
                .into_iter()
                .filter(|(_, _, key, offset, _)| highest(key).is_some_and(|top| *offset < top))
                .collect();
            let (_, _, key, _, value) = broken.pick(&inner)?;
            broken.unread(&key, &value);
            Some(())
        },
    },
    Mutation {
        name: "a message is missing from the last pass",
        caught_as: &["vanished"],
        damage: |broken| {
            let second = broken.completions("phase", "ok");
            let again = *second
                .iter()
                .find(|&&at| broken.events[at]["value"] == "drain-again")?;
            let reads: Vec<_> = broken
                .reads()
                .into_iter()
                .filter(|read| read.event > again)
                .collect();
            let read = broken.pick(&reads)?;
            broken.records(&read).remove(read.at);
            Some(())
        },
    },
    Mutation {
        name: "the log ends before its last message",
        caught_as: &["lost-tail"],
        damage: |broken| {
            broken.completions("drain", "ok").first()?;
            let last = broken.last_answers();
            let reads = broken.reads();
            let keys: Vec<_> = last.into_iter().collect();
            let (key, event) = broken.pick(&keys)?;
            let top = reads
                .iter()
                .filter(|read| read.key == key)
                .map(|read| read.offset)
                .max()?;
            broken.events[event]["value"][&key]["high-watermark"] = json!(top);
            Some(())
        },
    },
    Mutation {
        name: "a message is stored a second time",
        caught_as: &["duplicate"],
        damage: |broken| {
            let reads = broken.reads();
            let read = broken.pick(&reads)?;
            let records = broken.records(&read);
            let beyond = records.last()?[0].as_i64()? + 1_000_000;
            records.push(json!([beyond, read.value]));
            Some(())
        },
    },
    Mutation {
        name: "two messages are acknowledged at one offset",
        caught_as: &["inconsistent-offsets"],
        damage: |broken| {
            let acknowledged = broken.acknowledged();
            let (event, mop, key, offset, _) = broken.pick(&acknowledged)?;
            let others: Vec<_> = acknowledged
                .into_iter()
                .filter(|(_, _, other, at, _)| *other == key && *at != offset)
                .collect();
            let (_, _, _, other, _) = broken.pick(&others)?;
            broken.events[event]["value"][mop][2][0] = json!(other);
            Some(())
        },
    },
    Mutation {
        name: "a message is replaced by one that nobody sent",
        caught_as: &["unwritten-read", "inconsistent-offsets"],
        damage: |broken| {
            let reads = broken.reads();
            // Read by several, so that the others tell what should be there.
            let readers = broken.readers();
            let shared: Vec<_> = reads
                .into_iter()
                .filter(|read| readers[&(read.key.clone(), read.value.to_string())] > 1)
                .collect();
            let read = broken.pick(&shared)?;
            broken.records(&read)[read.at][1] = json!(987_654_321);
            Some(())
        },
    },
    Mutation {
        name: "a record is damaged",
        caught_as: &["unwritten-read"],
        damage: |broken| {
            let reads = broken.reads();
            let read = broken.pick(&reads)?;
            broken.records(&read)[read.at] = json!([read.offset, null, {"corrupt": "crc"}]);
            Some(())
        },
    },
    Mutation {
        name: "a send that was read had failed",
        caught_as: &["G1a"],
        damage: |broken| {
            let acknowledged = broken.acknowledged();
            let readers = broken.readers();
            let read: Vec<_> = acknowledged
                .into_iter()
                .filter(|(_, _, key, _, value)| {
                    readers.contains_key(&(key.clone(), value.to_string()))
                })
                .collect();
            let (event, ..) = broken.pick(&read)?;
            broken.events[event]["type"] = json!("fail");
            for send in broken.events[event]["value"].as_array_mut()? {
                send[2][0] = Json::Null;
            }
            Some(())
        },
    },
    Mutation {
        name: "an offset is negative",
        caught_as: &["invalid-offset"],
        damage: |broken| {
            let reads = broken.reads();
            let read = broken.pick(&reads)?;
            broken.records(&read)[read.at][0] = json!(-7);
            Some(())
        },
    },
    Mutation {
        name: "a poll returns two messages the wrong way round",
        caught_as: &["int-nonmonotonic-poll"],
        damage: |broken| {
            let reads: Vec<_> = broken
                .reads()
                .into_iter()
                .filter(|read| read.at > 0)
                .collect();
            let read = broken.pick(&reads)?;
            broken.records(&read).swap(read.at - 1, read.at);
            Some(())
        },
    },
    Mutation {
        name: "a poll leaves out a message that others see",
        caught_as: &["int-poll-skip"],
        damage: |broken| {
            let readers = broken.readers();
            let reads: Vec<_> = broken
                .reads()
                .into_iter()
                .filter(|read| {
                    let records = &broken.events[read.event]["value"][read.mop][1][&read.key];
                    let last = records.as_array().map_or(0, Vec::len) - 1;
                    let others = readers[&(read.key.clone(), read.value.to_string())] > 1;
                    // Of a transaction's polls, the next one may close the gap.
                    let single = broken.events[read.event]["f"] == "poll";
                    read.at > 0 && read.at < last && others && single
                })
                .collect();
            let read = broken.pick(&reads)?;
            broken.records(&read).remove(read.at);
            Some(())
        },
    },
    Mutation {
        name: "a consumer reads one message again in its next poll",
        caught_as: &["nonmonotonic-poll"],
        damage: |broken| {
            let (earlier, later) = consecutive_polls(broken)?;
            let again = json!([earlier.offset, earlier.value]);
            broken.records(&later).insert(0, again);
            Some(())
        },
    },
    Mutation {
        name: "a consumer's next poll leaves out its first message",
        caught_as: &["poll-skip"],
        damage: |broken| {
            let (_, later) = consecutive_polls(broken)?;
            let records = broken.records(&later);
            if records.len() < 2 {
                return None;
            }
            records.remove(0);
            // Another consumer still sees it.
            broken
                .readers()
                .contains_key(&(later.key, later.value.to_string()))
                .then_some(())
        },
    },
    Mutation {
        name: "a producer's batch stands in the log the wrong way round",
        caught_as: &["int-nonmonotonic-send"],
        damage: |broken| {
            let acknowledged = broken.acknowledged();
            let pairs: Vec<_> = acknowledged
                .iter()
                .flat_map(|a| acknowledged.iter().map(move |b| (a.clone(), b.clone())))
                .filter(|(a, b)| a.0 == b.0 && a.2 == b.2 && a.1 < b.1)
                .collect();
            let (a, b) = broken.pick(&pairs)?;
            broken.events[a.0]["value"][a.1][2][0] = json!(b.3);
            broken.events[b.0]["value"][b.1][2][0] = json!(a.3);
            Some(())
        },
    },
    Mutation {
        name: "a producer's later batch stands before its earlier one",
        caught_as: &["nonmonotonic-send"],
        damage: |broken| {
            let mut last: BTreeMap<(String, String), (usize, usize, i64)> = BTreeMap::new();
            let mut pairs = Vec::new();
            // First of a key in the later batch against the last in the earlier one.
            let mut seen: Option<(usize, Vec<String>)> = None;
            for (event, mop, key, offset, _) in broken.acknowledged() {
                let process = broken.events[event]["process"].to_string();
                let (_, keys) = match &mut seen {
                    Some(seen) if seen.0 == event => seen,
                    _ => seen.insert((event, Vec::new())),
                };
                if !keys.contains(&key) {
                    keys.push(key.clone());
                    if let Some(earlier) = last.get(&(process.clone(), key.clone())) {
                        pairs.push((*earlier, (event, mop, offset)));
                    }
                }
                last.insert((process, key), (event, mop, offset));
            }
            let (a, b) = broken.pick(&pairs)?;
            broken.events[a.0]["value"][a.1][2][0] = json!(b.2);
            broken.events[b.0]["value"][b.1][2][0] = json!(a.2);
            Some(())
        },
    },
    Mutation {
        name: "a value is sent twice",
        caught_as: &["non-unique-write"],
        damage: |broken| {
            let acknowledged = broken.acknowledged();
            let (event, ..) = broken.pick(&acknowledged)?;
            let again = broken.events[event]["value"][0].clone();
            broken.events[event]["value"].as_array_mut()?.push(again);
            Some(())
        },
    },
    Mutation {
        name: "a watermark goes back",
        caught_as: &["watermark-regression"],
        damage: |broken| {
            // The passes end with the same questions, asked twice.
            broken.completions("drain", "ok").first()?;
            let keys: Vec<_> = broken.last_answers().into_iter().collect();
            let (key, event) = broken.pick(&keys)?;
            let watermark = &mut broken.events[event]["value"][&key]["high-watermark"];
            *watermark = json!(watermark.as_i64().filter(|&offset| offset > 0)? - 1);
            Some(())
        },
    },
    Mutation {
        name: "a watermark does not cover what was acknowledged",
        caught_as: &["stale-watermark"],
        damage: |broken| {
            let acknowledged = broken.acknowledged();
            let keys: Vec<_> = broken.last_answers().into_iter().collect();
            let (key, event) = broken.pick(&keys)?;
            let of_key = acknowledged
                .iter()
                .filter(|(_, _, other, _, _)| *other == key);
            let top = of_key.map(|(_, _, _, offset, _)| *offset).max()?;
            broken.events[event]["value"][&key]["high-watermark"] = json!(top);
            Some(())
        },
    },
    Mutation {
        name: "a watermark does not cover what was delivered",
        caught_as: &["visible-above-watermark"],
        damage: |broken| {
            let reads = broken.reads();
            let keys: Vec<_> = broken.last_answers().into_iter().collect();
            let (key, event) = broken.pick(&keys)?;
            let top = reads
                .iter()
                .filter(|read| read.key == key)
                .map(|read| read.offset)
                .max()?;
            broken.events[event]["value"][&key]["high-watermark"] = json!(top);
            Some(())
        },
    },
    Mutation {
        name: "two brokers lead in one epoch",
        caught_as: &["dual-leader"],
        damage: |broken| {
            let answers = broken.answers();
            let (event, key) = broken.pick(&answers)?;
            let mut other = broken.events[event].clone();
            let leader = other["value"][&key]["leader"].as_i64()? % 3 + 1;
            other["value"] = json!({&key: other["value"][&key].clone()});
            other["value"][&key]["leader"] = json!(leader);
            other["value"][&key]["asked"] = json!(leader);
            broken.events.insert(event + 1, other);
            Some(())
        },
    },
    Mutation {
        name: "a broker goes back to an older epoch",
        caught_as: &["epoch-regression"],
        damage: |broken| {
            // The passes end with the same questions, asked twice.
            broken.completions("drain", "ok").first()?;
            let keys: Vec<_> = broken.last_answers().into_iter().collect();
            let (key, event) = broken.pick(&keys)?;
            let epoch = &mut broken.events[event]["value"][&key]["epoch"];
            *epoch = json!(epoch.as_i64()? - 1);
            Some(())
        },
    },
    Mutation {
        name: "a replica holds another record",
        caught_as: &["replica-divergence"],
        damage: |broken| {
            let audits = broken.completions("audit", "ok");
            let event = broken.pick(&audits)?;
            let keys: Vec<String> = broken.events[event]["value"]
                .as_object()?
                .keys()
                .cloned()
                .collect();
            let key = broken.pick(&keys)?;
            let count = broken.events[event]["value"][&key]["records"]
                .as_array()?
                .len();
            if count == 0 {
                return None;
            }
            let at = broken.random.random_range(0..count);
            broken.events[event]["value"][&key]["records"][at][2] = json!(555_555);
            Some(())
        },
    },
    Mutation {
        name: "a transaction reads what it itself sends",
        caught_as: &["precommitted-read"],
        damage: |broken| {
            let mut found = Vec::new();
            for event in broken.completions("txn", "ok") {
                for send in broken.events[event]["value"].as_array()? {
                    if send[0] == "send" {
                        found.push((event, send[1].as_str()?.to_owned(), send[2].clone()));
                    }
                }
            }
            let (event, key, record) = broken.pick(&found)?;
            let poll = json!(["poll", {key: [record]}]);
            broken.events[event]["value"].as_array_mut()?.push(poll);
            Some(())
        },
    },
];

/// The last record of one poll and the first of the same process's next poll of that key, with
/// nothing in between; not in a pass, and read by somebody else too.
fn consecutive_polls(broken: &mut Broken) -> Option<(Read, Read)> {
    let reads = broken.reads();
    let mut last: BTreeMap<(String, String), Read> = BTreeMap::new();
    let mut pairs = Vec::new();
    for (event, json) in broken.events.iter().enumerate() {
        let process = json["process"].to_string();
        if json["f"] == "assign" || json["type"] == "info" {
            last.retain(|(other, _), _| *other != process);
            continue;
        }
        // Reads stand in the order of their events.
        let from = reads.partition_point(|read| read.event < event);
        let here: Vec<&Read> = reads[from..]
            .iter()
            .take_while(|read| read.event == event)
            .collect();
        for read in here
            .iter()
            .filter(|read| json["f"] == "poll" && read.mop == 0)
        {
            let slot = (process.clone(), read.key.clone());
            if read.at == 0
                && let Some(earlier) = last.get(&slot)
            {
                pairs.push((earlier.clone(), (*read).clone()));
            }
        }
        for read in here {
            last.insert((process.clone(), read.key.clone()), read.clone());
        }
    }
    let readers = broken.readers();
    pairs.retain(|(_, later)| readers[&(later.key.clone(), later.value.to_string())] > 1);
    broken.pick(&pairs)
}
