//! Where a missing message is, by what replicas, brokers and other readers say.

use std::collections::BTreeSet;

use super::{Evidence, Piece, Subject};
use crate::analysis::Kind;
use crate::analysis::facts::Facts;
use crate::history::{Audit, AuditRecord};
use crate::verdict::Whereabouts;

/// What each audited replica holds at the message's offset.
pub(super) fn audited(facts: &Facts, subject: &Subject) -> Vec<(u32, Piece)> {
    let history = facts.history;
    let audits = history
        .audits
        .iter()
        .filter(|audit| audit.key == subject.key);
    let pieces = audits.map(|audit| {
        let op = history.op(audit.op);
        let held = held(facts, audit, subject);
        let piece = Piece {
            time: op.completed.time,
            op: Some(op.index),
            actor: format!("broker {}", audit.broker),
            kind: "audit".to_owned(),
            present: Some(matches!(held, Held::It(_))),
            says: match held {
                Held::It(record) => {
                    format!(
                        "holds it at offset {} (epoch {})",
                        record.offset, record.epoch
                    )
                }
                Held::Another(record) => format!(
                    "holds message {} at its offset (epoch {})",
                    history.values().json(record.value),
                    record.epoch
                ),
                Held::Nothing => match audit.records.last() {
                    Some(last) => format!("does not hold it; its log ends at {}", last.offset + 1),
                    None => "does not hold it; its log is empty".to_owned(),
                },
            },
        };
        (op.completed.seq, piece)
    });
    pieces.collect()
}

enum Held<'a> {
    It(&'a AuditRecord),
    Another(&'a AuditRecord),
    Nothing,
}

fn held<'a>(facts: &Facts, audit: &'a Audit, subject: &Subject) -> Held<'a> {
    let value = facts.key(subject.key).messages[subject.number as usize].value;
    let at_offset = subject.offset.and_then(|offset| {
        let at = audit
            .records
            .binary_search_by_key(&offset, |record| record.offset)
            .ok()?;
        Some(&audit.records[at])
    });
    if let Some(record) = at_offset.filter(|record| record.value == value) {
        return Held::It(record);
    }
    match (
        audit.records.iter().find(|record| record.value == value),
        at_offset,
    ) {
        (Some(record), _) => Held::It(record),
        (None, Some(other)) => Held::Another(other),
        (None, None) => Held::Nothing,
    }
}

/// The conclusion from all evidence.
pub(super) fn whereabouts(
    facts: &Facts,
    evidence: &Evidence,
    subject: &Subject,
    pieces: &[Piece],
) -> Whereabouts {
    let audits = facts
        .history
        .audits
        .iter()
        .filter(|audit| audit.key == subject.key);
    let (mut brokers, mut replaced) = (BTreeSet::new(), false);
    for audit in audits {
        match held(facts, audit, subject) {
            Held::It(_) => return Whereabouts::ServedElsewhere,
            Held::Another(_) => replaced = true,
            Held::Nothing => {}
        }
        brokers.insert(audit.broker);
    }
    // A later reader got it: it was there, and the one who missed it was served badly.
    let first_absent = pieces.iter().position(|piece| piece.present == Some(false));
    let found_again = first_absent.is_some_and(|at| {
        let later = pieces[at..]
            .iter()
            .filter(|piece| matches!(&*piece.kind, "fetch" | "drain"));
        later.into_iter().any(|piece| piece.present == Some(true))
    });
    if found_again {
        return Whereabouts::ServedElsewhere;
    }
    if replaced || offset_taken(facts, subject) {
        return Whereabouts::Replaced;
    }
    if brokers.len() >= replicas(facts, evidence) {
        return Whereabouts::OnNoReplica;
    }
    let answers = evidence.watermarks.of(subject.key);
    let beyond = subject.offset.zip(answers.highest_watermark);
    if subject.kind == Some(Kind::Unseen) && beyond.is_some_and(|(offset, end)| offset >= end) {
        return Whereabouts::NotYetVisible;
    }
    Whereabouts::Unknown
}

/// Another message was seen at the same offset.
fn offset_taken(facts: &Facts, subject: &Subject) -> bool {
    let log = &facts.key(subject.key).log;
    let index = subject.offset.and_then(|offset| log.index_of(offset));
    index.is_some_and(|index| {
        log.order[index as usize] != subject.number
            || log.conflicts.iter().any(|&(at, _)| at == index)
    })
}

/// How many replicas a partition has: by the run's settings, or as many brokers as ever answered.
fn replicas(facts: &Facts, evidence: &Evidence) -> usize {
    let configured = facts
        .history
        .config
        .get("replication-factor")
        .and_then(|rf| rf.as_u64());
    let answered = || {
        let answers = evidence.watermarks.iter().flat_map(|(_, key)| &key.answers);
        let brokers: BTreeSet<_> = answers.filter_map(|answer| answer.sample.asked).collect();
        brokers.len().max(1)
    };
    configured.map_or_else(answered, |rf| usize::try_from(rf).unwrap_or(usize::MAX))
}

/// In words.
pub(super) fn says(whereabouts: Whereabouts) -> &'static str {
    match whereabouts {
        Whereabouts::NotYetVisible => "it is not yet visible: no broker's watermark covers it",
        Whereabouts::ServedElsewhere => {
            "it exists: a broker holds it, or another reader was given it"
        }
        Whereabouts::OnNoReplica => "no replica holds it any more",
        Whereabouts::Replaced => "another message stands in its place",
        Whereabouts::Unknown => "where it went, the history does not say",
    }
}
