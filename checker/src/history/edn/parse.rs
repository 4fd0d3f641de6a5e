//! Reads EDN forms one after the other.
//!
//! Invariants: no input panics; nesting is bounded by [`DEPTH_MAX`]; what is allocated is bounded
//! by the input. A fault at the end of the input is told apart from any other, so that a file
//! which was cut off counts up to there.
//! cut off counts up to there.

use super::Edn;

/// Nesting deeper than this is refused: no history needs it, and recursion must be bounded.
pub const DEPTH_MAX: usize = 64;

/// What was wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Byte at which reading stopped, from 0.
    pub at: usize,
    /// What should have been there.
    pub expected: &'static str,
}

/// A position in EDN text.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

type Parse<T> = Result<T, Fault>;

impl<'a> Parser<'a> {
    /// At the start.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Parser<'a> {
        Parser { text, at: 0 }
    }

    /// Where it is, in bytes.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Line and column of a byte, both from 1.
    #[must_use]
    pub fn place(&self, at: usize) -> (u64, usize) {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        let start = before
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        (line, before.len() - start + 1)
    }

    /// Whether a fault lies at the end of the input: the file was cut off there.
    #[must_use]
    pub fn is_cut_off(&self, fault: &Fault) -> bool {
        fault.at >= self.text.trim_ascii_end().len()
    }

    fn fault<T>(&self, expected: &'static str) -> Parse<T> {
        Err(Fault {
            at: self.at,
            expected,
        })
    }

    /// The next byte that is neither white space nor part of a comment or a discarded form.
    ///
    /// A discarded form that is none.
    pub fn peek(&mut self) -> Parse<Option<u8>> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t' | b'\r' | b'\n' | b',' | 0x0c) => self.at += 1,
                Some(b';') => {
                    while self.text.get(self.at).is_some_and(|&byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                Some(b'#') if self.text.get(self.at + 1) == Some(&b'_') => {
                    self.at += 2;
                    self.form_within(DEPTH_MAX / 2)?;
                }
                byte => return Ok(byte.copied()),
            }
        }
    }

    /// Takes the byte if it is the next one.
    ///
    /// As [`Parser::peek`].
    pub fn eat(&mut self, byte: u8) -> Parse<bool> {
        let found = self.peek()? == Some(byte);
        self.at += usize::from(found);
        Ok(found)
    }

    /// The next form.
    ///
    /// Where what stands there is none, or the input ends within it.
    pub fn form(&mut self) -> Parse<Edn> {
        self.form_within(DEPTH_MAX)
    }

    fn form_within(&mut self, depth: usize) -> Parse<Edn> {
        let Some(depth) = depth.checked_sub(1) else {
            return self.fault("less nesting");
        };
        match self.peek()? {
            None => self.fault("a form"),
            Some(b'"') => self.text().map(Edn::Text),
            Some(b'\\') => Ok(Edn::Word(self.character())),
            Some(b':') => {
                self.at += 1;
                let name = self.word();
                if name.is_empty() {
                    return self.fault("a keyword's name");
                }
                Ok(Edn::Keyword(name))
            }
            Some(b'(') => self.sequence(b')', depth).map(Edn::List),
            Some(b'[') => self.sequence(b']', depth).map(Edn::Vector),
            Some(b'{') => self.map(depth),
            Some(b'#') => self.dispatch(depth),
            Some(b')' | b']' | b'}') => self.fault("a form"),
            Some(_) => {
                let start = self.at;
                let word = self.word();
                if word.is_empty() {
                    self.at = start;
                    return self.fault("a form");
                }
                Ok(atom(word))
            }
        }
    }

    fn sequence(&mut self, close: u8, depth: usize) -> Parse<Vec<Edn>> {
        self.at += 1;
        let mut forms = Vec::new();
        while !self.eat(close)? {
            if self.at >= self.text.len() {
                return self.fault("a form, or the closing bracket");
            }
            forms.push(self.form_within(depth)?);
        }
        Ok(forms)
    }

    fn map(&mut self, depth: usize) -> Parse<Edn> {
        let forms = self.sequence(b'}', depth)?;
        if !forms.len().is_multiple_of(2) {
            self.at -= 1;
            return self.fault("a value for the last key");
        }
        let mut entries = Vec::with_capacity(forms.len() / 2);
        let mut forms = forms.into_iter();
        while let (Some(key), Some(value)) = (forms.next(), forms.next()) {
            entries.push((key, value));
        }
        Ok(Edn::Map(entries))
    }

    fn dispatch(&mut self, depth: usize) -> Parse<Edn> {
        match self.text.get(self.at + 1) {
            Some(b'{') => {
                self.at += 1;
                self.sequence(b'}', depth).map(Edn::Set)
            }
            Some(b'#') => {
                let start = self.at;
                self.at += 2;
                let word = self.word();
                if word.is_empty() {
                    self.at = start;
                    return self.fault("##NaN, ##Inf or ##-Inf");
                }
                Ok(Edn::Word(format!("##{word}")))
            }
            Some(_) => {
                self.at += 1;
                let tag = self.word();
                if tag.is_empty() {
                    return self.fault("a tag");
                }
                let form = self.form_within(depth)?;
                Ok(Edn::Tagged(tag, Box::new(form)))
            }
            None => {
                self.at += 1;
                self.fault("a form")
            }
        }
    }

    /// Bytes up to the next delimiter.
    fn word(&mut self) -> String {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|&byte| !delimits(byte)) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }

    /// `\a`, `\newline`, `\(`.
    fn character(&mut self) -> String {
        self.at += 1;
        let start = self.at;
        // The character itself, even if it delimits, with all of its bytes.
        self.at += 1;
        while self
            .text
            .get(self.at)
            .is_some_and(|byte| byte & 0xc0 == 0x80)
        {
            self.at += 1;
        }
        self.at = self.at.min(self.text.len());
        let first = String::from_utf8_lossy(&self.text[start.min(self.at)..self.at]).into_owned();
        format!("\\{first}{}", self.word())
    }

    fn text(&mut self) -> Parse<String> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.text.get(self.at) {
                None => return self.fault("the string's closing quote"),
                Some(b'"') => {
                    self.at += 1;
                    return match String::from_utf8(bytes) {
                        Ok(text) => Ok(text),
                        Err(_) => self.fault("a string in UTF-8"),
                    };
                }
                Some(b'\\') => self.escape(&mut bytes)?,
                Some(&byte) => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Parse<()> {
        let escaped = match self.text.get(self.at + 1) {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(&same @ (b'"' | b'\\' | b'/')) => same,
            Some(b'u') => return self.unicode(bytes),
            Some(_) => return self.fault("an escape: one of \\n \\t \\r \\b \\f \\\" \\\\ \\u"),
            None => {
                self.at = self.text.len();
                return self.fault("the string's closing quote");
            }
        };
        bytes.push(escaped);
        self.at += 2;
        Ok(())
    }

    /// `\u0041`; two of them for what lies beyond the basic plane.
    fn unicode(&mut self, bytes: &mut Vec<u8>) -> Parse<()> {
        let unit = |at: usize| {
            let digits = self.text.get(at..at + 4)?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let Some(first) = unit(self.at + 2) else {
            if self.at + 6 > self.text.len() {
                self.at = self.text.len();
            }
            return self.fault("four hexadecimal digits");
        };
        let pair = (0xd800..0xdc00).contains(&first)
            && self.text.get(self.at + 6..self.at + 8) == Some(b"\\u");
        let second = unit(self.at + 8).filter(|unit| pair && (0xdc00..0xe000).contains(unit));
        let code = second.map_or(first, |second| {
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        });
        let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        bytes.extend(letter.encode_utf8(&mut [0; 4]).bytes());
        self.at += if second.is_some() { 12 } else { 6 };
        Ok(())
    }
}

fn delimits(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'\r'
            | b'\n'
            | b','
            | 0x0c
            | b'"'
            | b';'
            | b'('
            | b')'
            | b'['
            | b']'
            | b'{'
            | b'}'
            | b'\\'
            | b'#'
    )
}

/// A word as the value that it stands for.
fn atom(word: String) -> Edn {
    match word.as_str() {
        "nil" => return Edn::Nil,
        "true" => return Edn::Bool(true),
        "false" => return Edn::Bool(false),
        _ => {}
    }
    let digits = word.trim_start_matches(['-', '+']);
    if digits.starts_with(|first: char| first.is_ascii_digit()) {
        if let Ok(integer) = word.parse::<i64>()
            && integer.to_string() == word
        {
            return Edn::Int(integer);
        }
        if word.contains(['.', 'e', 'E'])
            && let Ok(float) = word.parse::<f64>()
            && float.is_finite()
        {
            return Edn::Float(float);
        }
    }
    Edn::Word(word)
}
