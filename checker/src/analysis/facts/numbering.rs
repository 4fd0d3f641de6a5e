//! Numbers the distinct values of one key, so that every table by message is a vector.
//!
//! Workloads number their values from 1 upwards, so a table by value is small; where they do not
//! (strings, random integers) a hash map does it. Memory is bounded by the number of records,
//! whatever the values are.

use rustc_hash::FxHashMap;

use crate::history::Value;

/// No message.
pub const NONE: u32 = u32::MAX;

/// What the values of a key look like before any is numbered.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    count: u64,
    min: i64,
    max: i64,
    integers_only: bool,
}

impl Default for Span {
    fn default() -> Span {
        Span {
            count: 0,
            min: i64::MAX,
            max: i64::MIN,
            integers_only: true,
        }
    }
}

impl Span {
    /// Takes one value into account.
    #[inline]
    pub fn add(&mut self, integer: Option<i64>) {
        self.count += 1;
        match integer {
            Some(integer) => {
                self.min = self.min.min(integer);
                self.max = self.max.max(integer);
            }
            None => self.integers_only = false,
        }
    }

    /// How many were taken into account.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// First and length of a table over the span, where that is worth its memory.
    #[must_use]
    pub fn table(&self) -> Option<(i64, usize)> {
        if self.count == 0 || !self.integers_only {
            return None;
        }
        let width = u64::try_from(self.max.checked_sub(self.min)?)
            .ok()?
            .checked_add(1)?;
        let worth = self.count.saturating_mul(8).saturating_add(1024);
        (width <= worth).then_some((self.min, usize::try_from(width).ok()?))
    }
}

/// From values to numbers.
#[derive(Debug)]
pub enum Numbering {
    /// Number by `value - base`.
    Table {
        /// The smallest value.
        base: i64,
        /// Number, or [`NONE`].
        numbers: Vec<u32>,
    },
    /// Number by value.
    Map(FxHashMap<Value, u32>),
}

impl Numbering {
    /// For values of that span.
    #[must_use]
    pub fn new(span: &Span) -> Numbering {
        match span.table() {
            Some((base, width)) => Numbering::Table {
                base,
                numbers: vec![NONE; width],
            },
            None => Numbering::Map(FxHashMap::default()),
        }
    }

    /// At most so many values will be numbered, where that is known.
    #[must_use]
    pub fn bound(&self) -> usize {
        match self {
            Numbering::Table { numbers, .. } => numbers.len(),
            Numbering::Map(_) => 0,
        }
    }

    /// The number of a value; `next` if it is new.
    #[inline]
    pub fn number(&mut self, value: Value, next: u32) -> u32 {
        let slot = match self {
            Numbering::Table { base, numbers } => {
                let integer = value.as_integer().expect("the span has integers only");
                &mut numbers[(integer - *base) as usize]
            }
            Numbering::Map(numbers) => return *numbers.entry(value).or_insert(next),
        };
        if *slot == NONE {
            *slot = next;
        }
        *slot
    }

    /// The number of a value, if it has one.
    #[must_use]
    pub fn find(&self, value: Value) -> Option<u32> {
        match self {
            Numbering::Table { base, numbers } => {
                let at = usize::try_from(value.as_integer()?.checked_sub(*base)?).ok()?;
                numbers.get(at).copied().filter(|&number| number != NONE)
            }
            Numbering::Map(numbers) => numbers.get(&value).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(integers: &[i64]) -> (Span, Vec<Value>) {
        let mut span = Span::default();
        let values: Vec<_> = integers
            .iter()
            .map(|&integer| Value::inline(integer).expect("small"))
            .collect();
        values.iter().for_each(|value| span.add(value.as_integer()));
        (span, values)
    }

    #[test]
    fn close_integers_make_a_table_and_distant_ones_a_map() {
        for (integers, table) in [(vec![5, 7, 6], true), (vec![5, 1 << 50, -3], false)] {
            let (span, values) = values(&integers);
            assert_eq!(span.table().is_some(), table);
            let mut numbering = Numbering::new(&span);
            for (next, &value) in values.iter().enumerate() {
                assert_eq!(numbering.number(value, next as u32), next as u32);
            }
            assert_eq!(numbering.number(values[1], 99), 1);
            assert_eq!(numbering.find(values[2]), Some(2));
            assert_eq!(numbering.find(Value::inline(4).expect("small")), None);
            assert_eq!(numbering.find(Value::NULL), None);
        }
    }
}
