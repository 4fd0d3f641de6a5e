//! Translates histories between JSON lines and Jepsen's EDN, event by event and without loss.
//!
//! What either format can say and the other cannot is written as a string that says so
//! ([`crate::history::edn::json`]). What would be lost all the same (a number beyond 64 bits, a
//! name that occurs twice in one object) is an error with its place.

use std::io::{self, BufRead, BufReader, Read, Write};

use crate::CheckError;
use crate::history::edn::json;

use super::edn::each_op;
use super::exact;
use super::forms::shown;
use super::pieces::LINE_BYTES_MAX;

/// Translates a history in EDN to one in JSON lines. Returns whether the file was whole: one that
/// was cut off is translated up to there.
///
/// # Errors
/// As [`super::read_edn`]; [`CheckError::Unreadable`] where nothing can be written.
pub fn edn_to_jsonl(
    reader: impl Read,
    name: &str,
    out: &mut impl Write,
) -> Result<bool, CheckError> {
    each_op(reader, name, |event, _| {
        writeln!(out, "{event}").map_err(|source| unreadable(name, source))
    })
}

/// Translates a history in JSON lines to one in EDN, one operation a line. Returns whether the file
/// was whole.
///
/// # Errors
/// [`CheckError`] names the line that is no event; [`CheckError::Unreadable`] where nothing can be
/// written.
pub fn jsonl_to_edn(
    reader: impl Read,
    name: &str,
    out: &mut impl Write,
) -> Result<bool, CheckError> {
    each_line(reader, name, |line, number, whole| {
        let content = line.trim_ascii();
        if content.is_empty() {
            return Ok(true);
        }
        let malformed = |at: usize, field: String, expected: String| {
            let at = line
                .len()
                .min(at + (line.len() - line.trim_ascii_start().len()));
            CheckError::Malformed {
                file: name.to_owned(),
                line: number,
                column: at + 1,
                field,
                expected,
                found: shown(&line[at..]),
            }
        };
        let event = match exact::object(content) {
            Ok(event) => event,
            Err(fault) if !whole && fault.at >= content.len() => return Ok(false),
            Err(fault) => {
                let expected = fault.expected.into_owned();
                return Err(malformed(fault.at, fault.field, expected));
            }
        };
        let Some(op) = json::op(&event) else {
            let (field, expected) = ("(line)", "an object: one event a line");
            return Err(malformed(0, field.to_owned(), expected.to_owned()));
        };
        writeln!(out, "{op}").map_err(|source| unreadable(name, source))?;
        Ok(true)
    })
}

/// Copies a history as it stands, into another compression for example. Always whole.
///
/// # Errors
/// [`CheckError::Unreadable`] where it cannot be read, or nothing can be written.
pub fn copy(mut reader: impl Read, name: &str, out: &mut impl Write) -> Result<bool, CheckError> {
    io::copy(&mut reader, out).map_err(|source| unreadable(name, source))?;
    Ok(true)
}

/// Calls `take` with each line, its number and whether it ends in a newline, until it says `false`;
/// returns what it said last.
fn each_line(
    reader: impl Read,
    name: &str,
    mut take: impl FnMut(&[u8], u64, bool) -> Result<bool, CheckError>,
) -> Result<bool, CheckError> {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader
            .by_ref()
            .take(LINE_BYTES_MAX as u64)
            .read_until(b'\n', &mut line);
        let read = read.map_err(|source| unreadable(name, source))?;
        if read >= LINE_BYTES_MAX {
            return Err(CheckError::TooLarge {
                file: name.to_owned(),
                line: number,
                what: "bytes in one line",
                limit: LINE_BYTES_MAX as u64,
            });
        }
        let whole = line.ends_with(b"\n");
        if read == 0 {
            break;
        }
        if !take(&line, number, whole)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn unreadable(name: &str, source: io::Error) -> CheckError {
    CheckError::Unreadable {
        path: name.into(),
        source,
    }
}
