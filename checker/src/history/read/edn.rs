//! Reads `history.edn`: one operation map a line, or one vector of maps, as Jepsen writes them.
//!
//! Each map is translated to an event and read like a line of `history.jsonl`, so that both formats
//! mean the same. A file that ends in the middle of a map counts up to there; anything else that is
//! no history is an error with its line and column.

use std::io::Read;

use crate::CheckError;
use crate::history::History;
use crate::history::batch::Batch;
use crate::history::build::Builder;
use crate::history::edn::json;

use super::event;
use super::forms::{Form, Forms};

/// Reads a history in EDN; `name` is what errors call it.
///
/// # Errors
/// [`CheckError`] names the file, and where the content is at fault its line and column.
pub fn read_edn(reader: impl Read, name: &str) -> Result<History, CheckError> {
    let mut builder = Builder::default();
    let mut batch = Batch::default();
    let whole = each_op(reader, name, |event, place| {
        if let Err(fault) = event::event(&mut batch, event.as_bytes()) {
            return Err(place.malformed(fault.field, fault.expected.into_owned()));
        }
        if !builder.has_room_for(&batch) {
            return Err(place.too_large("events, micro-ops or records", u64::from(u32::MAX)));
        }
        builder.absorb(&mut batch);
        Ok(())
    })?;
    builder.history.truncated = !whole;
    Ok(builder.finish())
}

/// Where an operation stands.
pub(super) struct Place<'a, R> {
    forms: &'a Forms<'a, R>,
    form: &'a Form,
    file: &'a str,
}

impl<R: Read> Place<'_, R> {
    pub fn malformed(&self, field: String, expected: String) -> CheckError {
        CheckError::Malformed {
            file: self.file.to_owned(),
            line: self.form.line,
            column: self.form.column,
            field,
            expected,
            found: self.forms.shown(self.form),
        }
    }

    fn too_large(&self, what: &'static str, limit: u64) -> CheckError {
        CheckError::TooLarge {
            file: self.file.to_owned(),
            line: self.form.line,
            what,
            limit,
        }
    }
}

/// Calls `take` with each operation as a line of JSON. Returns whether the file was whole.
pub(super) fn each_op<R: Read>(
    reader: R,
    name: &str,
    mut take: impl FnMut(&str, &Place<R>) -> Result<(), CheckError>,
) -> Result<bool, CheckError> {
    let mut forms = Forms::new(reader, name);
    while let Some(form) = forms.next()? {
        let place = Place {
            forms: &forms,
            form: &form,
            file: name,
        };
        let Some(event) = json::event(&form.edn) else {
            let (field, expected) = ("(operation)", "a map: one operation");
            return Err(place.malformed(field.to_owned(), expected.to_owned()));
        };
        take(&event.to_string(), &place)?;
    }
    Ok(forms.is_whole())
}
