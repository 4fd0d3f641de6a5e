//! Alarms while a run goes on: each event is looked at as it is recorded, and what no later event
//! can excuse is said at once. The verdict does not rest on it: that is made of the whole history.
//!
//! A watch never holds up the recording. One that falls behind by [`BEHIND_MAX`] gives up and says
//! so; one whose window of messages was too small for something says that, too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use checker::Options;
use checker::online::{Alarm, Session};
use tokio::sync::watch;

/// Messages that are remembered, of all partitions together.
const MESSAGES_MAX: usize = 2_000_000;
/// Bytes of events that wait to be looked at.
const BEHIND_MAX: usize = 64 << 20;
/// Alarms that are told one by one.
const TOLD_MAX: usize = 10;

/// Looks at events.
pub struct Sentry {
    session: Session,
    told: BTreeSet<(&'static str, String)>,
    quiet: bool,
    violation: Option<String>,
    ended: bool,
}

impl Sentry {
    /// By a profile, for a topic of so many partitions.
    #[must_use]
    pub fn new(options: Options, partitions: usize) -> Self {
        let window = (MESSAGES_MAX / partitions.max(1)).max(1000);
        Self {
            session: Session::watching(options, window),
            told: BTreeSet::new(),
            quiet: false,
            violation: None,
            ended: false,
        }
    }

    /// Looks at whole lines of the history, in order.
    pub fn look_at(&mut self, lines: &[u8]) {
        for line in lines.split(|&byte| byte == b'\n') {
            let fed = match std::str::from_utf8(line) {
                _ if self.ended => return,
                Ok(line) => self.session.feed(line).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match fed {
                Ok(alarms) => alarms
                    .iter()
                    .filter(|alarm| !alarm.allowed)
                    .for_each(|alarm| self.tell(alarm)),
                Err(error) => {
                    say!("no more alarms in this run, the verdict is not touched: {error}");
                    self.ended = true;
                }
            }
        }
    }

    /// One line for each kind and partition, and not too many.
    fn tell(&mut self, alarm: &Alarm) {
        let Alarm { key, value, op, .. } = alarm;
        let name = alarm.kind.name();
        let sentence = format!("{name}: message {value} of {key}, by operation {op}");
        if self.told.insert((name, key.clone())) {
            match self.told.len() {
                ..=TOLD_MAX => say!("ALARM {sentence}"),
                _ if !self.quiet => {
                    self.quiet = true;
                    say!("ALARM further ones are told by the verdict");
                }
                _ => {}
            }
        }
        self.violation.get_or_insert(sentence);
    }

    /// The first violation of the profile.
    #[must_use]
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    fn end(&self) {
        if let Some(unchecked) = self.session.unchecked() {
            say!("alarms (not the verdict) could not cover everything: {unchecked}");
        }
    }
}

/// Hears of the first violation.
pub type Violation = watch::Receiver<Option<String>>;

/// A sentry on a thread of its own, fed by the recorder's.
pub(super) struct Post {
    lines: Option<Sender<Vec<u8>>>,
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Post {
    pub fn begin(sentry: Sentry) -> std::io::Result<(Self, Violation)> {
        let (lines, taken) = channel();
        let (raise, raised) = watch::channel(None);
        let waiting = Arc::new(AtomicUsize::new(0));
        let behind = waiting.clone();
        let thread = std::thread::Builder::new()
            .name("alarms".to_owned())
            .spawn(move || stand(sentry, &taken, &behind, &raise))?;
        let post = Self {
            lines: Some(lines),
            waiting,
            thread: Some(thread),
        };
        Ok((post, raised))
    }

    /// Hands lines over, and does not wait.
    pub fn hand_over(&mut self, lines: &[u8]) {
        let Some(sender) = &self.lines else { return };
        let behind = self.waiting.fetch_add(lines.len(), Ordering::Relaxed);
        if behind > BEHIND_MAX || sender.send(lines.to_vec()).is_err() {
            say!("no more alarms in this run, the verdict is not touched: they cannot keep up");
            self.lines = None;
        }
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            // A watch that panicked has told nothing wrong; the verdict will.
            let _ = thread.join();
        }
    }
}

fn stand(
    mut sentry: Sentry,
    lines: &Receiver<Vec<u8>>,
    waiting: &AtomicUsize,
    raise: &watch::Sender<Option<String>>,
) {
    while let Ok(some) = lines.recv() {
        sentry.look_at(&some);
        waiting.fetch_sub(some.len(), Ordering::Relaxed);
        if let Some(violation) = sentry.violation()
            && raise.borrow().is_none()
        {
            raise.send_replace(Some(violation.to_owned()));
        }
    }
    sentry.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &[u8] = br#"{"process":0,"type":"ok","f":"send","value":[["send","x",[0,1]]]}
{"process":1,"type":"ok","f":"poll","value":[["poll",{"x":[[0,1]]}]]}
{"process":1,"type":"ok","f":"poll","value":[["poll",{"x":[[1,2]]}]]}
"#;

    #[test]
    fn what_nobody_sent_is_a_violation_as_soon_as_it_is_read() {
        let mut sentry = Sentry::new(Options::default(), 6);
        let (good, bad) = LINES.split_at(LINES.len() - 70);
        sentry.look_at(good);
        assert_eq!(sentry.violation(), None);
        sentry.look_at(bad);
        let violation = sentry.violation().expect("nobody sent 2");
        assert!(
            violation.starts_with("unwritten-read: message 2 of x"),
            "{violation}"
        );
    }

    #[test]
    fn a_post_tells_the_first_violation() {
        let (mut post, raised) = Post::begin(Sentry::new(Options::default(), 6)).expect("a thread");
        post.hand_over(LINES);
        drop(post);
        assert!(raised.borrow().is_some());
    }

    #[test]
    fn a_line_that_is_no_event_ends_the_alarms_and_nothing_else() {
        let mut sentry = Sentry::new(Options::default(), 6);
        sentry.look_at(b"nonsense\n");
        sentry.look_at(LINES);
        assert_eq!(sentry.violation(), None);
    }
}
