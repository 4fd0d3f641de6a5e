//! Reads `history.jsonl`, line by line, into a [`History`].
//!
//! Streams: one line is in memory at a time, and the history itself. A last line that was cut off
//! in the middle (the run was killed) is left out, and [`History::truncated`] says so; any other
//! line that is not what history.md says is an error with its place.

mod control;
mod event;
mod micro_op;
mod scan;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

pub(crate) use control::{AuditValue, SampleValue};

use super::History;
use super::build::Builder;
use crate::CheckError;
use scan::Fault;

/// Name of a history in a run's folder.
pub const HISTORY_FILE: &str = "history.jsonl";

/// A longer line is no event: reading it must not fill the memory.
const LINE_BYTES_MAX: u64 = 512 << 20;

/// Reads a history file, the history of a run's folder, or standard input (`-`).
///
/// # Errors
/// [`CheckError`] names the file, and where the content is at fault its line, column and field.
pub fn read_path(path: &Path) -> Result<History, CheckError> {
    if path == Path::new("-") {
        return read_from(io::stdin().lock(), "-");
    }
    let file = history_file(path)?;
    let unreadable = |source| CheckError::Unreadable {
        path: file.clone(),
        source,
    };
    let opened = File::open(&file).map_err(unreadable)?;
    read_from(
        BufReader::with_capacity(1 << 18, opened),
        &file.display().to_string(),
    )
}

/// The history of a run's folder, or the path itself where it is a file.
fn history_file(path: &Path) -> Result<PathBuf, CheckError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let file = path.join(HISTORY_FILE);
    if file.is_file() {
        Ok(file)
    } else {
        Err(CheckError::NoHistory {
            path: path.to_owned(),
        })
    }
}

/// Reads a history from any reader; `name` is what errors call it.
///
/// # Errors
/// As [`read_path`].
pub fn read_from(mut reader: impl BufRead, name: &str) -> Result<History, CheckError> {
    let mut builder = Builder::default();
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let read = reader
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|source| CheckError::Unreadable {
                path: name.into(),
                source,
            })?;
        if read == 0 {
            break;
        }
        number += 1;
        let whole = line.last() == Some(&b'\n');
        let content = line.trim_ascii();
        if content.is_empty() {
            continue;
        }
        let place = Place {
            file: name,
            line: number,
        };
        if read as u64 == LINE_BYTES_MAX && !whole {
            return Err(place.too_large("bytes in one line", LINE_BYTES_MAX));
        }
        if builder.is_full() {
            return Err(place.too_large("events, micro-ops or records", u64::from(u32::MAX)));
        }
        if let Err(fault) = event::event(&mut builder, content) {
            let cut_off = fault.at >= content.len() || content.iter().all(|&byte| byte == 0);
            if !whole && cut_off {
                builder.abandon_event();
                builder.history.truncated = true;
                break;
            }
            return Err(place.malformed(&line, *fault));
        }
    }
    Ok(builder.finish())
}

struct Place<'a> {
    file: &'a str,
    line: u64,
}

impl Place<'_> {
    fn too_large(&self, what: &'static str, limit: u64) -> CheckError {
        CheckError::TooLarge {
            file: self.file.to_owned(),
            line: self.line,
            what,
            limit,
        }
    }

    fn malformed(&self, line: &[u8], fault: Fault) -> CheckError {
        let indent = line.len() - line.trim_ascii_start().len();
        let at = fault.at + indent;
        let rest = line.get(at..).unwrap_or_default().trim_ascii();
        let found = if rest.is_empty() {
            "the end of the line".to_owned()
        } else {
            let shown = String::from_utf8_lossy(&rest[..rest.len().min(24)]).into_owned();
            format!("`{}`", shown.replace(char::is_control, "?"))
        };
        CheckError::Malformed {
            file: self.file.to_owned(),
            line: self.line,
            column: at + 1,
            field: if fault.field.is_empty() {
                "(line)".to_owned()
            } else {
                fault.field
            },
            expected: fault.expected.into_owned(),
            found,
        }
    }
}

#[cfg(test)]
mod tests;
