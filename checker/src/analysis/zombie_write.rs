//! `zombie-write`: a message of a fenced producer is visible.
//!
//! Once a higher epoch of a producer id has been granted, brokers refuse what is sent with a lower
//! one (KIP-98). That it had been granted is proven by an operation that was *invoked* with it; a
//! message of a lower epoch that was sent by an operation invoked after that, and which an ok poll
//! returned, was let through.

use rustc_hash::FxHashMap;

use super::facts::{Facts, NONE};
use super::findings::{About, Details, Findings};
use super::kind::Kind;
use crate::history::{Function, History, Op, OpId, RunKind};

/// Moments at which epochs of one producer id were first in use: (moment, epoch, by whom).
type Grants = Vec<(u32, i64, OpId)>;

/// Finds messages of fenced producers.
pub(super) fn find(facts: &Facts, findings: &mut Findings) {
    let grants = grants(facts.history);
    if grants.is_empty() {
        return;
    }
    for (id, op) in facts.data_ops() {
        let Some((producer, epoch)) = producer(facts.history, op) else {
            continue;
        };
        let of_id = &grants[&producer];
        let before = of_id.partition_point(|&(moment, ..)| moment < op.invoked.seq);
        let Some(&(_, granted, by)) = of_id[..before].last().filter(|&&(_, e, _)| e > epoch) else {
            continue;
        };
        for run in facts
            .history
            .runs(op)
            .iter()
            .filter(|run| run.kind == RunKind::Send)
        {
            for (record, number) in facts.messages_of(run).filter(|&(_, n)| n != NONE) {
                let message = &facts.key(run.key).messages[number as usize];
                if !message.read_ok() || message.sends > 1 {
                    continue;
                }
                let about = About::from(run.key).transactional(op.function == Function::Txn);
                findings.add(Kind::ZombieWrite, about, || {
                    Details::new(facts.history)
                        .key(run.key)
                        .value(message.value)
                        .json("offset", record.offset())
                        .json("producer", producer)
                        .json("epoch", epoch)
                        .json("granted", granted)
                        .op("writer", Some(id))
                        .op("op", Some(by))
                        .op("reader", message.first_reader())
                        .finish()
                });
            }
        }
    }
}

fn producer(history: &History, op: &Op) -> Option<(i64, i64)> {
    history.detail(op)?.producer
}

/// By producer id: each epoch that is higher than all before it, in the order of invocations.
fn grants(history: &History) -> FxHashMap<i64, Grants> {
    let mut seen: FxHashMap<i64, Grants> = FxHashMap::default();
    for (id, op) in history.iter() {
        if let Some((producer, epoch)) = producer(history, op) {
            seen.entry(producer)
                .or_default()
                .push((op.invoked.seq, epoch, id));
        }
    }
    for grants in seen.values_mut() {
        grants.sort_unstable_by_key(|&(moment, ..)| moment);
        let mut highest = i64::MIN;
        grants.retain(|&(_, epoch, _)| {
            let higher = epoch > highest;
            highest = highest.max(epoch);
            higher
        });
    }
    seen
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    fn sent(process: i64, epoch: i64, value: i64) -> String {
        format!(
            r#"{{"process":{process},"type":"invoke","f":"send","producer":[7,{epoch}],"value":[["send","x",{value}]]}}
            {{"process":{process},"type":"ok","f":"send","producer":[7,{epoch}],"value":[["send","x",[{value},{value}]]]}}"#
        )
    }

    #[test]
    fn the_old_epoch_still_writes() {
        let (old, new) = (sent(0, 3, 1), sent(1, 4, 0));
        let findings = own(&format!("{new}\n{old}\n2 ok poll x:0@0,1@1"));
        let found = &findings.get(Kind::ZombieWrite).expect("found").listed[0].details;
        assert_eq!((&found["value"], &found["granted"]), (&json!(1), &json!(4)));
    }

    #[test]
    fn sent_before_the_higher_epoch_or_never_seen() {
        let findings = own(&format!(
            "{}\n{}\n{}\n2 ok poll x:0@0,1@1",
            sent(0, 3, 0),
            sent(1, 4, 1),
            sent(0, 3, 2)
                .replace("[2,2]", "[null,2]")
                .replace("\"ok\"", "\"fail\"")
        ));
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
