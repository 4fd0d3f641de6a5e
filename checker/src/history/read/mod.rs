//! Reads `history.jsonl`, line by line, into a [`History`].
//!
//! Streams: a few pieces of the file are in memory at a time, and the history itself; the pieces
//! are parsed on all cores. A last line that was cut off
//! in the middle (the run was killed) is left out, and [`History::truncated`] says so; any other
//! line that is not what history.md says is an error with its place.

mod control;
mod edn;
mod event;
mod micro_op;
mod pieces;
mod scan;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use edn::{edn_to_jsonl, jsonl_to_edn, read_edn};

pub(crate) use control::{AuditValue, SampleValue};

use super::History;
use super::batch::Batch;
use super::build::Builder;
use crate::CheckError;
use crate::compression::decompressed;
use pieces::{LINE_BYTES_MAX, Piece, Pieces};
use scan::Fault;

/// Name of a history in a run's folder.
pub const HISTORY_FILE: &str = "history.jsonl";

/// Reads a history file, the history of a run's folder, or standard input (`-`); each of them may
/// be compressed.
///
/// # Errors
/// [`CheckError`] names the file, and where the content is at fault its line, column and field.
pub fn read_path(path: &Path) -> Result<History, CheckError> {
    if path == Path::new("-") {
        return read_parallel(io::stdin(), "-");
    }
    let file = history_file(path)?;
    let opened = File::open(&file).map_err(|source| CheckError::Unreadable {
        path: file.clone(),
        source,
    })?;
    if is_edn(&file) {
        return read_edn(opened, &file.display().to_string());
    }
    read_parallel(opened, &file.display().to_string())
}

fn read_parallel(reader: impl Read, name: &str) -> Result<History, CheckError> {
    let mut assembly = Assembly::new(name);
    let read = decompressed(reader).and_then(|reader| {
        let pieces = Pieces::new(reader);
        pieces.each_parallel(|piece| assembly.take(piece))
    });
    assembly.finish(read)
}

/// The history of a run's folder, or the path itself where it is a file.
///
/// # Errors
/// [`CheckError::NoHistory`] for a folder without one.
pub fn history_file(path: &Path) -> Result<PathBuf, CheckError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let mut names = ["", ".zst", ".gz"]
        .map(|end| format!("{HISTORY_FILE}{end}"))
        .to_vec();
    names.push("history.edn".to_owned());
    names
        .iter()
        .map(|name| path.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| CheckError::NoHistory {
            path: path.to_owned(),
        })
}

/// Whether a file's name says that it is Jepsen's EDN.
#[must_use]
pub fn is_edn(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "edn")
}

/// Reads a history from any reader; `name` is what errors call it.
///
/// # Errors
/// As [`read_path`].
pub fn read_from(reader: impl Read, name: &str) -> Result<History, CheckError> {
    let mut assembly = Assembly::new(name);
    let read = Pieces::new(reader).each(|piece| assembly.take(piece));
    assembly.finish(read)
}

/// Reads one line of a history that is still growing.
pub(crate) fn read_line(batch: &mut Batch, line: &[u8], number: u64) -> Result<(), CheckError> {
    let content = line.trim_ascii();
    if content.is_empty() {
        return Ok(());
    }
    event::event(batch, content).map_err(|fault| {
        batch.clear();
        let place = Place {
            file: "the run",
            line: number,
        };
        place.malformed(line, *fault)
    })
}

/// The history so far, and what ended it.
struct Assembly<'a> {
    name: &'a str,
    builder: Builder,
    lines: u64,
    error: Option<CheckError>,
}

impl<'a> Assembly<'a> {
    fn new(name: &'a str) -> Assembly<'a> {
        Assembly {
            name,
            builder: Builder::default(),
            lines: 0,
            error: None,
        }
    }

    /// Takes the next piece; `false` if nothing after it counts.
    fn take(&mut self, piece: &mut Piece) -> bool {
        let place = |line: u64| Place {
            file: self.name,
            line,
        };
        if !self.builder.has_room_for(&piece.batch) {
            let place = place(self.lines + 1);
            self.error = Some(place.too_large("events, micro-ops or records", u64::from(u32::MAX)));
            return false;
        }
        self.builder.absorb(&mut piece.batch);
        let Some(stop) = piece.stop.take() else {
            self.lines += piece.lines;
            return true;
        };
        let place = place(self.lines + stop.line);
        let content = stop.text.trim_ascii();
        let cut_off = stop.fault.at >= content.len() || content.iter().all(|&byte| byte == 0);
        if stop.text.len() >= LINE_BYTES_MAX && !stop.whole {
            self.error = Some(place.too_large("bytes in one line", LINE_BYTES_MAX as u64));
        } else if !stop.whole && cut_off {
            self.builder.history.truncated = true;
        } else {
            self.error = Some(place.malformed(&stop.text, *stop.fault));
        }
        false
    }

    fn finish(self, read: io::Result<()>) -> Result<History, CheckError> {
        read.map_err(|source| CheckError::Unreadable {
            path: self.name.into(),
            source,
        })?;
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.builder.finish()),
        }
    }
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
