//! `non-unique-write`: the workload sent one value to one key twice.
//!
//! Every analysis tells messages apart by their value, so such a history proves nothing about the
//! values concerned: the verdict is `unknown`, unless the rest of the history holds an anomaly.

use super::facts::Facts;
use super::findings::{Details, Findings};
use super::kind::Kind;

/// Finds values that were sent more than once.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    for key in &facts.keys {
        for message in key.messages.iter().filter(|message| message.sends > 1) {
            findings.add(Kind::NonUniqueWrite, key.key, || {
                Details::new(facts.history)
                    .key(key.key)
                    .value(message.value)
                    .json("count", message.sends)
                    .op("writer", message.writer())
                    .finish()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn sent_twice() {
        let findings = own("
            0 fail send x=1
            0 ok send x=1@0
            1 ok poll x:1@0
        ");
        assert_eq!(findings.total(Kind::NonUniqueWrite), 1);
    }

    #[test]
    fn one_value_may_go_to_two_keys() {
        let findings = own("
            0 ok send x=1@0 y=1@0
            1 ok poll x:1@0 y:1@0
        ");
        assert!(names(&findings).is_empty());
    }
}
