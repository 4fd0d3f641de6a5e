//! Message values: any JSON scalar, eight bytes each.
//!
//! Our own harness writes integers; imported histories may hold strings, floats or booleans.
//! An integer within 62 bits is stored inline, everything else is interned once per history, so
//! that equal values have equal codes and comparing, hashing and copying cost one machine word.
//! Deliberately absent: an order on codes. Sort by [`Values::compare`].

use std::cmp::Ordering;

use rustc_hash::FxHashMap;
use serde_json::Value as Json;

/// One message value, as a code that is meaningful within its [`Values`] table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value(u64);

const INLINE_MIN: i64 = -(1 << 62);
const INLINE_MAX: i64 = (1 << 62) - 1;

impl Value {
    /// No value: a record whose payload could not be read, or JSON `null`.
    pub const NULL: Value = Value(u64::MAX);

    /// The value of an integer, where it fits inline.
    #[must_use]
    pub fn inline(integer: i64) -> Option<Value> {
        (INLINE_MIN..=INLINE_MAX)
            .contains(&integer)
            .then_some(Value((integer as u64) << 1))
    }

    /// The integer, where the value is an inline one.
    #[must_use]
    pub fn as_integer(self) -> Option<i64> {
        (self.0 & 1 == 0).then_some((self.0 as i64) >> 1)
    }

    /// For hashing: equal values have equal codes.
    pub(crate) fn code(self) -> u64 {
        self.0 >> 1
    }

    /// The number within its [`Values`] table, where the value is neither inline nor null.
    pub(crate) fn interned(self) -> Option<usize> {
        (self.0 & 1 == 1 && !self.is_null()).then_some((self.0 >> 1) as usize)
    }

    /// Whether this is [`Value::NULL`].
    #[must_use]
    pub fn is_null(self) -> bool {
        self == Value::NULL
    }
}

/// The table of values that are not inline integers.
#[derive(Clone, Debug, Default)]
pub struct Values {
    interned: Vec<Json>,
    codes: FxHashMap<String, u32>,
}

impl Values {
    /// The code of an integer.
    pub fn integer(&mut self, integer: i64) -> Value {
        Value::inline(integer).unwrap_or_else(|| self.scalar(Json::from(integer)))
    }

    /// The code of any JSON scalar. Arrays and objects are interned whole; the reader refuses
    /// them before they get here.
    pub fn scalar(&mut self, json: Json) -> Value {
        if json.is_null() {
            return Value::NULL;
        }
        if let Some(value) = json.as_i64().and_then(Value::inline) {
            return value;
        }
        let text = json.to_string();
        if let Some(&code) = self.codes.get(&text) {
            return Value(u64::from(code) << 1 | 1);
        }
        let code = u32::try_from(self.interned.len()).expect("fewer than 2^32 distinct values");
        self.interned.push(json);
        self.codes.insert(text, code);
        Value(u64::from(code) << 1 | 1)
    }

    /// Everything that was interned, in order.
    pub(crate) fn into_scalars(self) -> Vec<Json> {
        self.interned
    }

    /// The code of a JSON scalar that the table holds.
    #[must_use]
    pub fn find(&self, json: &Json) -> Option<Value> {
        if json.is_null() {
            return Some(Value::NULL);
        }
        let inline = json.as_i64().and_then(Value::inline);
        let interned = || {
            self.codes
                .get(&json.to_string())
                .map(|&code| Value(u64::from(code) << 1 | 1))
        };
        inline.or_else(interned)
    }

    /// The value as JSON.
    #[must_use]
    pub fn json(&self, value: Value) -> Json {
        if value.is_null() {
            return Json::Null;
        }
        match value.as_integer() {
            Some(integer) => Json::from(integer),
            None => self.interned[(value.0 >> 1) as usize].clone(),
        }
    }

    /// Integers by size, then everything else by its JSON text, null last.
    #[must_use]
    pub fn compare(&self, a: Value, b: Value) -> Ordering {
        match (a.as_integer(), b.as_integer()) {
            (Some(x), Some(y)) => x.cmp(&y),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => (a.is_null(), self.json(a).to_string())
                .cmp(&(b.is_null(), self.json(b).to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_whatever_their_size() {
        let mut values = Values::default();
        for integer in [0, 1, -1, INLINE_MIN, INLINE_MAX, i64::MIN, i64::MAX] {
            let value = values.integer(integer);
            assert_eq!(values.json(value), Json::from(integer));
            assert_eq!(values.integer(integer), value);
        }
    }

    #[test]
    fn scalars_are_interned_once_and_kept_apart() {
        let mut values = Values::default();
        let text = values.scalar(Json::from("3"));
        let number = values.scalar(Json::from(3));
        assert_ne!(text, number);
        assert_eq!(values.scalar(Json::from("3")), text);
        assert_eq!(values.scalar(Json::Null), Value::NULL);
        assert_eq!(values.json(Value::NULL), Json::Null);
        assert_eq!(values.compare(number, text), Ordering::Less);
    }
}
