//! Answers to `list-offsets` by key, in real-time order, and when one of them may be excused.
//!
//! What an answer proves is decided by order alone, never by a threshold of time: something
//! *completed* before the answer was *asked for*. And an answer may come from a deposed leader that
//! has not heard of its successor yet: see [`KeyAnswers::speaks_for_leader`].

use crate::history::{History, KeyId, OpId, Sample};

/// One answer with its place in real time.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// What was answered.
    pub sample: Sample,
    /// When it was asked for.
    pub invoked: u32,
    /// When it arrived.
    pub completed: u32,
}

/// The answers for one key, in the order in which they arrived.
#[derive(Debug, Default)]
pub struct KeyAnswers {
    /// All of them.
    pub answers: Vec<Answer>,
    /// The highest log start in any of them.
    pub log_start: Option<i64>,
    /// The highest epoch in any of them.
    pub highest_epoch: Option<i64>,
    /// The highest high watermark in any of them.
    pub highest_watermark: Option<i64>,
    /// Whether a higher epoch arrived before each answer.
    outdated: Vec<bool>,
    /// The next answer of a higher epoch after each; the number of answers where none follows.
    next_higher: Vec<u32>,
}

/// The answers by key.
#[derive(Debug, Default)]
pub struct Watermarks {
    keys: Vec<KeyAnswers>,
}

impl Watermarks {
    /// Sorts a history's samples by key.
    #[must_use]
    pub fn collect(history: &History) -> Watermarks {
        let mut keys: Vec<KeyAnswers> = Vec::new();
        keys.resize_with(history.keys().len(), KeyAnswers::default);
        for &sample in &history.samples {
            let op = history.op(sample.op);
            let (invoked, completed) = (op.invoked.seq, op.completed.seq);
            let key = &mut keys[sample.key.at()];
            key.answers.push(Answer {
                sample,
                invoked,
                completed,
            });
            key.log_start = key.log_start.max(sample.log_start);
            key.highest_epoch = key.highest_epoch.max(sample.epoch);
            key.highest_watermark = key.highest_watermark.max(sample.high_watermark);
        }
        keys.iter_mut().for_each(KeyAnswers::compare_epochs);
        Watermarks { keys }
    }

    /// The answers for one key.
    #[must_use]
    pub fn of(&self, key: KeyId) -> &KeyAnswers {
        &self.keys[key.at()]
    }

    /// Every key that was asked for.
    pub fn iter(&self) -> impl Iterator<Item = (KeyId, &KeyAnswers)> {
        let keys = self
            .keys
            .iter()
            .enumerate()
            .filter(|(_, key)| !key.answers.is_empty());
        keys.map(|(at, key)| (KeyId(at as u32), key))
    }
}

impl KeyAnswers {
    /// How often an answer, completed before the event `until`, named a higher leader epoch than
    /// all before it.
    #[must_use]
    pub fn epochs_begun(&self, until: u32) -> u64 {
        let mut known = None;
        let mut begun = 0;
        let answers = self.answers.iter().filter(|a| a.completed < until);
        for epoch in answers.filter_map(|answer| answer.sample.epoch) {
            begun += u64::from(known.is_some_and(|known| epoch > known));
            known = known.max(Some(epoch));
        }
        begun
    }

    /// Whether the answer at that position, whose watermark does not cover `offset`, speaks for the
    /// leader of its time. It does not if it has no epoch; if a higher epoch was seen before it; or
    /// if one is seen after it before the same epoch's leader shows that it does cover the offset.
    /// (A deposed leader may go on answering for as long as nobody tells it, and its successor may
    /// be slow to answer: so not the very next answer counts, but the next one that decides. A
    /// leader that covers the offset later, in its own epoch, was its leader all along.)
    #[must_use]
    pub fn speaks_for_leader(&self, position: usize, offset: i64) -> bool {
        let answer = &self.answers[position];
        let Some(epoch) = answer.sample.epoch else {
            return false;
        };
        if self.outdated[position] {
            return false;
        }
        let successor = self.next_higher[position] as usize;
        if successor == self.answers.len() {
            return true;
        }
        self.answers[position + 1..successor].iter().any(|later| {
            let watermark = later.sample.high_watermark;
            later.sample.epoch == Some(epoch)
                && watermark.is_some_and(|watermark| watermark > offset)
                && later.invoked > answer.completed
        })
    }

