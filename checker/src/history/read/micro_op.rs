//! Micro-ops: the value of `send`, `poll` and `txn`, and the keys of `assign` and `subscribe`.
//!
//! Everything here appends to the arenas of the [`Builder`]; neighbouring sends to one key share
//! one run. What stands there is checked field by field: nothing is guessed.

use crate::history::build::Builder;
use crate::history::{KeyId, Record, RunKind, Value};

use super::scan::{Scan, Scanner, Within};

/// A list of micro-ops.
pub(super) fn micro_ops(builder: &mut Builder, scanner: &mut Scanner) -> Scan<()> {
    scanner.expect(b'[', "a list of micro-ops")?;
    if scanner.eat(b']') {
        return Ok(());
    }
    let mut index = 0;
    loop {
        micro_op(builder, scanner, index).within_item(index as usize)?;
        if !scanner.more(b']', "`,` or `]`")? {
            return Ok(());
        }
        index += 1;
    }
}

fn micro_op(builder: &mut Builder, scanner: &mut Scanner, index: u32) -> Scan<()> {
    scanner.expect(b'[', "a micro-op such as [\"send\", key, value]")?;
    let before = scanner.clone();
    match scanner.raw_text()?.0 {
        b"send" => send(builder, scanner, index),
        b"poll" => poll(builder, scanner, index),
        b"append" => append(builder, scanner, index),
        b"r" => read(builder, scanner, index),
        b"offsets" => sent_offsets(builder, scanner),
        _ => before.fault("\"send\", \"poll\", \"offsets\", \"append\" or \"r\""),
    }
}

fn comma(scanner: &mut Scanner) -> Scan<()> {
    scanner.expect(b',', "`,`")
}

fn close(scanner: &mut Scanner) -> Scan<()> {
    scanner.expect(b']', "`]`")
}

/// A key: a string or an integer; `7` and `"7"` are one key.
pub(super) fn key(builder: &mut Builder, scanner: &mut Scanner) -> Scan<KeyId> {
    if scanner.peek() == Some(b'"') {
        let text = scanner.text()?;
        return Ok(builder.history.keys.intern(&text));
    }
    match scanner.try_integer() {
        Some(integer) => Ok(builder.history.keys.intern(&integer.to_string())),
        None => scanner.fault("a key: a string or an integer"),
    }
}

/// An offset, or null where it is not known.
fn offset(scanner: &mut Scanner) -> Scan<i64> {
    if scanner.null()? {
        return Ok(Record::NO_OFFSET);
    }
    match scanner.integer()? {
        // The one integer that stands for "not known" here is as absurd as its neighbour.
        Record::NO_OFFSET => Ok(Record::NO_OFFSET + 1),
        offset => Ok(offset),
    }
}

fn value(builder: &mut Builder, scanner: &mut Scanner) -> Scan<Value> {
    match scanner.try_integer() {
        Some(integer) => Ok(builder.history.values.integer(integer)),
        None => Ok(builder.history.values.scalar(scanner.scalar()?)),
    }
}

/// `["send", key, v]` or `["send", key, [offset, v]]`.
fn send(builder: &mut Builder, scanner: &mut Scanner, index: u32) -> Scan<()> {
    comma(scanner)?;
    let key = key(builder, scanner).within("key")?;
    comma(scanner)?;
    let record = if scanner.eat(b'[') {
        let offset = offset(scanner).within("offset")?;
        comma(scanner)?;
        let value = value(builder, scanner).within("value")?;
        close(scanner)?;
        Record { offset, value }
    } else {
        Record {
            offset: Record::NO_OFFSET,
            value: value(builder, scanner).within("value")?,
        }
    };
    builder.push_send(key, index, record);
    close(scanner)
}

/// `["poll"]`, `["poll", null]` or `["poll", {key: [[offset, v], ...], ...}]`.
fn poll(builder: &mut Builder, scanner: &mut Scanner, index: u32) -> Scan<()> {
    if scanner.eat(b']') {
        return Ok(());
    }
    comma(scanner)?;
    if scanner.null()? {
        return close(scanner);
    }
    scanner.expect(b'{', "an object of records by key")?;
    if scanner.eat(b'}') {
        return close(scanner);
    }
    loop {
        let key = key(builder, scanner)?;
        scanner.expect(b':', "`:`")?;
        records(builder, scanner, key, index)
            .map_err(|fault| (builder.history.keys.name(key).to_owned(), fault))
            .or_else(|(name, fault)| Err(fault).within(&name))?;
        if !scanner.more(b'}', "`,` or `}`")? {
            return close(scanner);
        }
    }
}

