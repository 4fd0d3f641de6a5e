//! One event of a history, and how it is written as a line of JSON.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

/// Who did it: a logical client that does one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// A producer or consumer; after an `info` its number is never used again.
    Client(u64),
    /// The one who injects faults.
    Nemesis,
    /// The one who looks at offsets from outside.
    Sampler,
}

/// Where in an operation's life the event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It begins.
    Invoke,
    /// It happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened, then or later.
    Info,
}

/// One message of a batch, as far as its producer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Partition that it was sent to.
    pub partition: i32,
    /// Its value.
    pub value: i64,
    /// Offset that was acknowledged.
    pub offset: Option<i64>,
}

/// One record that a consumer was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    /// Partition that it was read from.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its value, or what is wrong with it.
    pub value: Result<i64, String>,
}

/// What an operation is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A batch to send: `["send", key, v]`.
    Sending(Arc<str>, Vec<Sent>),
    /// A batch that was sent, as far as it went: `["send", key, [offset, v]]`.
    Sent(Arc<str>, Vec<Sent>),
    /// A poll that begins: `[["poll"]]`.
    Polling,
    /// What a poll returned: `[["poll", {key: [[offset, v], ..]}]]`.
    Polled(Arc<str>, Vec<Polled>),
    /// Anything else.
    Json(Json),
    /// JSON text that is too large to be built as a tree.
    Text(String),
}

/// One line of a history, but for index and time, which the recorder gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Who.
    pub process: Process,
    /// Where in the operation's life.
    pub kind: Kind,
    /// Which operation.
    pub f: &'static str,
    /// About what.
    pub value: Value,
    /// Why it did not go well.
    pub error: Option<Json>,
    /// Fields beside `value`.
    pub beside: Map<String, Json>,
}

impl Event {
    /// An event with neither an error nor further fields.
    #[must_use]
    pub fn new(process: Process, kind: Kind, f: &'static str, value: Value) -> Self {
        Self {
            process,
            kind,
            f,
            value,
            error: None,
            beside: Map::new(),
        }
    }

    /// The same event with an error, where there is one.
    #[must_use]
    pub fn with_error(mut self, error: Option<Json>) -> Self {
        self.error = error;
        self
    }

    /// How much memory it holds, roughly, in bytes: what bounds the recorder's queue.
    #[must_use]
    pub fn weight(&self) -> usize {
        let value = match &self.value {
            Value::Sending(_, batch) | Value::Sent(_, batch) => batch.len() * size_of::<Sent>(),
            Value::Polled(_, records) => records.len() * size_of::<Polled>(),
            Value::Polling => 0,
            Value::Json(_) => 256,
            Value::Text(text) => text.len(),
        };
        size_of::<Self>() + value
    }

