//! Reads `history.edn`: one operation map a line, or one vector of maps, as Jepsen writes them.
//!
//! Each map is translated to an event and read like a line of `history.jsonl`, so that both formats
//! mean the same. A file that ends in the middle of a map counts up to there; anything else that is
//! no history is an error with its line and column.

use std::io::{self, Read, Write};

use crate::CheckError;
use crate::history::History;
use crate::history::batch::Batch;
use crate::history::build::Builder;
use crate::history::edn::parse::{Fault, Parser};
use crate::history::edn::{Edn, json};

use super::event;

/// A larger file is not read at once: it is to be converted elsewhere.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// Reads a history in EDN; `name` is what errors call it.
///
/// [`CheckError`] names the file, and where the content is at fault its line and column.
pub fn read_edn(reader: impl Read, name: &str) -> Result<History, CheckError> {
    let text = bytes(reader, name)?;
    let mut builder = Builder::default();
    let mut batch = Batch::default();
    let whole = each_op(&text, name, |line| {
        if let Err(fault) = event::event(&mut batch, line.as_bytes()) {
            return Err((fault.field, fault.expected.into_owned()));
        }
        builder.absorb(&mut batch);
        Ok(())
    })?;
    builder.history.truncated = !whole;
    Ok(builder.finish())
}

/// Translates a history in EDN to one in JSON lines. Returns whether the file was whole: one that
/// was cut off is translated up to there.
/// cut off is translated up to there.
///
/// As [`read_edn`]; [`CheckError::Unreadable`] where nothing can be written.
pub fn edn_to_jsonl(
    reader: impl Read,
    name: &str,
    out: &mut impl Write,
) -> Result<bool, CheckError> {
    let text = bytes(reader, name)?;
    let mut written = Ok(());
    let whole = each_op(&text, name, |line| {
        if written.is_ok() {
            written = writeln!(out, "{line}");
        }
        Ok(())
    })?;
    written.map_err(|source| unreadable(name, source))?;
    Ok(whole)
}

/// Translates a history in JSON lines to one in EDN, one operation a line.
///
/// [`CheckError`] names the line that is no event; [`CheckError::Unreadable`] where nothing can be
/// written. Returns whether the file was whole.
pub fn jsonl_to_edn(
    reader: impl io::BufRead,
    name: &str,
    out: &mut impl Write,
) -> Result<bool, CheckError> {
    let mut lines = reader.lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        let line = line.map_err(|source| unreadable(name, source))?;
        if line.trim().is_empty() {
            continue;
        }
        let op = match serde_json::from_str(&line) {
            Ok(event) => json::op(&event),
            Err(error) if error.is_eof() && lines.peek().is_none() => return Ok(false),
            Err(_) => None,
        };
        let Some(op) = op else {
            return Err(CheckError::Malformed {
                file: name.to_owned(),
                line: at as u64 + 1,
                column: 1,
                field: "(line)".to_owned(),
                expected: "an object: one event a line".to_owned(),
                found: shown(line.as_bytes()),
            });
        };
        writeln!(out, "{op}").map_err(|source| unreadable(name, source))?;
    }
    Ok(true)
}

fn unreadable(name: &str, source: io::Error) -> CheckError {
    CheckError::Unreadable {
        path: name.into(),
        source,
    }
}

fn bytes(reader: impl Read, name: &str) -> Result<Vec<u8>, CheckError> {
    let mut bytes = Vec::new();
    let read = reader.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    let read = read.map_err(|source| unreadable(name, source))?;
    if read as u64 == FILE_BYTES_MAX {
        return Err(CheckError::TooLarge {
            file: name.to_owned(),
            line: 1,
            what: "bytes of EDN",
            limit: FILE_BYTES_MAX,
        });
    }
    Ok(bytes)
}

/// Calls `take` with each operation as a line of JSON; what it refuses is an error at the
/// operation's place. Returns whether the file was whole.
/// place. Returns whether the file was whole.
fn each_op(
    text: &[u8],
    name: &str,
    mut take: impl FnMut(&str) -> Result<(), (String, String)>,
) -> Result<bool, CheckError> {
    let mut parser = Parser::new(text);
    let fault_at = |parser: &Parser, at: usize, field: &str, expected: &str| {
        let (line, column) = parser.place(at);
        CheckError::Malformed {
            file: name.to_owned(),
            line,
            column,
            field: field.to_owned(),
            expected: expected.to_owned(),
            found: shown(&text[at.min(text.len())..]),
        }
    };
    let syntax =
        |parser: &Parser, fault: &Fault| fault_at(parser, fault.at, "(operation)", fault.expected);
    let mut vector = match parser.eat(b'[') {
        Ok(vector) => vector,
        Err(fault) if parser.is_cut_off(&fault) => return Ok(false),
        Err(fault) => return Err(syntax(&parser, &fault)),
    };
    loop {
        let next = match parser.peek() {
            Ok(Some(b']')) if vector => {
                vector = false;
                parser.eat(b']').map(|_| None)
            }
            Ok(None) => return Ok(!vector),
            Ok(Some(_)) => {
                let at = parser.at();
                parser.form().map(|form| Some((at, form)))
            }
            Err(fault) => Err(fault),
        };
        let (at, form): (usize, Edn) = match next {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(fault) if parser.is_cut_off(&fault) => return Ok(false),
            Err(fault) => return Err(syntax(&parser, &fault)),
        };
        let Some(event) = json::event(&form) else {
            return Err(fault_at(&parser, at, "(operation)", "a map: one operation"));
        };
        if let Err((field, expected)) = take(&event.to_string()) {
            return Err(fault_at(&parser, at, &field, &expected));
        }
    }
}

/// The beginning of what was found, for people.
fn shown(rest: &[u8]) -> String {
    let rest = rest.trim_ascii();
    if rest.is_empty() {
        return "the end of the file".to_owned();
    }
    let text = String::from_utf8_lossy(&rest[..rest.len().min(24)]).into_owned();
    format!("`{}`", text.replace(char::is_control, "?"))
}
