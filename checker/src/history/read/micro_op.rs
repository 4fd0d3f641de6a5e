//! Micro-ops: the value of `send`, `poll` and `txn`, and the keys of `assign` and `subscribe`.
//!
//! Everything here appends to the arenas of the [`Batch`]; neighbouring sends to one key share
//! one run. What stands there is checked field by field: nothing is guessed.

use crate::history::batch::Batch;
use crate::history::{KeyId, Record, RunKind, Value};

use super::scan::{Scan, Scanner, Within};

/// A list of micro-ops.
pub(super) fn micro_ops(batch: &mut Batch, scanner: &mut Scanner) -> Scan<()> {
    scanner.expect(b'[', "a list of micro-ops")?;
    if scanner.eat(b']') {
        return Ok(());
    }
    let mut index = 0;
    loop {
        micro_op(batch, scanner, index).within_item(index as usize)?;
        if !scanner.more(b']', "`,` or `]`")? {
            return Ok(());
        }
        index += 1;
    }
}

fn micro_op(batch: &mut Batch, scanner: &mut Scanner, index: u32) -> Scan<()> {
    scanner.expect(b'[', "a micro-op such as [\"send\", key, value]")?;
    let before = scanner.clone();
    if scanner.eat_exact(b"\"send\"") {
        return send(batch, scanner, index);
    }
    match scanner.raw_text()?.0 {
        b"send" => send(batch, scanner, index),
        b"poll" => poll(batch, scanner, index),
        b"append" => append(batch, scanner, index),
        b"r" => read(batch, scanner, index),
        b"offsets" => sent_offsets(batch, scanner),
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
#[inline]
pub(super) fn key(batch: &mut Batch, scanner: &mut Scanner) -> Scan<KeyId> {
    if scanner.peek() == Some(b'"') {
        let before = scanner.clone();
        let raw = scanner.raw_text()?.0;
        if let Some(key) = batch.known_key(raw) {
            return Ok(key);
        }
        *scanner = before;
        let name = scanner.text()?;
        return Ok(batch.intern_key(raw, &name));
    }
    let before = scanner.clone();
    match scanner.try_integer() {
        // Written without a sign, an integer's bytes are its name.
        Some(0..) if scanner.since(&before)[0] != b'-' => {
            let text = scanner.since(&before);
            if let Some(key) = batch.known_key(text) {
                return Ok(key);
            }
            let name = String::from_utf8_lossy(text).into_owned();
            Ok(batch.intern_key(text, &name))
        }
        Some(integer) => Ok(batch.keys.intern(&integer.to_string())),
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

fn value(batch: &mut Batch, scanner: &mut Scanner) -> Scan<Value> {
    match scanner.try_integer() {
        Some(integer) => Ok(batch.values.integer(integer)),
        None => Ok(batch.values.scalar(scanner.scalar()?)),
    }
}

/// `["send", key, v]` or `["send", key, [offset, v]]`.
fn send(batch: &mut Batch, scanner: &mut Scanner, index: u32) -> Scan<()> {
    comma(scanner)?;
    let key = key(batch, scanner).within("key")?;
    comma(scanner)?;
    let record = if let Some((offset, value)) = scanner.pair() {
        Record { offset, value }
    } else if scanner.eat(b'[') {
        let offset = offset(scanner).within("offset")?;
        comma(scanner)?;
        let value = value(batch, scanner).within("value")?;
        close(scanner)?;
        Record { offset, value }
    } else {
        Record {
            offset: Record::NO_OFFSET,
            value: value(batch, scanner).within("value")?,
        }
    };
    batch.push_send(key, index, record);
    close(scanner)
}

/// `["poll"]`, `["poll", null]` or `["poll", {key: [[offset, v], ...], ...}]`.
fn poll(batch: &mut Batch, scanner: &mut Scanner, index: u32) -> Scan<()> {
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
        let key = key(batch, scanner)?;
        scanner.expect(b':', "`:`")?;
        records(batch, scanner, key, index)
            .map_err(|fault| (batch.keys.name(key).to_owned(), fault))
            .or_else(|(name, fault)| Err(fault).within(&name))?;
        if !scanner.more(b'}', "`,` or `}`")? {
            return close(scanner);
        }
    }
}

fn records(batch: &mut Batch, scanner: &mut Scanner, key: KeyId, micro_op: u32) -> Scan<()> {
    let start = batch.records.len();
    scanner.expect(b'[', "a list of [offset, value] pairs")?;
    if !scanner.eat(b']') {
        loop {
            if let Some((offset, value)) = scanner.pair() {
                batch.records.push(Record { offset, value });
            } else {
                let index = batch.records.len() - start;
                record(batch, scanner).within_item(index)?;
            }
            if !scanner.more(b']', "`,` or `]`")? {
                break;
            }
        }
    }
    batch.push_run(RunKind::Poll, key, micro_op, start);
    Ok(())
}

/// `[offset, v]`, or `[offset, null, {"corrupt": why}]`.
fn record(batch: &mut Batch, scanner: &mut Scanner) -> Scan<()> {
    scanner.expect(b'[', "an [offset, value] pair")?;
    let offset = offset(scanner).within("offset")?;
    comma(scanner)?;
    let value = value(batch, scanner).within("value")?;
    batch.records.push(Record { offset, value });
    if scanner.more(b']', "`,` or `]`")? {
        let remark = scanner.json()?;
        if let Some(why) = remark.get("corrupt") {
            let why = why.as_str().map_or_else(|| why.to_string(), str::to_owned);
            batch.note_corrupt(why);
        }
        close(scanner)?;
    }
    Ok(())
}

/// list-append: `["append", key, v]`.
fn append(batch: &mut Batch, scanner: &mut Scanner, index: u32) -> Scan<()> {
    comma(scanner)?;
    let key = key(batch, scanner).within("key")?;
    comma(scanner)?;
    let value = value(batch, scanner).within("value")?;
    let start = batch.records.len();
    batch.records.push(Record {
        offset: Record::NO_OFFSET,
        value,
    });
    batch.push_run(RunKind::Append, key, index, start);
    close(scanner)
}

/// list-append: `["r", key, [v, ...]]`, or null where the result is not known.
fn read(batch: &mut Batch, scanner: &mut Scanner, index: u32) -> Scan<()> {
    comma(scanner)?;
    let key = key(batch, scanner).within("key")?;
    comma(scanner)?;
    let start = batch.records.len();
    if scanner.null()? {
        batch.push_run(RunKind::ReadUnknown, key, index, start);
        return close(scanner);
    }
    scanner.expect(b'[', "a list of elements, or null")?;
    let (records, values) = (&mut batch.records, &mut batch.values);
    let opened = scanner.at();
    let done = scanner.plain_integers(|integer| {
        records.push(Record {
            offset: Record::NO_OFFSET,
            value: values.integer(integer),
        });
    });
    let begun = scanner.at() > opened;
    if !done && (begun || !scanner.eat(b']')) {
        loop {
            let value = value(batch, scanner)?;
            batch.records.push(Record {
                offset: Record::NO_OFFSET,
                value,
            });
            if !scanner.more(b']', "`,` or `]`")? {
                break;
            }
        }
    }
    batch.push_run(RunKind::Read, key, index, start);
    close(scanner)
}

/// `["offsets", group, {key: offset}]`: offsets sent to the transaction.
fn sent_offsets(batch: &mut Batch, scanner: &mut Scanner) -> Scan<()> {
    comma(scanner)?;
    let group = scanner.text().within("group")?.into_owned();
    comma(scanner)?;
    let mut offsets = Vec::new();
    scanner.expect(b'{', "an object of offsets by key")?;
    if !scanner.eat(b'}') {
        loop {
            let key = key(batch, scanner)?;
            scanner.expect(b':', "`:`")?;
            offsets.push((key, scanner.integer().within("offset")?));
            if !scanner.more(b'}', "`,` or `}`")? {
                break;
            }
        }
    }
    batch.note_sent_offsets(group, offsets);
    close(scanner)
}

/// The value of `assign` and `subscribe`: a list of keys.
pub(super) fn assigned_keys(batch: &mut Batch, scanner: &mut Scanner) -> Scan<()> {
    scanner.expect(b'[', "a list of keys")?;
    if scanner.eat(b']') {
        return Ok(());
    }
    let mut index = 0;
    loop {
        let key = key(batch, scanner).within_item(index as usize)?;
        let start = batch.records.len();
        batch.push_run(RunKind::Assign, key, index, start);
        if !scanner.more(b']', "`,` or `]`")? {
            return Ok(());
        }
        index += 1;
    }
}

/// `[{"keys": [...]}, ...]` beside a value.
pub(super) fn rebalance_log(batch: &mut Batch, scanner: &mut Scanner) -> Scan<Vec<KeyId>> {
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
        keys.push(batch.keys.intern(&name));
    }
    if log.is_array() {
        Ok(keys)
    } else {
        scanner.moved_to(start).fault("a list")
    }
}
