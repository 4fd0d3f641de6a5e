//! `torn-transaction`: some, but not all, of a transaction's messages are there.
//!
//! A transaction whose message was read has committed, and a committed transaction's messages are
//! all visible. Torn is one of which a message was read while another one was returned by nobody,
//! although a complete pass at read_committed, begun after the transaction was known to have
//! committed, went over its place: its offset, or where that is not known the whole log, up to
//! every watermark that was ever answered (a marker that is not yet written holds the pass back
//! below them). Messages that were read before and are missing now are `vanished`.
//! them). Messages that were read before and are missing now are `vanished`.

use super::facts::{Facts, NONE};
use super::findings::{About, Details, Findings};
use super::kind::Kind;
use super::passes::Passes;
use super::vanished::{in_range, over_everything};
use super::watermarks::Watermarks;
use crate::history::{Function, KeyId, Op, OpId, Outcome, RunKind};

/// One message of a transaction.
#[derive(Clone, Copy)]
struct Sent {
    key: KeyId,
    number: u32,
    offset: Option<i64>,
}

/// Finds torn transactions.
pub(super) fn find(
    facts: &Facts,
    passes: &Passes,
    watermarks: &Watermarks,
    findings: &mut Findings,
) {
    if facts.history.drains.is_empty() || facts.history.reads_uncommitted() {
        return;
    }
    let read_at = first_reads(facts);
    for (id, op) in facts.data_ops() {
        if op.function != Function::Txn || op.outcome == Outcome::Fail {
            continue;
        }
        let sent = sent(facts, op);
        let read = |sent: &&Sent| read_at[sent.key.at()][sent.number as usize] != NONE;
        let visible: Vec<Sent> = sent.iter().filter(read).copied().collect();
        let first_read = visible
            .iter()
            .map(|sent| read_at[sent.key.at()][sent.number as usize])
            .min();
        let Some(first_read) = first_read.filter(|_| visible.len() < sent.len()) else {
            continue;
        };
        let committed = match op.outcome {
            Outcome::Ok => op.completed.seq.min(first_read),
            _ => first_read,
        };
        let missing = sent
            .iter()
            .filter(|sent| !facts.key(sent.key).messages[sent.number as usize].read());
        let missing: Vec<(Sent, OpId)> = missing
            .filter_map(|&sent| Some((sent, missed_by(passes, watermarks, &sent, committed)?)))
            .collect();
        if !missing.is_empty() {
            report(facts, findings, id, &visible, &missing);
        }
    }
}

/// By key and message: when an ok poll first returned it.
fn first_reads(facts: &Facts) -> Vec<Vec<u32>> {
    let mut first: Vec<Vec<u32>> = facts
        .keys
        .iter()
        .map(|key| vec![NONE; key.messages.len()])
        .collect();
    for (_, op) in facts.data_ops().filter(|(_, op)| op.outcome == Outcome::Ok) {
        let runs = facts.history.runs(op).iter();
        for run in runs.filter(|run| run.kind == RunKind::Poll) {
            for (_, number) in facts.messages_of(run).filter(|&(_, n)| n != NONE) {
                let slot = &mut first[run.key.at()][number as usize];
                *slot = (*slot).min(op.completed.seq);
            }
        }
    }
    first
}

/// The messages that only this operation sent.
fn sent(facts: &Facts, op: &Op) -> Vec<Sent> {
    let runs = facts.history.runs(op).iter();
    let sends = runs.filter(|run| run.kind == RunKind::Send);
    let messages = sends.flat_map(|run| {
        let messages = facts.messages_of(run).filter(|&(_, n)| n != NONE);
        messages.map(move |(record, number)| Sent {
            key: run.key,
            number,
            offset: record.offset().filter(|&offset| offset >= 0),
        })
    });
    messages
        .filter(|sent| facts.key(sent.key).messages[sent.number as usize].sends == 1)
        .collect()
}

/// The first pass that went over the message's place and did not return it.
fn missed_by(
    passes: &Passes,
    watermarks: &Watermarks,
    sent: &Sent,
    committed: u32,
) -> Option<OpId> {
    let answers = watermarks.of(sent.key);
    let missed = passes.of(sent.key).iter().find(|pass| {
        pass.invoked > committed
            && !pass.returned(sent.number)
            && match sent.offset {
                Some(offset) => in_range(pass, offset, answers),
                None => over_everything(pass, committed, answers),
            }
    });
    missed.map(|pass| pass.drain.op)
}

fn report(
    facts: &Facts,
    findings: &mut Findings,
    id: OpId,
    visible: &[Sent],
    missing: &[(Sent, OpId)],
) {
    let (first, pass) = missing[0];
    let about = About::from(first.key).transactional(true);
    findings.add(Kind::TornTransaction, about, || {
        let history = facts.history;
        let shown = |sent: &Sent| {
            let value = facts.key(sent.key).messages[sent.number as usize].value;
            serde_json::json!([history.keys().name(sent.key), history.values().json(value)])
        };
        let visible: Vec<_> = visible.iter().map(shown).collect();
        let lost: Vec<_> = missing.iter().map(|(sent, _)| shown(sent)).collect();
        let reader = facts.key(first.key).messages.get(first.number as usize);
        let value = reader.map(|message| message.value);
        let mut details = Details::new(history).key(first.key);
        if let Some(value) = value {
            details = details.value(value);
        }
        details
            .json("offset", first.offset)
            .json("visible", visible)
            .json("missing", lost)
            .op("writer", Some(id))
            .op("op", Some(pass))
            .finish()
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::testing::{names, own};

    #[test]
    fn one_half_is_there_and_the_other_is_nowhere() {
        // Known by its offset; and known by nothing, of a transaction whose end nobody learned.
        for (txn, more) in [
            ("0 ok txn x=1@0 y=1@3", ""),
            ("0 info txn x=1 y=1", "sample y hw=2 epoch=0 asked=1"),
        ] {
            let to = if more.is_empty() { "2..9" } else { "0..2" };
            let findings = own(&format!(
                "
                {txn}
                5 ok send y=7@0
                1 ok poll x:1@0
                {more}
                2> drain
                2 ok poll y:7@0
                2< ok drain y={to}
            "
            ));
            let found = findings.get(Kind::TornTransaction);
            let found = &found
                .unwrap_or_else(|| panic!("{txn}: {:?}", names(&findings)))
                .listed[0];
            assert_eq!(found.details["visible"], json!([["x", 1]]));
            assert_eq!(found.details["missing"], json!([["y", 1]]));
            assert_eq!(found.details["writer"], json!(1));
        }
    }

    #[test]
    fn what_may_still_come_is_not_missing() {
        let findings = own("
            0 info txn x=1 y=1
            1 ok poll x:1@0
            2> drain
            2 ok poll y:
            2< ok drain y=0..0
            sample y hw=2 epoch=0 asked=1
            3 fail txn z=1 w=1
        ");
        assert!(names(&findings).is_empty(), "{:?}", names(&findings));
    }
}
