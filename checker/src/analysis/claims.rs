//! Which messages are already accounted for: a message whose loss is proven is not `unseen` too.

use rustc_hash::FxHashSet;

use crate::history::KeyId;

/// Messages named by an analysis, as (key, number).
#[derive(Debug, Default)]
pub struct Claims(FxHashSet<(KeyId, u32)>);

impl Claims {
    /// The message's loss is proven.
    pub fn add(&mut self, key: KeyId, number: u32) {
        self.0.insert((key, number));
    }

    /// Whether its loss is proven.
    #[must_use]
    pub fn holds(&self, key: KeyId, number: u32) -> bool {
        self.0.contains(&(key, number))
    }

    /// How many messages are lost for certain.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
