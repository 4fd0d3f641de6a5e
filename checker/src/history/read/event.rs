//! One line of a history: its fields in any order, its value by its operation.
//!
//! The value is parsed where it stands if operation, type and process stand before it (as our own
//! recorder writes them), and after a second look otherwise.

use serde_json::Value as Json;

use crate::history::build::{Builder, EventType, Head, Payload};
use crate::history::{Detail, Function, Process};

use super::control;
use super::micro_op;
use super::scan::{Scan, Scanner, Within};

/// Reads one line into the builder.
pub(super) fn event(builder: &mut Builder, line: &[u8]) -> Scan<()> {
    let mut scanner = Scanner::new(line);
    let mut fields = Fields::default();
    builder.begin_event();
    scanner.expect(b'{', "an object: one event a line")?;
    if !scanner.eat(b'}') {
        loop {
            let name = scanner.raw_text()?.0;
            scanner.expect(b':', "`:`")?;
            field(builder, &mut scanner, &mut fields, name)?;
            if !scanner.more(b'}', "`,` or `}`")? {
                break;
            }
        }
    }
    if scanner.peek().is_some() {
        return scanner.fault("the end of the line: one event a line");
    }
    finish(builder, &scanner, fields)
}

#[derive(Default)]
struct Fields<'a> {
    index: Option<i64>,
    time: Option<i64>,
    process: Option<Process>,
    kind: Option<EventType>,
    function: Option<(Function, &'a [u8])>,
    value_at: Option<usize>,
    payload: Option<Payload>,
    detail: Option<Box<Detail>>,
}

impl Fields<'_> {
    fn detail(&mut self) -> &mut Detail {
        self.detail.get_or_insert_default()
    }
}

fn field<'a>(
    builder: &mut Builder,
    scanner: &mut Scanner<'a>,
    fields: &mut Fields<'a>,
    name: &[u8],
) -> Scan<()> {
    match name {
        b"index" => fields.index = nullable_integer(scanner).within("index")?,
        b"time" => fields.time = nullable_integer(scanner).within("time")?,
        b"process" => fields.process = Some(process(scanner).within("process")?),
        b"type" => fields.kind = Some(event_type(scanner).within("type")?),
        b"f" => fields.function = Some(function(scanner).within("f")?),
        b"value" => return value_field(builder, scanner, fields),
        b"error" => {
            let error = scanner.json().within("error")?;
            if !error.is_null() {
                fields.detail().error = Some(error);
            }
        }
        b"rebalance-log" => {
            let keys = micro_op::rebalance_log(builder, scanner).within("rebalance-log")?;
            if !keys.is_empty() {
                fields.detail().rebalanced = keys;
            }
        }
        _ => return beside_value(scanner, fields, name),
    }
    Ok(())
}

/// The rarer fields beside the value. A field of an unexpected shape is kept as it is.
fn beside_value<'a>(scanner: &mut Scanner<'a>, fields: &mut Fields<'a>, name: &[u8]) -> Scan<()> {
    let carries_messages = fields
        .function
        .is_some_and(|(function, _)| function.is_data());
    let known = matches!(
        name,
        b"seek-to-beginning?"
            | b"group"
            | b"member"
            | b"generation"
            | b"transactional-id"
            | b"producer"
    );
    if carries_messages && !known {
        return scanner.skip();
    }
    let name = String::from_utf8_lossy(name).into_owned();
    let json = scanner.json().within(&name)?;
    let detail = fields.detail();
    let text = |json: &Json| {
        json.as_str()
            .map_or_else(|| json.to_string(), str::to_owned)
    };
    match (name.as_str(), &json) {
        (_, Json::Null) => {}
        ("seek-to-beginning?", Json::Bool(seek)) => detail.seek_to_beginning = *seek,
        ("group", json) => detail.group = Some(text(json)),
        ("member", json) => detail.member = Some(text(json)),
        ("transactional-id", json) => detail.transactional_id = Some(text(json)),
        ("generation", json) if json.is_i64() => detail.generation = json.as_i64(),
        ("producer", Json::Array(pair)) if pair.len() == 2 => {
            detail.producer = pair[0].as_i64().zip(pair[1].as_i64());
        }
        _ => {
            detail.other.insert(name, json);
        }
    }
    Ok(())
}

fn nullable_integer(scanner: &mut Scanner) -> Scan<Option<i64>> {
    if scanner.null()? {
        Ok(None)
    } else {
        scanner.integer().map(Some)
    }
}

fn process(scanner: &mut Scanner) -> Scan<Process> {
    if scanner.null()? {
        return Ok(Process::Unknown);
    }
    if let Some(integer) = scanner.try_integer() {
        return Ok(Process::Client(integer));
    }
    match scanner.peek() {
        Some(b'"') => Ok(match scanner.raw_text()?.0 {
            b"nemesis" => Process::Nemesis,
            b"sampler" => Process::Sampler,
            _ => Process::Unknown,
        }),
        _ => scanner.integer().map(Process::Client),
    }
}

fn event_type(scanner: &mut Scanner) -> Scan<EventType> {
    let before = scanner.clone();
    match scanner.raw_text()?.0 {
        b"invoke" => Ok(EventType::Invoke),
        b"ok" => Ok(EventType::Ok),
        b"fail" => Ok(EventType::Fail),
        b"info" => Ok(EventType::Info),
        _ => before.fault("\"invoke\", \"ok\", \"fail\" or \"info\""),
    }
}

