//! A JSON scanner over one line: moves forward only, allocates nothing for what is not kept.
//!
//! Histories are read millions of lines at a time, nearly all of one shape, so the reader walks
//! the bytes itself instead of building a tree. Invariants: no input panics; nesting is bounded by
//! [`DEPTH_MAX`]; a fault's position is where reading stopped, so that a line which was cut off
//! fails exactly at its end. Deliberately absent: validation of what nobody looks at beyond its
//! being well nested.

use std::borrow::Cow;

use serde_json::Value as Json;

use crate::history::Value;

/// Nesting deeper than this is refused: no history needs it, and recursion must be bounded.
pub const DEPTH_MAX: usize = 64;

/// What was wrong with a line, and where. Boxed, because it is rare and results are many.
#[derive(Debug)]
pub struct Fault {
    /// Byte in the line at which reading stopped, from 0.
    pub at: usize,
    /// Path of the field, outermost first.
    pub field: String,
    /// What should have been there.
    pub expected: Cow<'static, str>,
}

/// Result of scanning.
pub type Scan<T> = Result<T, Box<Fault>>;

/// Puts a fault into the field in which it was found.
pub trait Within<T> {
    /// Prefixes the fault's path with `name`.
    fn within(self, name: &str) -> Scan<T>;
    /// Prefixes the fault's path with `[index]`.
    fn within_item(self, index: usize) -> Scan<T>;
}

fn prefix(fault: &mut Fault, outer: &str) {
    let inner = std::mem::take(&mut fault.field);
    let dot = if inner.is_empty() || inner.starts_with('[') {
        ""
    } else {
        "."
    };
    fault.field = format!("{outer}{dot}{inner}");
}

impl<T> Within<T> for Scan<T> {
    fn within(self, name: &str) -> Scan<T> {
        self.map_err(|mut fault| {
            prefix(&mut fault, name);
            fault
        })
    }

    fn within_item(self, index: usize) -> Scan<T> {
        self.map_err(|mut fault| {
            prefix(&mut fault, &format!("[{index}]"));
            fault
        })
    }
}

