//! Writes a history in memory as JSON lines: what reads the same again.
//!
//! An event's `index` and `time` are those that it had; an invocation's index is not kept where
//! indices are no positions, and is left out then. Operations of which the history keeps only a
//! count (unknown functions) are not written.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Map, Value as Json, json};

use super::{
    Detail, Function, History, Moment, NemesisStep, Op, OpId, Outcome, Process, Record, RunKind,
};

impl History {
    /// Writes it, one event a line.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut events: Vec<(u32, Json)> = Vec::new();
        let tables = Tables::new(self);
        for (id, op) in self.iter() {
            if self.is_context(id) {
                continue;
            }
            let invoked = op.invoked != op.completed && !was_unknown(op);
            if invoked || op.outcome == Outcome::Open {
                events.push((op.invoked.seq, self.invocation(op)));
            }
            if op.outcome != Outcome::Open {
                events.push((op.completed.seq, self.completion(&tables, id, op)));
            }
        }
        if !self.config.is_empty() {
            events.insert(0, (0, settings(&self.config)));
        }
        let phases = self.phases.iter();
        events.extend(phases.map(|phase| (phase.at.seq, phase_event(phase.at, &phase.name))));
        events.extend(self.nemesis.iter().map(|step| (step.at.seq, fault(step))));
        events.sort_by_key(|&(seq, _)| seq);
        for (_, event) in events {
            writeln!(out, "{event}")?;
        }
        Ok(())
    }

    /// The value of each operation's completion, as history.md writes it; of its invocation, for
    /// those that never completed.
    pub(crate) fn values_written(&self) -> Vec<Json> {
        let tables = Tables::new(self);
        let values = self.iter().map(|(id, op)| self.value(&tables, id, op));
        values.collect()
    }

    /// Fields that every event has.
    fn head(&self, op: &Op, at: Moment, kind: &str) -> Map<String, Json> {
        let mut event = Map::new();
        let positions = op.outcome == Outcome::Open || op.index == i64::from(op.completed.seq);
        if at == op.completed || op.outcome == Outcome::Open {
            event.insert("index".to_owned(), json!(op.index));
        } else if positions {
            event.insert("index".to_owned(), Json::from(at.seq));
        }
        event.insert("time".to_owned(), Json::from(at.time));
        let process = match self.process(op.process) {
            Process::Client(number) => json!(number),
            Process::Nemesis => json!("nemesis"),
            Process::Sampler => json!("sampler"),
            Process::Unknown => Json::Null,
        };
        event.insert("process".to_owned(), process);
        event.insert("type".to_owned(), json!(kind));
        event.insert("f".to_owned(), json!(op.function.name()));
        event
    }

    fn invocation(&self, op: &Op) -> Json {
        let mut event = self.head(op, op.invoked, "invoke");
        let value = match op.function {
            Function::Send | Function::Poll | Function::Txn => self.micro_ops(op, true),
            Function::Assign | Function::Subscribe => self.micro_ops(op, false),
            _ => Json::Null,
        };
        event.insert("value".to_owned(), value);
        if let Some(detail) = self.detail(op) {
            self.beside(detail, &mut event);
            if op.outcome != Outcome::Open {
                event.remove("error");
                event.remove("rebalance-log");
            }
        }
        Json::Object(event)
    }

    fn completion(&self, tables: &Tables, id: OpId, op: &Op) -> Json {
        let kind = match op.outcome {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Info | Outcome::Open => "info",
        };
        let mut event = self.head(op, op.completed, kind);
        event.insert("value".to_owned(), self.value(tables, id, op));
        if let Some(detail) = self.detail(op) {
            self.beside(detail, &mut event);
        }
        Json::Object(event)
    }

    fn value(&self, tables: &Tables, id: OpId, op: &Op) -> Json {
        match op.function {
            Function::Send
            | Function::Poll
            | Function::Txn
            | Function::Assign
            | Function::Subscribe => self.micro_ops(op, op.outcome == Outcome::Open),
            _ => tables.values.get(&id).cloned().unwrap_or(Json::Null),
        }
    }

    fn beside(&self, detail: &Detail, event: &mut Map<String, Json>) {
        let mut field = |name: &str, value: Option<Json>| {
            if let Some(value) = value {
                event.insert(name.to_owned(), value);
            }
        };
        field("error", detail.error.clone());
        let keys = detail.rebalanced.iter().map(|&key| self.keys.name(key));
        let keys: Vec<_> = keys.collect();
        field(
            "rebalance-log",
            (!keys.is_empty()).then(|| json!([{"keys": keys}])),
        );
        field(
            "seek-to-beginning?",
            detail.seek_to_beginning.then_some(Json::Bool(true)),
        );
        field("group", detail.group.as_ref().map(|text| json!(text)));
        field("member", detail.member.as_ref().map(|text| json!(text)));
        field("generation", detail.generation.map(|n| json!(n)));
        let id = detail.transactional_id.as_ref();
        field("transactional-id", id.map(|text| json!(text)));
        field(
            "producer",
            detail.producer.map(|(id, epoch)| json!([id, epoch])),
        );
        for (name, value) in &detail.other {
            event.insert(name.clone(), value.clone());
        }
    }

    /// Micro-ops, or the keys of an assign; of an invocation without what came back.
    fn micro_ops(&self, op: &Op, asked: bool) -> Json {
        let mut ops: Vec<Json> = Vec::new();
        let mut poll = None;
        let detail = self.detail(op);
        let mut position = 0;
        for run in self.runs(op) {
            let key = self.keys.name(run.key);
            let records = self.records(run);
            let value = |record: &Record| self.values.json(record.value);
            match run.kind {
                RunKind::Send => ops.extend(records.iter().map(|record| match asked {
                    true => json!(["send", key, value(record)]),
                    false => json!(["send", key, [record.offset(), value(record)]]),
                })),
                RunKind::Poll => {
                    if poll != Some(run.micro_op()) {
                        ops.push(if asked {
                            json!(["poll"])
                        } else {
                            json!(["poll", {}])
                        });
                        poll = Some(run.micro_op());
                    }
                    let given = records.iter().zip(position..).map(|(record, position)| {
                        let corrupt = detail.and_then(|detail| {
                            detail.corrupt.iter().find(|&&(at, _)| at == position)
                        });
                        match corrupt {
                            Some((_, why)) => json!([record.offset(), null, {"corrupt": why}]),
                            None => json!([record.offset(), value(record)]),
                        }
                    });
                    let given: Json = given.collect();
                    if !asked && let Some(last) = ops.last_mut() {
                        append(&mut last[1][key], given);
                    }
                }
                RunKind::Assign => ops.push(Json::from(key)),
                RunKind::Append => ops.push(json!(["append", key, value(&records[0])])),
                RunKind::Read if !asked => {
                    let elements: Json = records.iter().map(value).collect();
                    ops.push(json!(["r", key, elements]));
                }
                RunKind::Read | RunKind::ReadUnknown => ops.push(json!(["r", key, null])),
            }
            position += records.len() as u32;
        }
        for (group, offsets) in detail.into_iter().flat_map(|detail| &detail.sent_offsets) {
            let offsets: Map<String, Json> = offsets
                .iter()
                .map(|&(key, offset)| (self.keys.name(key).to_owned(), json!(offset)))
                .collect();
            ops.push(json!(["offsets", group, offsets]));
        }
        Json::Array(ops)
    }
}

