//! The log of one key as the history shows it: which messages stand at which offsets.
//!
//! Offsets have gaps (control records, aborted or unseen messages), so positions are counted
//! densely: index `i` is the i-th offset at which anything was seen. One offset with several
//! messages is a conflict: one of them stands in the order, the others beside it. Memory is
//! bounded by the number of entries, however large the offsets are.

use super::numbering::{NONE, Span};

/// Collects entries.
#[derive(Debug)]
pub enum LogBuilder {
    /// Message by `offset - base`.
    Table {
        /// The smallest offset.
        base: i64,
        /// Message, or [`NONE`].
        messages: Vec<u32>,
        /// Further messages.
        conflicts: Vec<(i64, u32)>,
    },
    /// Every entry; offsets too far apart for a table.
    List(Vec<(i64, u32)>),
}

impl LogBuilder {
    /// For offsets of that span.
    #[must_use]
    pub fn new(offsets: &Span) -> LogBuilder {
        match offsets.table() {
            Some((base, width)) => LogBuilder::Table {
                base,
                messages: vec![NONE; width],
                conflicts: Vec::new(),
            },
            None => LogBuilder::List(Vec::new()),
        }
    }

    /// The message stands at the offset.
    #[inline]
    pub fn add(&mut self, offset: i64, message: u32) {
        match self {
            LogBuilder::Table {
                base,
                messages,
                conflicts,
            } => {
                let slot = &mut messages[(offset - *base) as usize];
                if *slot == NONE {
                    *slot = message;
                } else if *slot != message {
                    conflicts.push((offset, message));
                }
            }
            LogBuilder::List(entries) => entries.push((offset, message)),
        }
    }

    /// The log.
    #[must_use]
    pub fn finish(self) -> Log {
        let mut log = Log::default();
        match self {
            LogBuilder::Table {
                base,
                messages,
                mut conflicts,
            } => {
                let known = messages.iter().filter(|&&message| message != NONE);
                let known = known.count();
                log.offsets.reserve_exact(known);
                log.order.reserve_exact(known);
                for (at, message) in messages.into_iter().enumerate() {
                    if message != NONE {
                        log.offsets.push(base + at as i64);
                        log.order.push(message);
                    }
                }
                conflicts.sort_unstable();
                conflicts.dedup();
                for (offset, message) in conflicts {
                    let index = log
                        .index_of(offset)
                        .expect("a conflict's offset has an entry");
                    log.conflicts.push((index, message));
                }
            }
            LogBuilder::List(mut entries) => {
                entries.sort_unstable();
                entries.dedup();
                for (offset, message) in entries {
                    if log.offsets.last() == Some(&offset) {
                        log.conflicts.push((log.offsets.len() as u32 - 1, message));
                    } else {
                        log.offsets.push(offset);
                        log.order.push(message);
                    }
                }
            }
        }
        log
    }
}

/// The version order of one key.
#[derive(Debug, Default)]
pub struct Log {
    /// Offset by index.
    pub offsets: Vec<i64>,
    /// Message by index.
    pub order: Vec<u32>,
    /// Further messages by index, sorted.
    pub conflicts: Vec<(u32, u32)>,
}

impl Log {
    /// The index of an offset at which something was seen.
    #[must_use]
    pub fn index_of(&self, offset: i64) -> Option<u32> {
        // Without gaps before it, an offset is its own index.
        let first = *self.offsets.first()?;
        let near = usize::try_from(offset.checked_sub(first)?).ok()?;
        if self.offsets.get(near) == Some(&offset) {
            return Some(near as u32);
        }
        self.offsets
            .binary_search(&offset)
            .ok()
            .map(|index| index as u32)
    }

    /// Every (index, message), the conflicting ones last.
    pub fn entries(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let order = self.order.iter().enumerate();
        order
            .map(|(index, &message)| (index as u32, message))
            .chain(self.conflicts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn build(entries: &[(i64, u32)]) -> Log {
        let mut span = Span::default();
        entries
            .iter()
            .for_each(|&(offset, _)| span.add(Some(offset)));
        let mut builder = LogBuilder::new(&span);
        entries
            .iter()
            .for_each(|&(offset, message)| builder.add(offset, message));
        builder.finish()
    }

    #[test]
    fn gaps_close_and_conflicts_are_kept() {
        let log = build(&[(7, 0), (3, 1), (9, 2), (7, 3), (7, 0)]);
        assert_eq!(
            (&log.offsets[..], &log.order[..]),
            (&[3, 7, 9][..], &[1, 0, 2][..])
        );
        assert_eq!(log.conflicts, [(1, 3)]);
        assert_eq!((log.index_of(7), log.index_of(8)), (Some(1), None));
    }

    #[test]
    fn huge_offsets_need_no_huge_table() {
        let log = build(&[(0, 0), (i64::MAX, 1), (5, 2), (5, 4)]);
        assert_eq!(log.offsets, [0, 5, i64::MAX]);
        assert_eq!(log.conflicts, [(1, 4)]);
    }

    proptest! {
        #[test]
        fn table_and_list_agree(entries in proptest::collection::vec((0i64..50, 0u32..6), 1..60)) {
            let table = build(&entries);
            let mut spread: Vec<_> = entries.iter().map(|&(o, m)| (o << 40, m)).collect();
            spread.push((i64::MAX, 99));
            let list = build(&spread);
            let pairs = |log: &Log, shift: u32| {
                let mut pairs: Vec<_> = log
                    .entries()
                    .filter(|&(_, message)| message != 99)
                    .map(|(index, message)| (log.offsets[index as usize] >> shift, message))
                    .collect();
                pairs.sort_unstable();
                pairs
            };
            prop_assert_eq!(pairs(&table, 0), pairs(&list, 40));
        }
    }
}
