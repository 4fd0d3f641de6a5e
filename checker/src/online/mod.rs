//! Checking while a run is still going: feed events, hear of violations at once, ask for the
//! verdict so far.
//!
//! ```
//! use checker::Options;
//! use checker::online::Session;
//!
//! let mut session = Session::new(Options::default());
//! for line in [
//!     r#"{"process":0,"type":"invoke","f":"send","value":[["send","x",1]]}"#,
//!     r#"{"process":0,"type":"ok","f":"send","value":[["send","x",[0,1]]]}"#,
//!     r#"{"process":1,"type":"invoke","f":"poll","value":[["poll"]]}"#,
//!     r#"{"process":1,"type":"ok","f":"poll","value":[["poll",{"x":[[0,2]]}]]}"#,
//! ] {
//!     session.feed(line)?;
//! }
//! let alarm = session.violation().expect("nobody sent 2");
//! assert_eq!(alarm.kind.name(), "inconsistent-offsets");
//! # Ok::<(), checker::CheckError>(())
//! ```
//!
//! An alarm is about what no later event can excuse, so a run may stop at the first one: messages
//! at two offsets, offsets with two messages, aborted and unwritten reads, and reads that go back
//! ([`watch`]). What needs the whole history, above all that something is missing, is the verdict's
//! part: [`Session::verdict`] checks everything fed so far, at the cost of a check.
//!
//! A session that only watches ([`Session::watching`]) keeps no history, and of each key no more
//! than a window of messages: for histories larger than memory. What fell out of the window is
//! counted, and [`Session::unchecked`] names the bound; it is never passed over in silence.

mod watch;

pub use watch::Alarm;

use crate::history::batch::Batch;
use crate::history::build::Builder;
use crate::history::read::read_line;
use crate::verdict::Verdict;
use crate::verdict::profile::Bench;
use crate::{CheckError, Options, check};
use watch::Watch;

/// A check of a history that is still growing.
pub struct Session {
    options: Options,
    batch: Batch,
    builder: Builder,
    watch: Watch,
    /// The profile, once there is an operation to judge.
    bench: Option<Bench>,
    keeps: bool,
    lines: u64,
    violation: Option<Alarm>,
}

impl Session {
    /// Keeps everything, so that the whole verdict can be asked for.
    #[must_use]
    pub fn new(options: Options) -> Session {
        Session::with(options, usize::MAX)
    }

    /// Watches only, and remembers at most so many messages of each key.
    #[must_use]
    pub fn watching(options: Options, messages_per_key: usize) -> Session {
        Session::with(options, messages_per_key.max(1))
    }

    fn with(options: Options, window: usize) -> Session {
        Session {
            options,
            batch: Batch::default(),
            builder: Builder::default(),
            watch: Watch::new(window),
            bench: None,
            keeps: window == usize::MAX,
            lines: 0,
            violation: None,
        }
    }

    /// Takes the next event, one line of a history; gives back what is wrong since then, allowed by
    /// the profile or not.
    ///
    /// # Errors
    /// [`CheckError`] where the line is no event, or an option names something that does not exist.
    pub fn feed(&mut self, line: &str) -> Result<Vec<Alarm>, CheckError> {
        self.lines += 1;
        read_line(&mut self.batch, line.as_bytes(), self.lines)?;
        let before = self.builder.history.ops().len();
        if !self.builder.has_room_for(&self.batch) {
            return Err(CheckError::TooLarge {
                file: "the run".to_owned(),
                line: self.lines,
                what: "events, micro-ops or records",
                limit: u64::from(u32::MAX),
            });
        }
        self.builder.absorb(&mut self.batch);
        let Some(op) = self.builder.history.ops().get(before).copied() else {
            return Ok(Vec::new());
        };
        let mut alarms = Vec::new();
        if op.function.is_data() && self.bench.is_none() {
            self.bench = Some(Bench::new(&self.builder.history, &self.options)?);
        }
        self.watch.completed(&self.builder, &op, &mut alarms);
        if let Some(bench) = &self.bench {
            alarms.iter_mut().for_each(|alarm| alarm.judge(bench));
        }
        if self.violation.is_none() {
            self.violation = alarms.iter().find(|alarm| !alarm.allowed).cloned();
        }
        if !self.keeps {
            self.builder.forget_operations();
        }
        Ok(alarms)
    }

    /// The first alarm that the profile forbids.
    #[must_use]
    pub fn violation(&self) -> Option<&Alarm> {
        self.violation.as_ref()
    }

    /// The verdict on everything fed so far, as if the run had ended here; `None` for a session
    /// that only watches. Costs as much as a check of a history of this length.
    ///
    /// # Errors
    /// Those of [`check`].
    pub fn verdict(&self) -> Result<Option<Verdict>, CheckError> {
        if !self.keeps {
            return Ok(None);
        }
        check(&self.builder.so_far(), &self.options).map(Some)
    }

    /// What could not be watched because the window was too small, in words; `None` if everything
    /// was. Where this says something and there is no violation, the answer is *unknown*.
    #[must_use]
    pub fn unchecked(&self) -> Option<String> {
        self.watch.unchecked()
    }
}

#[cfg(test)]
mod tests;