/// One poll may name a key twice; its records are one list then.
fn append(list: &mut Json, more: Json) {
    match (list.as_array_mut(), more) {
        (Some(list), Json::Array(more)) => list.extend(more),
        (_, more) => *list = more,
    }
}

/// Without an invocation an operation is taken to have begun before everything.
fn was_unknown(op: &Op) -> bool {
    let (invoked, completed) = (op.invoked, op.completed);
    invoked.seq == 0 && completed.seq != 0 && invoked.time == completed.time
}

/// Values of the operations that carry no messages.
struct Tables {
    values: BTreeMap<OpId, Json>,
}

impl Tables {
    fn new(history: &History) -> Tables {
        let name = |key| history.keys.name(key).to_owned();
        let mut values: BTreeMap<OpId, Json> = BTreeMap::new();
        let mut put = |op: OpId, key: String, value: Json| {
            values.entry(op).or_insert_with(|| json!({}))[key] = value;
        };
        for sample in &history.samples {
            let mut fields = Map::new();
            for (field, number) in [
                ("log-start", sample.log_start),
                ("lso", sample.last_stable),
                ("high-watermark", sample.high_watermark),
                ("leader", sample.leader),
                ("epoch", sample.epoch),
                ("asked", sample.asked),
            ] {
                fields.extend(number.map(|number| (field.to_owned(), json!(number))));
            }
            put(sample.op, name(sample.key), Json::Object(fields));
        }
        for drain in &history.drains {
            put(drain.op, name(drain.key), json!([drain.from, drain.to]));
        }
        for audit in &history.audits {
            let records = audit.records.iter();
            let records: Json = records
                .map(|r| json!([r.offset, r.epoch, history.values.json(r.value)]))
                .collect();
            let value = json!({"broker": audit.broker, "high-watermark": audit.high_watermark,
                "records": records});
            put(audit.op, name(audit.key), value);
        }
        for told in &history.group_offsets {
            let offsets = told.offsets.iter();
            let offsets: Map<String, Json> = offsets
                .map(|&(key, offset)| (name(key), json!(offset)))
                .collect();
            let value = json!({"group": told.group, "offsets": offsets});
            values.insert(told.op, value);
        }
        Tables { values }
    }
}

fn settings(config: &Map<String, Json>) -> Json {
    json!({"process": "sampler", "type": "ok", "f": "config", "value": config})
}

fn phase_event(at: Moment, name: &str) -> Json {
    let time = at.time;
    json!({"time": time, "process": "sampler", "type": "ok", "f": "phase", "value": name})
}

fn fault(step: &NemesisStep) -> Json {
    let time = step.at.time;
    let mut event = json!({"time": time, "process": "nemesis",
        "type": if step.failed { "fail" } else { "info" }, "f": step.fault, "value": step.value});
    if let Some(error) = &step.error {
        event["error"] = error.clone();
    }
    event
}
