//! The story of a missing message: all that the history knows of it, in order of time.
//!
//! Sent, acknowledged, which watermarks covered it, which fetches returned it and which passed it
//! by, which complete passes missed it, and what each replica holds at its offset. Each piece of
//! evidence says whether it proves the message present or absent, so that the last proof of its
//! being there and the first of its being gone stand side by side.

mod fetches;
mod whereabouts;

use super::faults::{Fault, faults};
use super::{Evidence as Piece, Story, Whereabouts};
use crate::analysis::facts::{Facts, Message, NONE};
use crate::analysis::{Evidence, Findings, Kind};
use crate::history::{KeyId, Op, Process, Value};

use fetches::Fetches;

/// Types whose messages have a story, the gravest first.
pub(crate) const TOLD: [Kind; 3] = [Kind::LostWrite, Kind::LostTail, Kind::Vanished];

/// Evidence of one sort is cut after this many.
const PIECES_MAX: usize = 4;

/// The same, where one message's whole story is asked for.
const TRACE_PIECES_MAX: usize = 1000;

/// A message to tell of.
#[derive(Clone, Copy, Debug)]
struct Subject {
    kind: Option<Kind>,
    key: KeyId,
    number: u32,
    offset: Option<i64>,
}

/// Tells at most `limit` stories, one for each message.
#[must_use]
pub(super) fn tell(
    facts: &Facts,
    findings: &Findings,
    evidence: &Evidence,
    faults: &[Fault],
    limit: usize,
) -> Vec<Story> {
    let subjects = subjects(facts, findings, evidence, limit);
    let fetches = Fetches::of(facts, &subjects, PIECES_MAX);
    let teller = Teller {
        facts,
        evidence,
        faults,
        pieces_max: PIECES_MAX,
    };
    subjects
        .iter()
        .enumerate()
        .map(|(at, subject)| teller.story(subject, fetches.pieces(facts.history, at)))
        .collect()
}

/// Tells the whole story of one message, whatever became of it.
#[must_use]
pub(crate) fn trace(
    facts: &Facts,
    evidence: &Evidence,
    kind: Option<Kind>,
    key: KeyId,
    number: u32,
) -> Story {
    let faults = faults(facts.history, &evidence.watermarks);
    let subject = subject(facts, kind, key, number);
    let fetches = Fetches::of(facts, &[subject], TRACE_PIECES_MAX);
    let teller = Teller {
        facts,
        evidence,
        faults: &faults,
        pieces_max: TRACE_PIECES_MAX,
    };
    teller.story(&subject, fetches.pieces(facts.history, 0))
}

fn subject(facts: &Facts, kind: Option<Kind>, key: KeyId, number: u32) -> Subject {
    let of_key = facts.key(key);
    let first = of_key.first(&of_key.messages[number as usize]);
    Subject {
        kind,
        key,
        number,
        offset: (first != NONE).then(|| of_key.log.offsets[first as usize]),
    }
}

fn subjects(facts: &Facts, findings: &Findings, evidence: &Evidence, limit: usize) -> Vec<Subject> {
    let mut subjects: Vec<Subject> = Vec::new();
    let add = |subjects: &mut Vec<Subject>, kind: Kind, key: KeyId, number: u32| {
        let known = subjects
            .iter()
            .any(|s: &Subject| (s.key, s.number) == (key, number));
        if !known && subjects.len() < limit {
            subjects.push(subject(facts, Some(kind), key, number));
        }
    };
    for kind in TOLD {
        for finding in findings
            .get(kind)
            .into_iter()
            .flat_map(|found| &found.listed)
        {
            let number = |(key, value): (KeyId, Value)| {
                facts.key(key).find(value).map(|number| (key, number))
            };
            if let Some((key, number)) = finding.key.zip(finding.value).and_then(number) {
                add(&mut subjects, kind, key, number);
            }
        }
    }
    if findings.total(Kind::Unseen) > 0 {
        for key in &facts.keys {
            for (number, message) in key.messages.iter().enumerate() {
                let unseen = message.acknowledged() && !message.read();
                if unseen && !evidence.claims.holds(key.key, number as u32) {
                    add(&mut subjects, Kind::Unseen, key.key, number as u32);
                }
            }
        }
    }
    subjects
}