/// A position in one line.
#[derive(Clone)]
pub struct Scanner<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// At the start of a line.
    #[must_use]
    pub fn new(line: &'a [u8]) -> Scanner<'a> {
        Scanner { line, at: 0 }
    }

    /// Where it is, in bytes.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The same line, at another position.
    #[must_use]
    pub fn moved_to(&self, at: usize) -> Scanner<'a> {
        Scanner {
            line: self.line,
            at,
        }
    }

    /// A fault at this position.
    pub fn fault<T>(&self, expected: impl Into<Cow<'static, str>>) -> Scan<T> {
        fault_at(self.at, expected)
    }

    /// The next byte that is not white space, without taking it.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.line.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes the byte if it is the next one.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes the byte, or says what was expected instead of whatever is there.
    #[inline]
    pub fn expect(&mut self, byte: u8, expected: &'static str) -> Scan<()> {
        if self.eat(byte) {
            Ok(())
        } else {
            self.fault(expected)
        }
    }

    /// Takes exactly these bytes if they are next, with no white space before them.
    #[inline]
    pub fn eat_exact<const N: usize>(&mut self, text: &[u8; N]) -> bool {
        let rest = self.line.get(self.at..).and_then(<[u8]>::first_chunk::<N>);
        let found = rest == Some(text);
        if found {
            self.at += N;
        }
        found
    }

    /// What stands between another position and this one.
    #[must_use]
    pub fn since(&self, before: &Scanner) -> &'a [u8] {
        &self.line[before.at..self.at]
    }

    /// A plain integer that is not negative, with no white space before it; `None` (and no
    /// movement) for anything else, which may still be a good integer.
    #[inline]
    pub fn digits(&mut self) -> Option<i64> {
        let (integer, at) = self.digits_at(self.at)?;
        self.at = at;
        Some(integer)
    }

    #[inline]
    fn digits_at(&self, start: usize) -> Option<(i64, usize)> {
        let mut at = start;
        let mut integer = 0i64;
        while let Some(digit) = self.line.get(at).map(|byte| byte.wrapping_sub(b'0'))
            && digit <= 9
        {
            // Eighteen digits cannot overflow; more are refused below.
            integer = integer.wrapping_mul(10).wrapping_add(i64::from(digit));
            at += 1;
        }
        let length = at - start;
        let leading_zero = length > 1 && self.line[start] == b'0';
        let fraction = matches!(self.line.get(at), Some(b'.' | b'e' | b'E'));
        let plain = (1..=18).contains(&length) && !leading_zero && !fraction;
        plain.then_some((integer, at))
    }

    /// `[offset,value]` of two plain integers without white space: what nearly every record looks
    /// like. `None` (and no movement) for anything else, which may still be a good record.
    #[inline]
    pub fn pair(&mut self) -> Option<(i64, Value)> {
        let at = self.at_byte(self.at, b'[')?;
        let (offset, at) = self.digits_at(at)?;
        let (value, at) = self.digits_at(self.at_byte(at, b',')?)?;
        self.at = self.at_byte(at, b']')?;
        Some((offset, Value::inline(value)?))
    }

    /// The same for `[offset,epoch,value]`.
    #[inline]
    pub fn triple(&mut self) -> Option<(i64, i64, Value)> {
        let at = self.at_byte(self.at, b'[')?;
        let (offset, at) = self.digits_at(at)?;
        let (epoch, at) = self.digits_at(self.at_byte(at, b',')?)?;
        let (value, at) = self.digits_at(self.at_byte(at, b',')?)?;
        self.at = self.at_byte(at, b']')?;
        Some((offset, epoch, Value::inline(value)?))
    }

    /// Elements of a list of plain integers without white space, up to and with its closing bracket
    /// (`true`), or up to the first element that looks different.
    #[inline]
    pub fn plain_integers(&mut self, mut each: impl FnMut(i64)) -> bool {
        while let Some((integer, at)) = self.digits_at(self.at) {
            match self.line.get(at) {
                Some(b',') => self.at = at + 1,
                Some(b']') => {
                    self.at = at + 1;
                    each(integer);
                    return true;
                }
                _ => return false,
            }
            each(integer);
        }
        false
    }

    /// The position after that byte, if it stands there.
    #[inline]
    fn at_byte(&self, at: usize, byte: u8) -> Option<usize> {
        (self.line.get(at) == Some(&byte)).then_some(at + 1)
    }

    /// After an element: another one follows (`true`), or `close` ends the list.
    #[inline]
    pub fn more(&mut self, close: u8, expected: &'static str) -> Scan<bool> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => self.fault(expected),
        }
    }

    /// Takes `null` if it is next.
    #[inline]
    pub fn null(&mut self) -> Scan<bool> {
        if self.peek() == Some(b'n') {
            self.literal(b"null").map(|()| true)
        } else {
            Ok(false)
        }
    }

    fn literal(&mut self, word: &[u8]) -> Scan<()> {
        for &byte in word {
            if self.line.get(self.at) != Some(&byte) {
                return self.fault("a JSON value");
            }
            self.at += 1;
        }
        Ok(())
    }

    /// An integer within 64 bits; `None` (and no movement) if what follows is something else.
    #[inline]
    pub fn try_integer(&mut self) -> Option<i64> {
        self.peek();
        let start = self.at;
        let negative = self.line.get(start) == Some(&b'-');
        let mut at = start + usize::from(negative);
        let first = at;
        let mut magnitude: u64 = 0;
        while let Some(digit) = self.line.get(at).map(|byte| byte.wrapping_sub(b'0')) {
            if digit > 9 {
                break;
            }
            magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit))?;
            at += 1;
        }
        let leading_zero = at - first > 1 && self.line.get(first) == Some(&b'0');
        if at == first || leading_zero || matches!(self.line.get(at), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        let value = if negative {
            0i64.checked_sub_unsigned(magnitude)?
        } else {
            i64::try_from(magnitude).ok()?
        };
        self.at = at;
        Some(value)
    }

    /// An integer within 64 bits.
    #[inline]
    pub fn integer(&mut self) -> Scan<i64> {
        match self.try_integer() {
            Some(integer) => Ok(integer),
            // A line that was cut in the middle of a number fails at its end, not at the number.
            None if self.rest_is_cut_number() => fault_at(self.line.len(), "an integer"),
            None => self.fault("an integer within 64 bits"),
        }
    }

    fn rest_is_cut_number(&self) -> bool {
        let rest = self.line.get(self.at..).unwrap_or_default();
        rest.iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.'))
    }

    /// A string without its quotes, as it stands in the line, and whether it holds escapes.
    #[inline]
    pub fn raw_text(&mut self) -> Scan<(&'a [u8], bool)> {
        self.expect(b'"', "a string")?;
        let start = self.at;
        let mut escaped = false;
        while let Some(&byte) = self.line.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok((&self.line[start..self.at - 1], escaped));
                }
                b'\\' => {
                    escaped = true;
                    self.at += 2;
                }
                0..=0x1f => return self.fault("a string without control characters"),
                _ => self.at += 1,
            }
        }
        fault_at(self.line.len(), "the string's closing quote")
    }

    /// A string.
    pub fn text(&mut self) -> Scan<Cow<'a, str>> {
        self.peek();
        let start = self.at;
        let (raw, escaped) = self.raw_text()?;
        if escaped {
            let quoted = &self.line[start..self.at];
            return match serde_json::from_slice::<String>(quoted) {
                Ok(text) => Ok(Cow::Owned(text)),
                Err(_) => fault_at(start, "a string with valid escapes, in UTF-8"),
            };
        }
        match std::str::from_utf8(raw) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) => fault_at(start, "a string in UTF-8"),
        }
    }

    /// Passes over one value. Numbers are checked by their bytes only.
    pub fn skip(&mut self) -> Scan<()> {
        let mut depth = 0usize;
        let mut objects = 0u64; // One bit for each open bracket, the innermost lowest.
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.raw_text()?;
                }
                Some(open @ (b'[' | b'{')) => {
                    self.at += 1;
                    let object = open == b'{';
                    if !self.eat(if object { b'}' } else { b']' }) {
                        if depth == DEPTH_MAX {
                            return self.fault("less nesting");
                        }
                        depth += 1;
                        objects = objects << 1 | u64::from(object);
                        if object {
                            self.member_name()?;
                        }
                        continue;
                    }
                }
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                Some(b'-' | b'0'..=b'9') => self.skip_number(),
                _ => return self.fault("a JSON value"),
            }
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                let close = if object { b'}' } else { b']' };
                if self.more(close, "`,` or the closing bracket")? {
                    if object {
                        self.member_name()?;
                    }
                    break;
                }
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    fn member_name(&mut self) -> Scan<()> {
        self.raw_text()?;
        self.expect(b':', "`:`")
    }

    fn skip_number(&mut self) {
        while matches!(
            self.line.get(self.at),
            Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
        ) {
            self.at += 1;
        }
    }

    /// One value as a tree.
    pub fn json(&mut self) -> Scan<Json> {
        self.peek();
        let start = self.at;
        self.skip()?;
        match serde_json::from_slice(&self.line[start..self.at]) {
            Ok(json) => Ok(json),
            Err(error) => fault_at(start + error.column().saturating_sub(1), "a JSON value"),
        }
    }

    /// A string, number or boolean; `null` too.
    pub fn scalar(&mut self) -> Scan<Json> {
        match self.peek() {
            Some(b'[' | b'{') => self.fault("a value that is no list and no object"),
            _ => self.json(),
        }
    }
}

