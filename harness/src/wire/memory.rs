//! Metadata as brokers told it: the last answer to each question, and the one before that said
//! something else.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::frame::Head;

/// Questions that are remembered: clients ask the same few again and again.
const QUESTIONS_MAX: usize = 64;
/// Bytes of a question, and of an answer, that is remembered.
const QUESTION_BYTES_MAX: usize = 16 << 10;
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A question: its version, and what it says.
pub type Question = (i16, Bytes);

/// What was told.
struct Told {
    latest: Bytes,
    /// The last one that was different.
    before: Option<Bytes>,
}

/// What one broker told.
#[derive(Default)]
pub struct Memory {
    told: BTreeMap<Question, Told>,
}

impl Memory {
    /// The question that a request asks; `None` where it is too long to be remembered.
    pub fn question(head: Head, frame: &Bytes) -> Option<Question> {
        let body = frame.slice(head.body_at(frame)?..);
        (body.len() <= QUESTION_BYTES_MAX).then(|| (head.version, Bytes::copy_from_slice(&body)))
    }

    /// An answer was given.
    pub fn learn(&mut self, question: Question, answer: Bytes) {
        let full = self.told.len() >= QUESTIONS_MAX && !self.told.contains_key(&question);
        if full || answer.len() > ANSWER_BYTES_MAX {
            return;
        }
        let answer = Bytes::copy_from_slice(&answer);
        match self.told.get_mut(&question) {
            Some(told) if told.latest == answer => {}
            Some(told) => told.before = Some(std::mem::replace(&mut told.latest, answer)),
            None => {
                let told = Told {
                    latest: answer,
                    before: None,
                };
                self.told.insert(question, told);
            }
        }
    }

    /// What this request was answered before: with something else than the last time, if ever.
    pub fn before(&self, head: Head, frame: &Bytes) -> Option<Bytes> {
        let told = self.told.get(&Self::question(head, frame)?)?;
        Some(told.before.clone().unwrap_or_else(|| told.latest.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_again_is_what_was_different() {
        let mut memory = Memory::default();
        // Metadata v1 of a client without a name, about all topics.
        let ask = |correlation: i32| {
            let mut frame = vec![0, 3, 0, 1];
            frame.extend_from_slice(&correlation.to_be_bytes());
            frame.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
            let frame = Bytes::from(frame);
            (Head::of(&frame).unwrap(), frame)
        };
        let (head, frame) = ask(1);
        assert_eq!(memory.before(head, &frame), None);
        let question = || Memory::question(head, &frame).unwrap();
        for (answer, expected) in [
            ("one", "one"),
            ("one", "one"),
            ("two", "one"),
            ("two", "one"),
        ] {
            memory.learn(question(), Bytes::from(answer));
            // Whatever the number of the question.
            let (head, frame) = ask(7);
            assert_eq!(memory.before(head, &frame).unwrap(), expected);
        }
        memory.learn(question(), Bytes::from(vec![0; ANSWER_BYTES_MAX + 1]));
        assert_eq!(memory.before(head, &frame).unwrap(), "one");
    }
}