fn function<'a>(scanner: &mut Scanner<'a>) -> Scan<(Function, &'a [u8])> {
    let (name, _) = scanner.raw_text()?;
    let function = match name {
        b"send" => Function::Send,
        b"poll" => Function::Poll,
        b"txn" => Function::Txn,
        b"assign" => Function::Assign,
        b"subscribe" => Function::Subscribe,
        b"commit-offsets" => Function::CommitOffsets,
        b"fetch-offsets" => Function::FetchOffsets,
        b"config" => Function::Config,
        b"phase" => Function::Phase,
        b"drain" => Function::Drain,
        b"audit" => Function::Audit,
        b"list-offsets" => Function::ListOffsets,
        b"crash" => Function::Crash,
        _ => Function::Other,
    };
    Ok((function, name))
}

fn value_field(builder: &mut Builder, scanner: &mut Scanner, fields: &mut Fields) -> Scan<()> {
    match (fields.kind, fields.function, fields.process) {
        (Some(kind), Some((function, _)), Some(process)) => {
            let function = effective_function(function, process);
            let payload = value(builder, scanner, kind, function).within("value")?;
            fields.payload = Some(payload);
        }
        _ => {
            fields.value_at = Some(scanner.at());
            scanner.skip().within("value")?;
        }
    }
    Ok(())
}

/// Whatever the nemesis does is a step of a fault.
fn effective_function(function: Function, process: Process) -> Function {
    if process == Process::Nemesis {
        Function::Nemesis
    } else {
        function
    }
}

fn value(
    builder: &mut Builder,
    scanner: &mut Scanner,
    kind: EventType,
    function: Function,
) -> Scan<Payload> {
    if scanner.null()? {
        return Ok(Payload::None);
    }
    let invoked = kind == EventType::Invoke;
    match function {
        Function::Send | Function::Poll | Function::Txn => {
            micro_op::micro_ops(builder, scanner)?;
            Ok(Payload::Data)
        }
        Function::Assign | Function::Subscribe => {
            micro_op::assigned_keys(builder, scanner)?;
            Ok(Payload::Data)
        }
        Function::ListOffsets if !invoked => {
            if kind != EventType::Ok && scanner.peek() != Some(b'{') {
                return scanner.skip().map(|()| Payload::None);
            }
            control::samples(builder, scanner).map(Payload::Samples)
        }
        Function::Drain if kind == EventType::Ok => {
            control::ranges(builder, scanner).map(Payload::Ranges)
        }
        Function::Audit if kind == EventType::Ok => {
            control::audits(builder, scanner).map(Payload::Audits)
        }
        Function::Config
        | Function::Phase
        | Function::Nemesis
        | Function::CommitOffsets
        | Function::FetchOffsets => scanner.json().map(Payload::Json),
        Function::ListOffsets
        | Function::Drain
        | Function::Audit
        | Function::Crash
        | Function::Other => scanner.skip().map(|()| Payload::None),
    }
}

fn finish(builder: &mut Builder, scanner: &Scanner, mut fields: Fields) -> Scan<()> {
    let Some(kind) = fields.kind else {
        return scanner
            .fault("\"invoke\", \"ok\", \"fail\" or \"info\"")
            .within("type");
    };
    let Some((function, name)) = fields.function else {
        return scanner.fault("the operation's name").within("f");
    };
    let process = fields.process.unwrap_or(Process::Unknown);
    let function = effective_function(function, process);
    if let Some(at) = fields.value_at {
        let mut again = scanner.moved_to(at);
        fields.payload = Some(value(builder, &mut again, kind, function).within("value")?);
    }
    if function == Function::Other {
        builder.count_unknown(&String::from_utf8_lossy(name));
    }
    let head = Head {
        index: fields.index,
        time: fields.time,
        process,
        kind,
        function,
    };
    let mut payload = fields.payload.unwrap_or(Payload::None);
    if let Payload::Json(json) = &payload {
        payload = control_payload(builder, scanner, function, kind, json)?;
    }
    builder.finish_event(head, payload, fields.detail);
    Ok(())
}

/// The operations whose value is small and read as a tree first.
fn control_payload(
    builder: &mut Builder,
    scanner: &Scanner,
    function: Function,
    kind: EventType,
    json: &Json,
) -> Scan<Payload> {
    match function {
        Function::Nemesis => Ok(match control::nemesis_step(json) {
            Some((fault, id, step)) => Payload::Step {
                fault,
                id,
                step,
                value: json.clone(),
            },
            None => Payload::None,
        }),
        Function::Phase => Ok(match json.as_str() {
            Some(name) => Payload::Phase(name.to_owned()),
            None => Payload::None,
        }),
        Function::Config => match json {
            Json::Object(config) => Ok(Payload::Config(config.clone())),
            _ => scanner
                .moved_to(0)
                .fault("an object of settings")
                .within("value"),
        },
        _ if kind == EventType::Invoke => Ok(Payload::None),
        _ => match control::group_offsets(builder, json) {
            Some((group, offsets)) => Ok(Payload::Offsets { group, offsets }),
            None if kind != EventType::Ok => Ok(Payload::None),
            None => scanner
                .moved_to(0)
                .fault("{\"group\": g, \"offsets\": {key: offset}}")
                .within("value"),
        },
    }
}
