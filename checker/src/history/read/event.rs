//! One line of a history: its fields in any order, its value by its operation.
//!
//! The value is parsed where it stands if operation, type and process stand before it (as our own
//! recorder writes them), and after a second look otherwise.

use serde_json::Value as Json;

use crate::history::batch::{Batch, EventType, Head, NO_ERROR, Payload};
use crate::history::{Detail, Function, Process};

use super::control;
use super::micro_op;
use super::scan::{Scan, Scanner, Within};

/// Reads one line into the batch.
pub(super) fn event(batch: &mut Batch, line: &[u8]) -> Scan<()> {
    let mut scanner = Scanner::new(line);
    let mut fields = Fields::default();
    batch.begin_event();
    let usual = usual_head(&mut scanner, &mut fields);
    if usual {
        value_field(batch, &mut scanner, &mut fields)?;
    } else {
        scanner.expect(b'{', "an object: one event a line")?;
    }
    let done = match usual {
        true => !scanner.more(b'}', "`,` or `}`")?,
        false => scanner.eat(b'}'),
    };
    if !done {
        loop {
            let name = scanner.raw_text()?.0;
            scanner.expect(b':', "`:`")?;
            field(batch, &mut scanner, &mut fields, name)?;
            if !scanner.more(b'}', "`,` or `}`")? {
                break;
            }
        }
    }
    if scanner.peek().is_some() {
        return scanner.fault("the end of the line: one event a line");
    }
    finish(batch, &scanner, fields)
}

/// The fields before the value, if they stand exactly as our own recorder writes them; the scanner
/// is at the value then, and where it was otherwise.
fn usual_head<'a>(scanner: &mut Scanner<'a>, fields: &mut Fields<'a>) -> bool {
    let before = scanner.clone();
    if usual_fields(scanner, fields).is_some() {
        return true;
    }
    *scanner = before;
    *fields = Fields::default();
    false
}

fn usual_fields<'a>(scanner: &mut Scanner<'a>, fields: &mut Fields<'a>) -> Option<()> {
    let text = |found: bool| found.then_some(());
    text(scanner.eat_exact(b"{\"index\":"))?;
    fields.index = Some(scanner.digits()?);
    text(scanner.eat_exact(b",\"time\":"))?;
    fields.time = Some(scanner.digits()?);
    text(scanner.eat_exact(b",\"process\":"))?;
    fields.process = Some(Process::Client(scanner.digits()?));
    text(scanner.eat_exact(b",\"type\":"))?;
    fields.kind = Some(event_type(scanner).ok()?);
    text(scanner.eat_exact(b",\"f\":"))?;
    fields.function = Some(function(scanner).ok()?);
    text(scanner.eat_exact(b",\"value\":"))
}

/// Few errors are distinct, so each is parsed once.
fn error(batch: &mut Batch, scanner: &mut Scanner) -> Scan<u32> {
    scanner.peek();
    let before = scanner.clone();
    scanner.skip()?;
    let text = scanner.since(&before);
    batch.error(text, || before.clone().json())
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
    /// What stands at `error`, and its number.
    error: Option<u32>,
    detail: Option<Box<Detail>>,
}

impl Fields<'_> {
    fn detail(&mut self) -> &mut Detail {
        self.detail.get_or_insert_default()
    }
}

fn field<'a>(
    batch: &mut Batch,
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
        b"value" => return value_field(batch, scanner, fields),
        b"error" => {
            fields.error = Some(error(batch, scanner).within("error")?);
        }
        b"rebalance-log" => {
            let keys = micro_op::rebalance_log(batch, scanner).within("rebalance-log")?;
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
    if scanner.eat_exact(b"\"invoke\"") {
        return Ok(EventType::Invoke);
    }
    if scanner.eat_exact(b"\"ok\"") {
        return Ok(EventType::Ok);
    }
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

fn value_field(batch: &mut Batch, scanner: &mut Scanner, fields: &mut Fields) -> Scan<()> {
    match (fields.kind, fields.function, fields.process) {
        (Some(kind), Some((function, _)), Some(process)) => {
            let function = effective_function(function, process);
            let payload = value(batch, scanner, kind, function).within("value")?;
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
    batch: &mut Batch,
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
            micro_op::micro_ops(batch, scanner)?;
            Ok(Payload::Data)
        }
        Function::Assign | Function::Subscribe => {
            micro_op::assigned_keys(batch, scanner)?;
            Ok(Payload::Data)
        }
        Function::ListOffsets if !invoked => {
            if kind != EventType::Ok && scanner.peek() != Some(b'{') {
                return scanner.skip().map(|()| Payload::None);
            }
            control::samples(batch, scanner).map(Payload::Samples)
        }
        Function::Drain if kind == EventType::Ok => {
            control::ranges(batch, scanner).map(Payload::Ranges)
        }
        Function::Audit if kind == EventType::Ok => {
            control::audits(batch, scanner).map(Payload::Audits)
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

fn finish(batch: &mut Batch, scanner: &Scanner, mut fields: Fields) -> Scan<()> {
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
        fields.payload = Some(value(batch, &mut again, kind, function).within("value")?);
    }
    if function == Function::Other {
        batch.count_unknown(&String::from_utf8_lossy(name));
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
        payload = control_payload(batch, scanner, function, kind, json)?;
    }
    let error = fields.error.unwrap_or(NO_ERROR);
    batch.finish_event(head, payload, error, fields.detail);
    Ok(())
}

/// The operations whose value is small and read as a tree first.
fn control_payload(
    batch: &mut Batch,
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
        _ => match control::group_offsets(batch, json) {
            Some((group, offsets)) => Ok(Payload::Offsets { group, offsets }),
            None if kind != EventType::Ok => Ok(Payload::None),
            None => scanner
                .moved_to(0)
                .fault("{\"group\": g, \"offsets\": {key: offset}}")
                .within("value"),
        },
    }
}