pub(super) fn fault_at<T>(at: usize, expected: impl Into<Cow<'static, str>>) -> Scan<T> {
    Err(Box::new(Fault {
        at,
        field: String::new(),
        expected: expected.into(),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn scan(text: &str) -> Scanner<'_> {
        Scanner::new(text.as_bytes())
    }

    #[test]
    fn integers_up_to_their_limits() {
        for integer in [0, -1, 7, i64::MAX, i64::MIN] {
            assert_eq!(scan(&integer.to_string()).integer().ok(), Some(integer));
        }
        for bad in ["9223372036854775808", "01", "-", "1.5", "1e3", "x", "\"1\""] {
            assert!(scan(bad).integer().is_err(), "{bad}");
        }
    }

    #[test]
    fn strings_with_and_without_escapes() {
        assert_eq!(
            scan(r#" "orders-0" "#).text().ok().as_deref(),
            Some("orders-0")
        );
        assert_eq!(scan(r#""a\"\u00e9""#).text().ok().as_deref(), Some("a\"é"));
        assert!(scan(r#""open"#).text().is_err());
        assert!(Scanner::new(b"\"\xff\"").text().is_err());
    }

    #[test]
    fn a_cut_line_fails_at_its_end() {
        let line = r#"{"index": 12, "value": [["send", "x", [3, 4]]], "f": "send", "e": null}"#;
        for cut in 0..line.len() {
            let mut scanner = scan(&line[..cut]);
            let fault = scanner.skip().expect_err("the object is open");
            assert_eq!(fault.at, cut, "{}", &line[..cut]);
        }
        assert!(scan(line).skip().is_ok());
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(scan(&deep).skip().is_err());
        assert!(scan(&deep).json().is_err());
    }

    #[test]
    fn brackets_must_match() {
        for bad in [
            "[1}",
            "{\"a\":1]",
            "[\"a\":1]",
            "{\"a\"}",
            "{1:2}",
            "[1,]",
            "{,}",
        ] {
            assert!(scan(bad).skip().is_err(), "{bad}");
        }
        assert_eq!(
            scan("{\"a\":[1,{}]} x").json().ok(),
            Some(json!({"a": [1, {}]}))
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Scanner::new(&bytes).skip();
            let _ = Scanner::new(&bytes).json();
            let _ = Scanner::new(&bytes).text();
            let _ = Scanner::new(&bytes).integer();
        }

        #[test]
        fn whatever_serde_accepts_is_passed_over(
            numbers in proptest::collection::vec(any::<i64>(), 0..8),
            text in ".*",
        ) {
            let json = json!({"n": numbers, "t": text, "o": {"a": [], "b": {}, "c": [true, null]}});
            let line = json.to_string();
            let mut scanner = scan(&line);
            prop_assert!(scanner.skip().is_ok());
            prop_assert_eq!(scanner.at(), line.len());
            prop_assert_eq!(scan(&line).json().ok(), Some(json));
        }
    }
}
