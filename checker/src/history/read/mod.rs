//! Reads `history.jsonl`, line by line, into a [`History`].
//!
//! Streams: a few pieces of the file are in memory at a time, and the history itself; the pieces
//! are parsed on all cores. A last line that was cut off
//! in the middle (the run was killed) is left out, and [`History::truncated`] says so; any other
//! line that is not what history.md says is an error with its place.

mod control;
mod edn;
mod event;
pub(crate) mod exact;
mod forms;
mod micro_op;
mod pieces;
mod scan;
mod translate;

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

pub use edn::read_edn;
pub use translate::{copy, edn_to_jsonl, jsonl_to_edn};

pub(crate) use control::{AuditValue, SampleValue};

use super::History;
use super::batch::Batch;
use super::build::Builder;
use super::select::Selection;
use crate::CheckError;
use crate::compression::decompressed;
use pieces::{LINE_BYTES_MAX, Piece, Pieces};
use scan::Fault;

/// Name of a history in a run's folder.
pub const HISTORY_FILE: &str = "history.jsonl";

/// What stands for standard input.
pub(crate) const STDIN: &str = "-";

/// Reads a history file, the history of a run's folder, or standard input (`-`); each of them may
/// be compressed.
///
/// # Errors
/// [`CheckError`] names the file, and where the content is at fault its line, column and field.
pub fn read_path(path: &Path) -> Result<History, CheckError> {
    read_part(path, Selection::default()).map(|(history, _)| history)
}

/// The same, of some of the keys. EDN is read whole in any case: its files are bounded.
///
/// # Errors
/// As [`read_path`].
pub(crate) fn read_part(
    path: &Path,
    selection: Selection,
) -> Result<(History, Selection), CheckError> {
    let source = Source::open(path)?;
    match source.format {
        Format::Edn => {
            read_edn(source.reader, &source.name).map(|history| (history, Selection::default()))
        }
        Format::JsonLines => read_pieces(source.reader, &source.name, selection),
    }
}

/// How a history is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// Jepsen's.
    Edn,
}

impl Format {
    /// The format that a file's name says, under a `.gz` or `.zst` too.
    #[must_use]
    pub fn of(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_suffix(".gz").unwrap_or(name);
        let name = name.strip_suffix(".zst").unwrap_or(name);
        match name.rsplit_once('.')?.1 {
            "edn" => Some(Format::Edn),
            "jsonl" | "json" => Some(Format::JsonLines),
            _ => None,
        }
    }

    /// The format that the content shows by its first bytes: a JSON event begins with `{"`.
    fn of_content(first: &[u8]) -> Format {
        let text = first.trim_ascii_start();
        let rest = text.get(1..).unwrap_or_default().trim_ascii_start();
        match text.first() {
            None => Format::JsonLines,
            Some(b'{') if matches!(rest.first(), None | Some(b'"' | b'}')) => Format::JsonLines,
            // A list of objects of JSON is no history, and no EDN either.
            Some(b'[') if rest.starts_with(b"{\"") => Format::JsonLines,
            Some(b'{' | b'[' | b'(' | b';' | b'#') => Format::Edn,
            Some(_) => Format::JsonLines,
        }
    }
}

/// A history that was opened: what it says, decompressed.
pub struct Source {
    /// What errors call it.
    pub name: String,
    /// How it is written: as its name says, or else its first bytes.
    pub format: Format,
    /// Its text.
    pub reader: Box<dyn Read>,
}

/// Bytes by which a format is told.
const FIRST_BYTES: u64 = 4096;

impl Source {
    /// Opens a history file, the history of a run's folder, or standard input (`-`).
    ///
    /// # Errors
    /// [`CheckError::Unreadable`] or [`CheckError::NoHistory`].
    pub fn open(path: &Path) -> Result<Source, CheckError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| CheckError::Unreadable { path, source }
        };
        if path == Path::new(STDIN) {
            let reader = decompressed(io::stdin()).map_err(unreadable(path))?;
            return Source::told_apart(reader, STDIN).map_err(unreadable(path));
        }
        let file = history_file(path)?;
        let opened = File::open(&file).map_err(unreadable(&file))?;
        let reader = decompressed(opened).map_err(unreadable(&file))?;
        let name = file.display().to_string();
        match Format::of(&file) {
            Some(format) => Ok(Source {
                name,
                format,
                reader,
            }),
            None => Source::told_apart(reader, &name).map_err(unreadable(&file)),
        }
    }

    fn told_apart(mut reader: Box<dyn Read>, name: &str) -> io::Result<Source> {
        let mut first = Vec::new();
        reader.by_ref().take(FIRST_BYTES).read_to_end(&mut first)?;
        Ok(Source {
            name: name.to_owned(),
            format: Format::of_content(&first),
            reader: Box::new(Cursor::new(first).chain(reader)),
        })
    }
}

/// Reads a part from any reader, parsed on all cores.
///
/// # Errors
/// As [`read_path`].
pub(crate) fn read_parallel(
    reader: impl Read,
    name: &str,
    selection: Selection,
) -> Result<(History, Selection), CheckError> {
    let reader = decompressed(reader).map_err(|source| CheckError::Unreadable {
        path: name.into(),
        source,
    })?;
    read_pieces(reader, name, selection)
}

fn read_pieces(
    reader: impl Read,
    name: &str,
    selection: Selection,
) -> Result<(History, Selection), CheckError> {
    let mut assembly = Assembly::new(name);
    assembly.builder.selection = selection;
    let read = Pieces::new(reader).each_parallel(|piece| assembly.take(piece));
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
    let names = [HISTORY_FILE, "history.edn"];
    names
        .iter()
        .flat_map(|name| ["", ".zst", ".gz"].map(|end| path.join(format!("{name}{end}"))))
        .find(|file| file.is_file())
        .ok_or_else(|| CheckError::NoHistory {
            path: path.to_owned(),
        })
}

/// Reads a history from any reader; `name` is what errors call it.
///
/// # Errors
/// As [`read_path`].
pub fn read_from(reader: impl Read, name: &str) -> Result<History, CheckError> {
    let mut assembly = Assembly::new(name);
    let read = Pieces::new(reader).each(|piece| assembly.take(piece));
    assembly.finish(read).map(|(history, _)| history)
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

    fn finish(self, read: io::Result<()>) -> Result<(History, Selection), CheckError> {
        read.map_err(|source| CheckError::Unreadable {
            path: self.name.into(),
            source,
        })?;
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.builder.finish_part()),
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
