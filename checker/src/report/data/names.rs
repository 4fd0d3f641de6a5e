//! Short names of keys, for rows and legends.

use crate::history::{KeyId, Keys};
use crate::report::text::clip;

/// Keys, and how pictures call them.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    /// The keys.
    pub keys: &'a Keys,
    short: Vec<String>,
}

impl<'a> Names<'a> {
    /// Finds short names.
    #[must_use]
    pub fn new(keys: &'a Keys) -> Names<'a> {
        Names {
            keys,
            short: short(keys),
        }
    }

    /// The name in rows and legends.
    #[must_use]
    pub fn short(&self, key: KeyId) -> &str {
        &self.short[key.at()]
    }

    /// The name as the history writes it.
    #[must_use]
    pub fn full(&self, key: KeyId) -> &str {
        self.keys.name(key)
    }

    /// Keys in the order of people.
    #[must_use]
    pub fn sorted(&self, mut keys: Vec<KeyId>) -> Vec<KeyId> {
        keys.sort_by_cached_key(|key| order(self.keys, *key));
        keys
    }
}

/// Names by key (dense): `p3` where all keys are partitions of one topic, else the full name.
fn short(keys: &Keys) -> Vec<String> {
    let partition = |key: KeyId| {
        let (topic, partition) = keys.name(key).rsplit_once('-')?;
        let number: u32 = partition.parse().ok()?;
        Some((topic, number))
    };
    let all: Option<Vec<(&str, u32)>> = keys.iter().map(partition).collect();
    match all {
        Some(all) if all.windows(2).all(|pair| pair[0].0 == pair[1].0) => all
            .into_iter()
            .map(|(_, number)| format!("p{number}"))
            .collect(),
        _ => keys.iter().map(|key| clip(keys.name(key), 100)).collect(),
    }
}

/// The topic, where all keys are partitions of one.
#[must_use]
pub fn topic(keys: &Keys) -> Option<&str> {
    let first = keys.iter().next()?;
    let (topic, _) = keys.name(first).rsplit_once('-')?;
    let same = |key: KeyId| {
        let split = keys.name(key).rsplit_once('-');
        split.is_some_and(|(other, number)| other == topic && number.parse::<u32>().is_ok())
    };
    keys.iter().all(same).then_some(topic)
}

/// Keys in the order of people: by topic, then by partition as a number.
fn order(keys: &Keys, key: KeyId) -> (String, u64, String) {
    let name = keys.name(key);
    match name.rsplit_once('-') {
        Some((topic, partition)) => match partition.parse() {
            Ok(number) => (topic.to_owned(), number, String::new()),
            Err(_) => (name.to_owned(), 0, String::new()),
        },
        None => (name.to_owned(), name.parse().unwrap_or(0), name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_topic_needs_no_name_and_partitions_are_numbers() {
        let mut keys = Keys::default();
        let ten = keys.intern("batch-eb8e19.0-10");
        let nine = keys.intern("batch-eb8e19.0-9");
        assert_eq!(short(&keys), ["p10", "p9"]);
        assert_eq!(topic(&keys), Some("batch-eb8e19.0"));
        assert!(order(&keys, nine) < order(&keys, ten));
        keys.intern("other-1");
        assert_eq!(short(&keys)[0], "batch-eb8e19.0-10");
        assert_eq!(topic(&keys), None);
    }
}