    /// Appends the event as one line.
    pub fn write_line(&self, index: u64, time_ns: u64, into: &mut Vec<u8>) {
        // Writing to a vector cannot fail, so the results below are of no interest.
        let _ = write!(into, r#"{{"index":{index},"time":{time_ns},"process":"#);
        let _ = match self.process {
            Process::Client(id) => write!(into, "{id}"),
            Process::Nemesis => write!(into, r#""nemesis""#),
            Process::Sampler => write!(into, r#""sampler""#),
        };
        let kind = match self.kind {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Info => "info",
        };
        let _ = write!(into, r#","type":"{kind}","f":"{}","value":"#, self.f);
        self.value.write(into);
        if let Some(error) = &self.error {
            let _ = write!(into, r#","error":{error}"#);
        }
        for (name, value) in &self.beside {
            let _ = write!(into, ",{}:{value}", Json::from(name.as_str()));
        }
        into.extend_from_slice(b"}\n");
    }
}

impl Value {
    fn write(&self, into: &mut Vec<u8>) {
        match self {
            Value::Sending(topic, batch) => write_sends(into, topic, batch, false),
            Value::Sent(topic, batch) => write_sends(into, topic, batch, true),
            Value::Polling => into.extend_from_slice(br#"[["poll"]]"#),
            Value::Polled(topic, records) => write_polled(into, topic, records),
            Value::Json(json) => {
                let _ = write!(into, "{json}");
            }
            Value::Text(text) => into.extend_from_slice(text.as_bytes()),
        }
    }
}

/// Topic names are ours: letters, digits, dots and hyphens, which need no escape.
fn write_sends(into: &mut Vec<u8>, topic: &str, batch: &[Sent], completed: bool) {
    into.push(b'[');
    for (i, sent) in batch.iter().enumerate() {
        if i > 0 {
            into.push(b',');
        }
        let (partition, value) = (sent.partition, sent.value);
        let _ = match (completed, sent.offset) {
            (false, _) => write!(into, r#"["send","{topic}-{partition}",{value}]"#),
            (true, None) => write!(into, r#"["send","{topic}-{partition}",[null,{value}]]"#),
            (true, Some(offset)) => {
                write!(into, r#"["send","{topic}-{partition}",[{offset},{value}]]"#)
            }
        };
    }
    into.push(b']');
}

fn write_polled(into: &mut Vec<u8>, topic: &str, records: &[Polled]) {
    let mut by_partition: BTreeMap<i32, Vec<&Polled>> = BTreeMap::new();
    for record in records {
        by_partition
            .entry(record.partition)
            .or_default()
            .push(record);
    }
    into.extend_from_slice(br#"[["poll",{"#);
    for (i, (partition, records)) in by_partition.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(into, r#"{comma}"{topic}-{partition}":["#);
        for (i, record) in records.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let offset = record.offset;
            let _ = match &record.value {
                Ok(value) => write!(into, "{comma}[{offset},{value}]"),
                Err(why) => {
                    let why = Json::from(why.as_str());
                    write!(into, r#"{comma}[{offset},null,{{"corrupt":{why}}}]"#)
                }
            };
        }
        into.push(b']');
    }
    into.extend_from_slice(b"}]]");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(event: &Event) -> Json {
        let mut bytes = Vec::new();
        event.write_line(3, 99, &mut bytes);
        assert_eq!(bytes.pop(), Some(b'\n'));
        serde_json::from_slice(&bytes).expect("a line is JSON")
    }

    #[test]
    fn a_batch_has_the_fixed_shape() {
        let batch = vec![
            Sent {
                partition: 0,
                value: 5,
                offset: Some(12),
            },
            Sent {
                partition: 2,
                value: 6,
                offset: None,
            },
        ];
        let topic: Arc<str> = Arc::from("t");
        let invoked = Event::new(
            Process::Client(1),
            Kind::Invoke,
            "send",
            Value::Sending(topic.clone(), batch.clone()),
        );
        assert_eq!(
            line(&invoked),
            json!({"index": 3, "time": 99, "process": 1, "type": "invoke", "f": "send",
                "value": [["send", "t-0", 5], ["send", "t-2", 6]]})
        );
        let error = json!({"code": "_MSG_TIMED_OUT", "message": "Local: Message timed out"});
        let completed = Event::new(
            Process::Client(1),
            Kind::Info,
            "send",
            Value::Sent(topic, batch),
        )
        .with_error(Some(error.clone()));
        assert_eq!(
            line(&completed),
            json!({"index": 3, "time": 99, "process": 1, "type": "info", "f": "send",
                "value": [["send", "t-0", [12, 5]], ["send", "t-2", [null, 6]]],
                "error": error})
        );
    }

    #[test]
    fn a_poll_has_the_fixed_shape_and_tells_corrupt_records() {
        let record = |partition, offset, value: Result<i64, &str>| Polled {
            partition,
            offset,
            value: value.map_err(str::to_owned),
        };
        let topic: Arc<str> = Arc::from("t");
        let polled = Value::Polled(
            topic,
            vec![
                record(1, 7, Ok(70)),
                record(0, 3, Err("bit \"rot\"")),
                record(1, 8, Ok(80)),
            ],
        );
        let mut event = Event::new(Process::Client(4), Kind::Ok, "poll", polled);
        event.beside.insert("eof".to_owned(), json!(["t-1"]));
        assert_eq!(
            line(&event),
            json!({"index": 3, "time": 99, "process": 4, "type": "ok", "f": "poll",
                "value": [["poll", {"t-0": [[3, null, {"corrupt": "bit \"rot\""}]],
                    "t-1": [[7, 70], [8, 80]]}]],
                "eof": ["t-1"]})
        );
        let begins = Event::new(Process::Client(4), Kind::Invoke, "poll", Value::Polling);
        assert_eq!(line(&begins)["value"], json!([["poll"]]));
    }

    #[test]
    fn processes_have_their_names() {
        let phase = |process| {
            let value = Value::Json(json!("main"));
            line(&Event::new(process, Kind::Ok, "phase", value))["process"].clone()
        };
        assert_eq!(phase(Process::Nemesis), json!("nemesis"));
        assert_eq!(phase(Process::Sampler), json!("sampler"));
        assert_eq!(phase(Process::Client(12)), json!(12));
    }
}