struct Teller<'a, 'h> {
    facts: &'a Facts<'h>,
    evidence: &'a Evidence,
    faults: &'a [Fault],
    pieces_max: usize,
}

impl Teller<'_, '_> {
    fn story(&self, subject: &Subject, fetched: Vec<(u32, Piece)>) -> Story {
        let history = self.facts.history;
        let message = &self.facts.key(subject.key).messages[subject.number as usize];
        let mut pieces = self.sent(subject, message);
        let known_from = message
            .writer()
            .map_or(0, |op| history.op(op).completed.seq);
        pieces.extend(self.watermarks(subject, known_from));
        pieces.extend(fetched);
        pieces.extend(self.passes(subject));
        pieces.extend(whereabouts::audited(self.facts, subject));
        pieces.extend(self.faults_met(message));
        pieces.sort_by_key(|&(seq, _)| seq);
        let evidence: Vec<Piece> = pieces.into_iter().map(|(_, piece)| piece).collect();
        let whereabouts = whereabouts::whereabouts(self.facts, self.evidence, subject, &evidence);
        Story {
            anomaly: subject
                .kind
                .map_or_else(String::new, |kind| kind.name().to_owned()),
            key: history.keys().name(subject.key).to_owned(),
            value: history.values().json(message.value),
            offset: subject.offset,
            whereabouts,
            sentence: self.sentence(subject, message, whereabouts, &evidence),
            faults: self.faults_of(message).map(Fault::name).collect(),
            evidence,
        }
    }

    fn sent(&self, subject: &Subject, message: &Message) -> Vec<(u32, Piece)> {
        let Some(id) = message.writer() else {
            return Vec::new();
        };
        let op = self.facts.history.op(id);
        let actor = self.actor(op);
        let key = self.facts.history.keys().name(subject.key);
        let mut pieces = vec![(
            op.invoked.seq,
            Piece {
                time: op.invoked.time,
                op: Some(op.index),
                actor: actor.clone(),
                kind: "sent".to_owned(),
                present: None,
                says: format!("sent to {key}"),
            },
        )];
        let says = match (message.acknowledged(), subject.offset) {
            (true, Some(offset)) => format!("was told that it is stored at offset {offset}"),
            (true, None) => "was told that it is stored, but not where".to_owned(),
            (false, _) => "was never told what became of it".to_owned(),
        };
        pieces.push((
            op.completed.seq,
            Piece {
                time: op.completed.time,
                op: Some(op.index),
                actor,
                kind: "acknowledged".to_owned(),
                present: message.acknowledged().then_some(true),
                says,
            },
        ));
        pieces
    }

    /// The last watermark before the acknowledgement, the first that covers the message, and the
    /// first few later ones that do not.
    fn watermarks(&self, subject: &Subject, known_from: u32) -> Vec<(u32, Piece)> {
        let Some(offset) = subject.offset else {
            return Vec::new();
        };
        let answers = &self.evidence.watermarks.of(subject.key).answers;
        let mut told: Vec<usize> = Vec::new();
        let covers = |at: usize| {
            answers[at]
                .sample
                .high_watermark
                .is_some_and(|hw| hw > offset)
        };
        let all = || 0..answers.len();
        told.extend(all().rfind(|&at| answers[at].completed < known_from));
        told.extend(all().find(|&at| covers(at)));
        told.extend(
            all()
                .filter(|&at| answers[at].invoked > known_from && !covers(at))
                .take(self.pieces_max),
        );
        told.extend(all().next_back());
        told.sort_unstable();
        told.dedup();
        let pieces = told.into_iter().filter_map(|at| {
            let answer = &answers[at];
            let watermark = answer.sample.high_watermark?;
            let op = self.facts.history.op(answer.sample.op);
            let broker = answer.sample.asked.or(answer.sample.leader);
            let epoch = answer
                .sample
                .epoch
                .map_or(String::new(), |e| format!(" in epoch {e}"));
            let settled = answer.invoked > known_from;
            let covers = covers(at);
            let piece = Piece {
                time: op.completed.time,
                op: Some(op.index),
                actor: broker.map_or("a broker".to_owned(), |broker| format!("broker {broker}")),
                kind: "watermark".to_owned(),
                present: (covers || settled).then_some(covers),
                says: format!(
                    "says{epoch} that the log is readable up to {watermark}{}",
                    if covers {
                        ""
                    } else {
                        ", which does not cover it"
                    }
                ),
            };
            Some((op.completed.seq, piece))
        });
        pieces.collect()
    }