    /// Who was outdated when, and by whom: once, so that no answer is compared with all others.
    fn compare_epochs(&mut self) {
        let mut highest = None;
        let mut waiting: Vec<u32> = Vec::new(); // Their epochs do not grow.
        self.next_higher = vec![self.answers.len() as u32; self.answers.len()];
        for (at, answer) in self.answers.iter().enumerate() {
            let epoch = answer.sample.epoch;
            self.outdated.push(epoch < highest);
            highest = highest.max(epoch);
            while let Some(&before) = waiting.last()
                && self.answers[before as usize].sample.epoch < epoch
            {
                self.next_higher[before as usize] = at as u32;
                waiting.pop();
            }
            waiting.push(at as u32);
        }
    }

    /// Calls `judge` for each answer, with all answers that arrived before it was asked for.
    pub fn after_settled<'a>(&'a self, mut judge: impl FnMut(&'a Answer, &[&'a Answer])) {
        let mut by_invocation: Vec<&Answer> = self.answers.iter().collect();
        if !by_invocation.is_sorted_by_key(|answer| answer.invoked) {
            by_invocation.sort_by_key(|answer| answer.invoked);
        }
        let mut settled = Vec::new();
        let mut arriving = self.answers.iter().peekable();
        for answer in by_invocation {
            while let Some(earlier) = arriving.next_if(|other| other.completed < answer.invoked) {
                settled.push(earlier);
            }
            judge(answer, &settled);
        }
    }
}

/// The highest offset of each key known at each moment, as far as answers can tell moments apart.
#[derive(Debug)]
pub struct Frontiers {
    /// When answers were asked for, ascending.
    asked: Vec<u32>,
    /// How many of them were asked for up to now.
    passed: usize,
    /// By key: steps (moment, offset, by which operation).
    steps: Vec<Vec<(u32, i64, OpId)>>,
}

impl Frontiers {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(watermarks: &Watermarks) -> Frontiers {
        let answers = watermarks.keys.iter().flat_map(|key| &key.answers);
        let mut asked: Vec<u32> = answers.map(|answer| answer.invoked).collect();
        asked.sort_unstable();
        asked.dedup();
        Frontiers {
            asked,
            passed: 0,
            steps: vec![Vec::new(); watermarks.keys.len()],
        }
    }

    /// From `moment` on (moments must not go back), `offset` is known to be in the log.
    pub fn advance(&mut self, key: KeyId, moment: u32, offset: i64, op: OpId) {
        while self
            .asked
            .get(self.passed)
            .is_some_and(|&asked| asked <= moment)
        {
            self.passed += 1;
        }
        let asked_last = self.passed.checked_sub(1).map(|at| self.asked[at]);
        let steps = &mut self.steps[key.at()];
        match steps.last_mut() {
            Some(&mut (_, highest, _)) if highest >= offset => {}
            // Whoever can see the step before can see this one.
            Some(last) if asked_last.is_none_or(|asked| asked <= last.0) => {
                *last = (moment, offset, op);
            }
            _ => steps.push((moment, offset, op)),
        }
    }

    /// The highest offset of a key known strictly before a moment at which an answer was asked
    /// for, and by which operation.
    #[must_use]
    pub fn before(&self, key: KeyId, moment: u32) -> Option<(i64, OpId)> {
        let steps = &self.steps[key.at()];
        let after = steps.partition_point(|&(at, _, _)| at < moment);
        steps[..after].last().map(|&(_, offset, op)| (offset, op))
    }
}
