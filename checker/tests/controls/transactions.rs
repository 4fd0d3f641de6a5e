//! Ways to break what transactions, producers and groups rely on.

use serde_json::{Value as Json, json};

use super::{Broken, Mutation};

impl Broken {
    /// (event, key, offset, value) of each message that ok transactions sent.
    fn sent_by_transactions(&self) -> Vec<(usize, String, i64, Json)> {
        let mut sent = Vec::new();
        for event in self.completions("txn", "ok") {
            for mop in self.events[event]["value"].as_array().into_iter().flatten() {
                if let ("send", Some(offset)) = (mop[0].as_str().unwrap_or(""), mop[2][0].as_i64())
                {
                    let key = mop[1].as_str().expect("a key").to_owned();
                    sent.push((event, key, offset, mop[2][1].clone()));
                }
            }
        }
        sent
    }

    /// The invocation of the operation that completes in that event.
    fn invocation(&self, event: usize) -> Option<usize> {
        let done = &self.events[event];
        (0..event).rev().find(|&at| {
            let earlier = &self.events[at];
            earlier["process"] == done["process"]
                && earlier["f"] == done["f"]
                && earlier["type"] == "invoke"
        })
    }

    /// A field beside the value, of an operation's invocation and completion.
    fn beside(&mut self, event: usize, field: &str, value: &Json) -> Option<()> {
        let invocation = self.invocation(event)?;
        for at in [invocation, event] {
            self.events[at][field] = value.clone();
        }
        Some(())
    }

    /// An operation at the end, of a process of its own.
    fn appended(&mut self, process: i64, f: &str, value: &Json, group: &str) {
        for kind in ["invoke", "ok"] {
            let index = self.events.len();
            let time = self
                .events
                .last()
                .map_or(json!(0), |last| last["time"].clone());
            self.events
                .push(json!({"index": index, "time": time, "process": process,
                "type": kind, "f": f, "value": value, "group": group}));
        }
    }
}

/// Every way.
pub const ALL: &[Mutation] = &[
    Mutation {
        name: "one message of a transaction can be read nowhere",
        caught_as: &["torn-transaction"],
        damage: |broken| {
            broken.completions("drain", "ok").first()?;
            let sent = broken.sent_by_transactions();
            let readers = broken.readers();
            let read = |(_, key, _, value): &(usize, String, i64, Json)| {
                readers.contains_key(&(key.clone(), value.to_string()))
            };
            let with_another: Vec<_> = sent
                .iter()
                .filter(|one| read(one))
                .filter(|one| sent.iter().any(|o| o.0 == one.0 && o.3 != one.3 && read(o)))
                .cloned()
                .collect();
            let (_, key, _, value) = broken.pick(&with_another)?;
            broken.unread(&key, &value);
            Some(())
        },
    },
    Mutation {
        name: "a fenced producer's message is read",
        caught_as: &["zombie-write"],
        damage: |broken| {
            let readers = broken.readers();
            let acknowledged = broken.acknowledged();
            let read: Vec<_> = acknowledged
                .iter()
                .filter(|(_, _, key, _, value)| {
                    readers.contains_key(&(key.clone(), value.to_string()))
                })
                .collect();
            let late = read.last()?.0;
            let invoked = broken.invocation(late)?;
            let earlier = acknowledged.iter().find(|(event, ..)| *event < invoked)?.0;
            broken.beside(earlier, "producer", &json!([900_000, 4]))?;
            broken.beside(late, "producer", &json!([900_000, 3]))
        },
    },
    Mutation {
        name: "two members own a partition in one generation",
        caught_as: &["double-ownership"],
        damage: |broken| {
            let reads = broken.reads();
            let one = broken.pick(&reads)?;
            let process = |event: usize| broken.events[event]["process"].clone();
            let other = reads
                .iter()
                .find(|read| read.key == one.key && process(read.event) != process(one.event))?;
            let both = [(one.event, "a"), (other.event, "b")];
            for (event, member) in both {
                broken.beside(event, "group", &json!("owners"))?;
                broken.beside(event, "member", &json!(member))?;
                broken.beside(event, "generation", &json!(1))?;
            }
            Some(())
        },
    },
    Mutation {
        name: "two transactions consume one record",
        caught_as: &["double-consume"],
        damage: |broken| {
            let reads = broken.reads();
            let of_txns = reads
                .iter()
                .filter(|read| broken.events[read.event]["f"] == "txn");
            let of_txns: Vec<_> = of_txns.cloned().collect();
            let one = broken.pick(&of_txns)?;
            let other = of_txns.iter().find(|read| {
                read.event != one.event && read.key == one.key && read.value == one.value
            })?;
            for event in [one.event, other.event] {
                let sent = json!(["offsets", "eaters", {&one.key: one.offset + 1}]);
                broken.events[event]["value"].as_array_mut()?.push(sent);
                broken.beside(event, "group", &json!("eaters"))?;
            }
            Some(())
        },
    },
    Mutation {
        name: "a committed offset is forgotten",
        caught_as: &["committed-offset-regression"],
        damage: |broken| {
            let reads = broken.reads();
            let read = broken.pick(&reads)?;
            let offsets =
                |offset: Json| json!({"group": "forgetful", "offsets": {&read.key: offset}});
            broken.appended(
                91_000,
                "commit-offsets",
                &offsets(json!(read.offset + 1)),
                "forgetful",
            );
            broken.appended(91_001, "fetch-offsets", &offsets(Json::Null), "forgetful");
            Some(())
        },
    },
    Mutation {
        name: "an offset is committed above what was given",
        caught_as: &["committed-offset-overrun"],
        damage: |broken| {
            let reads = broken.reads();
            let read = broken.pick(&reads)?;
            let mut of_key: Vec<_> = reads.iter().filter(|one| one.key == read.key).collect();
            of_key.sort_by_key(|one| one.offset);
            of_key.dedup_by_key(|one| one.offset);
            let [first, .., last] = of_key[..] else {
                return None;
            };
            let poll = json!([["poll", {&read.key: [[first.offset, first.value]]}]]);
            broken.appended(92_000, "poll", &poll, "hasty");
            let offsets = json!({"group": "hasty", "offsets": {&read.key: last.offset + 1}});
            broken.appended(92_000, "commit-offsets", &offsets, "hasty");
            Some(())
        },
    },
    Mutation {
        name: "a poll returns a message before it is sent",
        caught_as: &["G1c-realtime"],
        damage: |broken| {
            let acknowledged = broken.acknowledged();
            let (event, _, key, offset, value) = acknowledged.last()?.clone();
            let invoked = broken.invocation(event)?;
            let reads = broken.reads();
            let early = reads
                .iter()
                .find(|read| read.event < invoked && read.key == key)?;
            broken.records(early).push(json!([offset, value]));
            Some(())
        },
    },
];
