//! When a consumer's position may have moved: rebalances, and what else disturbs it.
//!
//! Where a client records its rebalances, a subscription excuses a skip or a step back only across
//! one of them. A client is known to record them for a key once an operation of its process has
//! named the key in its rebalance log: being given a key is a rebalance too.

use rustc_hash::FxHashMap;

use super::facts::Facts;
use super::steps::Step;
use crate::history::{Function, KeyId, Outcome, ProcessId};

/// What moved positions, by process and in order of completion.
#[derive(Debug, Default)]
pub(super) struct Rebalances {
    logged: FxHashMap<(ProcessId, KeyId), Vec<u32>>,
    disturbed: FxHashMap<ProcessId, Vec<u32>>,
}

impl Rebalances {
    /// Collects them; costs nothing where no rebalance was recorded.
    pub fn collect(facts: &Facts) -> Rebalances {
        let mut all = Rebalances::default();
        if facts
            .history
            .details
            .iter()
            .all(|detail| detail.rebalanced.is_empty())
        {
            return all;
        }
        for (_, op) in facts.history.iter() {
            let detail = facts.history.detail(op);
            for &key in detail.into_iter().flat_map(|detail| &detail.rebalanced) {
                all.logged
                    .entry((op.process, key))
                    .or_default()
                    .push(op.completed.seq);
            }
            let reattached = matches!(op.function, Function::Assign | Function::Subscribe);
            // A poll or transaction that did not end ok may rewind its consumer, or not.
            let undone = op.function.is_data() && op.outcome != Outcome::Ok;
            if reattached || undone || op.function == Function::Crash {
                all.disturbed
                    .entry(op.process)
                    .or_default()
                    .push(op.completed.seq);
            }
        }
        all
    }

    /// Whether nothing can have moved the consumer between two polls: its rebalances are recorded,
    /// and none lies between.
    pub fn contiguous(&self, facts: &Facts, step: &Step) -> bool {
        let (from, to) = (facts.history.op(step.from_op), facts.history.op(step.to_op));
        let within = |seq: &u32| (from.completed.seq + 1..=to.completed.seq).contains(seq);
        let Some(logged) = self.logged.get(&(from.process, step.key)) else {
            return false;
        };
        let disturbed = self.disturbed.get(&from.process);
        logged[0] <= from.completed.seq
            && !logged.iter().any(within)
            && !disturbed.is_some_and(|moments| moments.iter().any(within))
    }
}

#[cfg(test)]
mod tests {
    use crate::history::read::read_from;
    use crate::{Options, check};

    fn verdict(second: &str, third: &str) -> String {
        let poll = |log: &str, from: i64| {
            format!(
                r#"{{"process":1,"type":"ok","f":"poll","value":[["poll",{{"x":[[{from},{from}]]}}]]{log}}}"#
            )
        };
        let log = r#","rebalance-log":[{"keys":["x"]}]"#;
        let text = format!(
            r#"{{"process":0,"type":"ok","f":"send","value":[["send","x",[0,0]],["send","x",[1,1]],["send","x",[2,2]]]}}
            {{"process":1,"type":"ok","f":"subscribe","value":["x"]}}
            {}
            {third}
            {}
            {{"process":2,"type":"ok","f":"poll","value":[["poll",{{"x":[[0,0],[1,1],[2,2]]}}]]}}"#,
            poll(log, 0),
            poll(second, 2),
        );
        let history = read_from(std::io::Cursor::new(text), "test").expect("a history");
        let verdict = check(&history, &Options::default()).expect("a verdict");
        verdict.verdict.word().to_owned()
    }

    #[test]
    fn a_skip_without_a_rebalance_is_forbidden_under_subscribe_too() {
        assert_eq!(verdict("", ""), "invalid");
    }

    #[test]
    fn a_rebalance_or_a_rewind_excuses_it() {
        assert_eq!(verdict(r#","rebalance-log":[{"keys":["x"]}]"#, ""), "valid");
        let undone = r#"{"process":1,"type":"fail","f":"poll","value":[["poll",{"x":[[1,1]]}]]}"#;
        assert_eq!(verdict("", undone), "valid");
    }
}
