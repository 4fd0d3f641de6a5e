//! Keys (one key is one partition) as dense numbers, so that every table by key is a vector.

use rustc_hash::FxHashMap;

/// A key's number within its history: dense, in order of first appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl KeyId {
    /// For indexing tables by key.
    #[must_use]
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// Names of keys. Key `7` and key `"7"` are one key (history.md).
#[derive(Clone, Debug, Default)]
pub struct Keys {
    names: Vec<String>,
    ids: FxHashMap<String, KeyId>,
}

impl Keys {
    /// The key's number, given out at first sight.
    pub fn intern(&mut self, name: &str) -> KeyId {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = KeyId(u32::try_from(self.names.len()).expect("fewer than 2^32 keys"));
        self.names.push(name.to_owned());
        self.ids.insert(name.to_owned(), id);
        id
    }

    /// The key of that name, if the history mentions it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<KeyId> {
        self.ids.get(name).copied()
    }

    /// The key's name as the history writes it.
    #[must_use]
    pub fn name(&self, key: KeyId) -> &str {
        &self.names[key.at()]
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether the history mentions no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Every key, in order of first appearance.
    pub fn iter(&self) -> impl Iterator<Item = KeyId> + use<> {
        (0..self.names.len() as u32).map(KeyId)
    }
}