    fn passes(&self, subject: &Subject) -> Vec<(u32, Piece)> {
        let passes = self.evidence.passes.of(subject.key).iter();
        let covering = passes.filter(|pass| {
            subject
                .offset
                .is_none_or(|o| (pass.drain.from..pass.drain.to).contains(&o))
        });
        let pieces = covering.map(|pass| {
            let op = self.facts.history.op(pass.drain.op);
            let returned = pass.returned(subject.number);
            let piece = Piece {
                time: op.completed.time,
                op: Some(op.index),
                actor: self.actor(op),
                kind: "drain".to_owned(),
                present: Some(returned),
                says: format!(
                    "read everything from {} to {} and {}",
                    pass.drain.from,
                    pass.drain.to,
                    if returned {
                        "found it"
                    } else {
                        "did not find it"
                    }
                ),
            };
            (op.completed.seq, piece)
        });
        pieces.collect()
    }

    fn faults_of(&self, message: &Message) -> impl Iterator<Item = &Fault> {
        let op = message.writer().map(|id| self.facts.history.op(id));
        self.faults
            .iter()
            .filter(move |fault| op.is_some_and(|op| fault.touches(op)))
    }

    fn faults_met(&self, message: &Message) -> Vec<(u32, Piece)> {
        let mut pieces = Vec::new();
        for fault in self.faults_of(message) {
            let mut add = |seq: Option<u32>, time: Option<i64>, says: &str| {
                if let (Some(seq), Some(time)) = (seq, time) {
                    let piece = Piece {
                        time,
                        op: None,
                        actor: "nemesis".to_owned(),
                        kind: "fault".to_owned(),
                        present: None,
                        says: format!("{} {says}", fault.name()),
                    };
                    pieces.push((seq, piece));
                }
            };
            add(fault.effective, fault.window.effective, "took effect");
            add(fault.verified, fault.window.verified, "was healed");
        }
        pieces
    }

    fn actor(&self, op: &Op) -> String {
        match self.facts.history.process(op.process) {
            Process::Client(number) => format!("process {number}"),
            Process::Nemesis => "nemesis".to_owned(),
            Process::Sampler => "sampler".to_owned(),
            Process::Unknown => "a client".to_owned(),
        }
    }

    fn sentence(
        &self,
        subject: &Subject,
        message: &Message,
        whereabouts: Whereabouts,
        evidence: &[Piece],
    ) -> String {
        let history = self.facts.history;
        let value = history.values().json(message.value);
        let key = history.keys().name(subject.key);
        let at = subject
            .offset
            .map_or(String::new(), |offset| format!(" at offset {offset}"));
        let how = match (message.acknowledged(), message.read()) {
            (true, _) => "acknowledged",
            (false, true) => "delivered",
            (false, false) => "sent, and never acknowledged",
        };
        let mut text = format!("Message {value} of {key} was {how}{at}");
        // A watermark is a claim about messages; nobody has seen any of them by it.
        let present = evidence.iter().rfind(|piece| {
            piece.present == Some(true) && piece.time >= 0 && piece.kind != "watermark"
        });
        let absent = evidence.iter().find(|piece| {
            piece.present == Some(false) && present.is_none_or(|present| piece.time >= present.time)
        });
        if let Some(piece) = present {
            text += &format!(
                "; it was last seen {} ({})",
                seconds(piece.time),
                piece.actor
            );
        }
        if let Some(piece) = absent.filter(|piece| piece.time >= 0) {
            text += &format!("; {} {} {}", seconds(piece.time), piece.actor, piece.says);
        }
        // A message that nobody misses is where it should be.
        if subject.kind.is_none() && absent.is_none() && whereabouts == Whereabouts::Unknown {
            let read = evidence.iter().any(|piece| piece.kind == "fetch");
            return text
                + match read {
                    true => "; every poll that went over its place was given it.",
                    false => "; no poll went over its place.",
                };
        }
        text + "; " + whereabouts::says(whereabouts) + "."
    }
}

/// A moment of the run, for people.
fn seconds(time: i64) -> String {
    format!("at {:.3} s", time as f64 / 1e9)
}

#[cfg(test)]
mod tests;
