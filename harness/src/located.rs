//! TOML written by people: what is wrong with it is told with file, line, column and the line
//! itself.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use checker::suggest::nearest;

/// A file's text, under the name by which messages call it.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// The name.
    pub name: &'a str,
    /// All of it.
    pub text: &'a str,
}

/// What is wrong, and where. Shown as `FILE:LINE:COLUMN: what`, with the line below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// In words, with the mend.
    pub what: String,
    shown: String,
    width: usize,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line, column) = (&self.file, self.line, self.column);
        let gutter = line.to_string().len();
        writeln!(f, "{file}:{line}:{column}: {}", self.what)?;
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{line} | {}", self.shown)?;
        let before = " ".repeat(column - 1);
        write!(f, "{:gutter$} | {before}{}", "", "^".repeat(self.width))
    }
}

impl std::error::Error for Mistake {}

impl<'a> Text<'a> {
    /// Reads it as TOML.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(&self) -> Result<DeTable<'a>, Mistake> {
        match DeTable::parse(self.text) {
            Ok(table) => Ok(table.into_inner()),
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                Err(self.mistake(at, format!("this is no TOML: {}", error.message().trim())))
            }
        }
    }

    /// A mistake at those bytes.
    #[must_use]
    pub fn mistake(&self, at: Range<usize>, what: impl Into<String>) -> Mistake {
        let start = at.start.min(self.text.len());
        let before = self.text.get(..start).unwrap_or_default();
        let begins = before.rfind('\n').map_or(0, |newline| newline + 1);
        let shown = self.text.get(begins..).unwrap_or_default();
        let shown = shown.lines().next().unwrap_or_default();
        let column = before[begins..].chars().count() + 1;
        let marked = self.text.get(start..at.end.min(self.text.len()));
        let marked = marked.and_then(|text| text.lines().next());
        Mistake {
            file: self.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            what: what.into(),
            // As wide as it is counted.
            shown: shown.replace('\t', " "),
            width: marked.map_or(1, |text| text.chars().count().max(1)),
        }
    }

    /// The line of those bytes, counted from 1.
    #[must_use]
    pub fn line(&self, at: &Range<usize>) -> usize {
        let before = self.text.get(..at.start).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// A name that is not among `known`.
    #[must_use]
    pub fn unknown<'n>(
        &self,
        at: Range<usize>,
        sort: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) -> Mistake {
        let known: Vec<&str> = known.into_iter().collect();
        let mend = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", known.join(", ")),
        };
        self.mistake(at, format!("unknown {sort} `{name}`; {mend}"))
    }
}

/// A scalar as a word of a command line; none for arrays, tables and dates.
#[must_use]
pub fn word(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        // As written, without the underscores: the number is read by who takes the word.
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().replace('_', "")),
        DeValue::Integer(number) => {
            let digits = number.as_str();
            let read = i64::from_str_radix(digits, number.radix()).ok()?;
            Some(read.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// What sort of value it is, in words.
#[must_use]
pub fn sort(value: &Spanned<DeValue<'_>>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_with_its_line_and_column() {
        let text = Text {
            name: "harness.toml",
            text: "# first\nsize = \"1..2\"\nmesages = 5\n",
        };
        let table = text.parse().expect("it is TOML");
        let (key, _) = table.get_key_value("mesages").expect("it is there");
        let mistake = text.unknown(key.span(), "setting", "mesages", ["messages", "size"]);
        assert_eq!((mistake.line, mistake.column), (3, 1));
        let shown = "harness.toml:3:1: unknown setting `mesages`; did you mean `messages`?\n  \
                     |\n3 | mesages = 5\n  | ^^^^^^^";
        assert_eq!(mistake.to_string(), shown);
    }

    #[test]
    fn what_is_no_toml_is_told_where_it_stops_to_be() {
        let text = Text {
            name: "x",
            text: "a = 1\nb = = 2\n",
        };
        let mistake = text.parse().expect_err("it is none");
        assert_eq!((mistake.line, mistake.column), (2, 5));
    }

    #[test]
    fn characters_are_counted_and_not_bytes() {
        let text = Text {
            name: "x",
            text: "\"\u{e9}\u{e9}\" = [",
        };
        let mistake = text.mistake(9..10, "here");
        assert_eq!(mistake.column, 8);
    }
}
