//! The operations of an EDN file, form by form: a few pieces of the file are in memory at a time,
//! however large it is.
//!
//! The file is one vector of forms, or forms one after the other. What stands in the buffer is
//! parsed; a form that reaches its end may go on behind it, so more is read and it is parsed again.
//! Each time the buffer is doubled, so that every byte is parsed twice on average at most.

use std::io::Read;

use memchr::{memchr_iter, memrchr};

use crate::CheckError;
use crate::history::edn::Edn;
use crate::history::edn::parse::{Fault, Parser};

use super::pieces::LINE_BYTES_MAX;

/// Bytes that are read at once, at least.
const BUFFER_BYTES: usize = 1 << 20;

/// A form and its place in the file, from 1.
pub(super) struct Form {
    pub edn: Edn,
    pub line: u64,
    pub column: usize,
    /// Where in the buffer it begins.
    start: usize,
}

/// A file of forms.
pub(super) struct Forms<'n, R> {
    reader: R,
    name: &'n str,
    text: Vec<u8>,
    /// Where in the text the next form is looked for.
    at: usize,
    ended: bool,
    /// Up to where in the text lines were counted: line and column there, both from 1.
    counted: usize,
    line: u64,
    column: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was read.
    Begun,
    /// Forms stand one after the other.
    Bare,
    /// Within the vector.
    Vector,
    /// After it.
    Closed,
}

/// What stands next in the text, and where it ends.
enum Step {
    Form(Edn, usize),
    Bracket(State),
    End,
}

impl<'n, R: Read> Forms<'n, R> {
    pub fn new(reader: R, name: &'n str) -> Forms<'n, R> {
        Forms {
            reader,
            name,
            text: Vec::new(),
            at: 0,
            ended: false,
            counted: 0,
            line: 1,
            column: 1,
            state: State::Begun,
        }
    }

    /// Whether nothing is missing, once there are no more forms.
    pub fn is_whole(&self) -> bool {
        self.at >= self.text.trim_ascii_end().len() && self.state != State::Vector
    }

    /// The next form; `None` at the end of the file, or where it was cut off.
    pub fn next(&mut self) -> Result<Option<Form>, CheckError> {
        loop {
            let mut parser = Parser::new(&self.text[self.at..]);
            let step = step(&mut parser, self.state);
            let (end, rest) = (parser.at(), self.text.len() - self.at);
            let unfinished = match &step {
                Ok(_) => end >= rest,
                Err(fault) => parser.is_cut_off(fault),
            };
            if unfinished && !self.ended {
                self.fill()?;
                continue;
            }
            match step {
                Ok(Step::Form(edn, start)) => {
                    let start = self.at + start;
                    self.count_to(start);
                    self.at += end;
                    if self.state == State::Begun {
                        self.state = State::Bare;
                    }
                    return Ok(Some(Form {
                        edn,
                        line: self.line,
                        column: self.column,
                        start,
                    }));
                }
                Ok(Step::Bracket(state)) => {
                    self.at += end;
                    self.state = state;
                }
                Ok(Step::End) => {
                    self.at += end;
                    return Ok(None);
                }
                // Cut off: what is left is no form.
                Err(_) if unfinished => return Ok(None),
                Err(fault) => return Err(self.malformed(&fault)),
            }
        }
    }

    /// How the form that was given out last begins, for errors.
    pub fn shown(&self, form: &Form) -> String {
        shown(&self.text[form.start..])
    }

    /// Reads more; what was parsed is forgotten.
    fn fill(&mut self) -> Result<(), CheckError> {
        self.count_to(self.at);
        self.text.drain(..self.at);
        (self.at, self.counted) = (0, 0);
        if self.text.len() >= LINE_BYTES_MAX {
            return Err(CheckError::TooLarge {
                file: self.name.to_owned(),
                line: self.line,
                what: "bytes in one form",
                limit: LINE_BYTES_MAX as u64,
            });
        }
        let wanted = BUFFER_BYTES.max(self.text.len()) as u64;
        let read = self
            .reader
            .by_ref()
            .take(wanted)
            .read_to_end(&mut self.text);
        let read = read.map_err(|source| CheckError::Unreadable {
            path: self.name.into(),
            source,
        })?;
        self.ended = (read as u64) < wanted;
        Ok(())
    }

    /// Counts lines up to a byte of the text.
    fn count_to(&mut self, to: usize) {
        let passed = &self.text[self.counted..to];
        match memrchr(b'\n', passed) {
            Some(last) => {
                self.line += memchr_iter(b'\n', passed).count() as u64;
                self.column = passed.len() - last;
            }
            None => self.column += passed.len(),
        }
        self.counted = to;
    }

    fn malformed(&mut self, fault: &Fault) -> CheckError {
        let at = self.text.len().min(self.at + fault.at);
        self.count_to(at);
        CheckError::Malformed {
            file: self.name.to_owned(),
            line: self.line,
            column: self.column,
            field: "(operation)".to_owned(),
            expected: fault.expected.to_owned(),
            found: shown(&self.text[at..]),
        }
    }
}

fn step(parser: &mut Parser, state: State) -> Result<Step, Fault> {
    match (parser.peek()?, state) {
        (None, _) => Ok(Step::End),
        (Some(b'['), State::Begun) => parser.eat(b'[').map(|_| Step::Bracket(State::Vector)),
        (Some(b']'), State::Vector) => parser.eat(b']').map(|_| Step::Bracket(State::Closed)),
        (Some(_), State::Closed) => Err(Fault {
            at: parser.at(),
            expected: "the end of the file: one vector of operations",
        }),
        (Some(_), _) => {
            let start = parser.at();
            parser.form().map(|edn| Step::Form(edn, start))
        }
    }
}

/// The beginning of what was found, for people.
pub(super) fn shown(rest: &[u8]) -> String {
    let rest = rest.trim_ascii();
    if rest.is_empty() {
        return "the end of the file".to_owned();
    }
    let text = String::from_utf8_lossy(&rest[..rest.len().min(24)]).into_owned();
    format!("`{}`", text.replace(char::is_control, "?"))
}