fn records(builder: &mut Builder, scanner: &mut Scanner, key: KeyId, micro_op: u32) -> Scan<()> {
    let start = builder.history.records.len();
    scanner.expect(b'[', "a list of [offset, value] pairs")?;
    if !scanner.eat(b']') {
        loop {
            let index = builder.history.records.len() - start;
            record(builder, scanner).within_item(index)?;
            if !scanner.more(b']', "`,` or `]`")? {
                break;
            }
        }
    }
    builder.push_run(RunKind::Poll, key, micro_op, start);
    Ok(())
}

/// `[offset, v]`, or `[offset, null, {"corrupt": why}]`.
fn record(builder: &mut Builder, scanner: &mut Scanner) -> Scan<()> {
    scanner.expect(b'[', "an [offset, value] pair")?;
    let offset = offset(scanner).within("offset")?;
    comma(scanner)?;
    let value = value(builder, scanner).within("value")?;
    builder.history.records.push(Record { offset, value });
    if scanner.more(b']', "`,` or `]`")? {
        let remark = scanner.json()?;
        if let Some(why) = remark.get("corrupt") {
            let why = why.as_str().map_or_else(|| why.to_string(), str::to_owned);
            builder.note_corrupt(why);
        }
        close(scanner)?;
    }
    Ok(())
}

/// list-append: `["append", key, v]`.
fn append(builder: &mut Builder, scanner: &mut Scanner, index: u32) -> Scan<()> {
    comma(scanner)?;
    let key = key(builder, scanner).within("key")?;
    comma(scanner)?;
    let value = value(builder, scanner).within("value")?;
    let start = builder.history.records.len();
    builder.history.records.push(Record {
        offset: Record::NO_OFFSET,
        value,
    });
    builder.push_run(RunKind::Append, key, index, start);
    close(scanner)
}

/// list-append: `["r", key, [v, ...]]`, or null where the result is not known.
fn read(builder: &mut Builder, scanner: &mut Scanner, index: u32) -> Scan<()> {
    comma(scanner)?;
    let key = key(builder, scanner).within("key")?;
    comma(scanner)?;
    let start = builder.history.records.len();
    if scanner.null()? {
        builder.push_run(RunKind::ReadUnknown, key, index, start);
        return close(scanner);
    }
    scanner.expect(b'[', "a list of elements, or null")?;
    if !scanner.eat(b']') {
        loop {
            let value = value(builder, scanner)?;
            builder.history.records.push(Record {
                offset: Record::NO_OFFSET,
                value,
            });
            if !scanner.more(b']', "`,` or `]`")? {
                break;
            }
        }
    }
    builder.push_run(RunKind::Read, key, index, start);
    close(scanner)
}

/// `["offsets", group, {key: offset}]`: offsets sent to the transaction.
fn sent_offsets(builder: &mut Builder, scanner: &mut Scanner) -> Scan<()> {
    comma(scanner)?;
    let group = scanner.text().within("group")?.into_owned();
    comma(scanner)?;
    let mut offsets = Vec::new();
    scanner.expect(b'{', "an object of offsets by key")?;
    if !scanner.eat(b'}') {
        loop {
            let key = key(builder, scanner)?;
            scanner.expect(b':', "`:`")?;
            offsets.push((key, scanner.integer().within("offset")?));
            if !scanner.more(b'}', "`,` or `}`")? {
                break;
            }
        }
    }
    builder.note_sent_offsets(group, offsets);
    close(scanner)
}

/// The value of `assign` and `subscribe`: a list of keys.
pub(super) fn assigned_keys(builder: &mut Builder, scanner: &mut Scanner) -> Scan<()> {
    scanner.expect(b'[', "a list of keys")?;
    if scanner.eat(b']') {
        return Ok(());
    }
    let mut index = 0;
    loop {
        let key = key(builder, scanner).within_item(index as usize)?;
        let start = builder.history.records.len();
        builder.push_run(RunKind::Assign, key, index, start);
        if !scanner.more(b']', "`,` or `]`")? {
            return Ok(());
        }
        index += 1;
    }
}

/// `[{"keys": [...]}, ...]` beside a value.
pub(super) fn rebalance_log(builder: &mut Builder, scanner: &mut Scanner) -> Scan<Vec<KeyId>> {
    let mut keys = Vec::new();
    if scanner.null()? {
        return Ok(keys);
    }
    let start = scanner.at();
    let log = scanner.json()?;
    let names = log
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["keys"].as_array());
    for name in names.flatten() {
        let name = name
            .as_str()
            .map_or_else(|| name.to_string(), str::to_owned);
        keys.push(builder.history.keys.intern(&name));
    }
    if log.is_array() {
        Ok(keys)
    } else {
        scanner.moved_to(start).fault("a list")
    }
}
