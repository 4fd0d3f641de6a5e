//! PURE: who is alive, as the active controller sees it.
//!
//! Sessions are not replicated. A new controller has heard nobody yet, so it gives every broker a
//! full session before it fences anybody; and time in which the controller itself was out of
//! touch with a majority, or stood still (a paused process), does not count against anybody,
//! because the silence may be its own.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::meta::image::MetadataImage;
use crate::meta::rpc::{Heartbeat, HeartbeatAnswer};
use crate::types::{BrokerEpoch, BrokerId};

/// What the controller knows of one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// Not fenced: it is to be fenced at the deadline.
    Open {
        epoch: BrokerEpoch,
        deadline: Duration,
    },
    /// Fenced: it is unfenced by a heartbeat that has applied the entry that fenced it.
    Fenced { epoch: BrokerEpoch, caught_up: u64 },
}

/// The sessions of all brokers; empty while this broker is not the active controller.
#[derive(Clone, Debug)]
pub struct Sessions {
    timeout: Duration,
    /// The term in which this broker is the active controller.
    term: Option<u64>,
    last_review: Duration,
    brokers: BTreeMap<BrokerId, Session>,
    /// Rules that are switched off.
    bugs: BugSet,
}

/// What a heartbeat leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// For the broker.
    pub answer: HeartbeatAnswer,
    /// Propose to unfence that registration.
    pub unfence: Option<(BrokerId, BrokerEpoch)>,
}

impl Sessions {
    /// No sessions yet; each will last for `timeout` after the last heartbeat.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            term: None,
            last_review: Duration::ZERO,
            brokers: BTreeMap::new(),
            bugs: BugSet::NONE,
        }
    }

    /// This broker is not the active controller (any more).
    pub fn resign(&mut self) {
        self.term = None;
        self.forget();
    }

    /// What was known in one term says nothing in another.
    fn forget(&mut self) {
        if !self.bugs.has(SeededBug::StickyControllerClock) {
            self.brokers.clear();
        }
    }

    /// The same, without the rules that `bugs` switches off.
    #[must_use]
    pub fn with_bugs(self, bugs: BugSet) -> Self {
        Self { bugs, ..self }
    }

    /// Called at least four times a session while this broker is the active controller of `term`:
    /// follows `image`, and
    /// returns the registrations whose sessions have ended. `in_touch`: a majority was heard
    /// recently.
    pub fn review(
        &mut self,
        now: Duration,
        term: u64,
        in_touch: bool,
        image: &MetadataImage,
    ) -> Vec<(BrokerId, BrokerEpoch)> {
        if self.term != Some(term) {
            self.forget();
            self.term = Some(term);
        }
        self.follow(now, image);
        let stood_still = now.saturating_sub(self.last_review) > self.timeout / 2;
        self.last_review = now;
        let mut ended = Vec::new();
        for (id, session) in &mut self.brokers {
            if let Session::Open { epoch, deadline } = session {
                if !in_touch || stood_still {
                    *deadline = now + self.timeout;
                } else if *deadline <= now {
                    ended.push((*id, *epoch));
                }
            }
        }
        ended
    }

    /// The broker's connection to the controller port ended. A process that lives makes a new one
    /// for its next heartbeat; one that was killed has no more to say, and its partitions need not
    /// wait for the whole session. A hint only: fencing somebody who lives costs an election, never
    /// a record. Nothing is concluded from a connection that merely fell silent.
    pub fn hung_up(&mut self, now: Duration, id: BrokerId, grace: Duration) {
        if let Some(Session::Open { deadline, .. }) = self.brokers.get_mut(&id) {
            *deadline = (*deadline).min(now + grace);
        }
    }

    /// One session for every registration in `image`, and no other.
    fn follow(&mut self, now: Duration, image: &MetadataImage) {
        self.brokers.retain(|id, _| image.brokers.contains_key(id));
        for broker in image.brokers.values() {
            let fresh = match self.brokers.get(&broker.id) {
                Some(Session::Open { epoch, .. }) => broker.fenced || *epoch != broker.epoch,
                Some(Session::Fenced { epoch, .. }) => !broker.fenced || *epoch != broker.epoch,
                None => true,
            };
            if !fresh {
                continue;
            }
            let epoch = broker.epoch;
            let session = if broker.fenced {
                let caught_up = image.index;
                Session::Fenced { epoch, caught_up }
            } else {
                let deadline = now + self.timeout;
                Session::Open { epoch, deadline }
            };
            self.brokers.insert(broker.id, session);
        }
    }

    /// A broker's heartbeat. `image` is the newest that is applied here.
    pub fn heartbeat(
        &mut self,
        now: Duration,
        heartbeat: Heartbeat,
        image: &MetadataImage,
    ) -> Reaction {
        let answer = |answer| Reaction {
            answer,
            unfence: None,
        };
        if self.term.is_none() {
            return answer(HeartbeatAnswer::NotController);
        }
        self.follow(now, image);
        let id = heartbeat.id;
        match self.brokers.get_mut(&id) {
            Some(Session::Open { epoch, deadline }) if *epoch == heartbeat.epoch => {
                *deadline = now + self.timeout;
                answer(HeartbeatAnswer::Alive { fenced: false })
            }
            Some(Session::Fenced { epoch, caught_up }) if *epoch == heartbeat.epoch => {
                let stopping = image.brokers[&id].in_controlled_shutdown;
                let ready = heartbeat.applied >= *caught_up && !stopping;
                Reaction {
                    answer: HeartbeatAnswer::Alive { fenced: true },
                    unfence: ready.then_some((id, heartbeat.epoch)),
                }
            }
            _ => answer(HeartbeatAnswer::UnknownRegistration),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::meta::image::{BrokerImage, Endpoint};

    const TIMEOUT: Duration = Duration::from_secs(10);
    const ONE: BrokerId = BrokerId(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Broker 1, registered with `epoch`.
    fn image(index: u64, epoch: i64, fenced: bool) -> MetadataImage {
        let endpoint = Endpoint {
            host: "h".to_owned(),
            port: 1,
        };
        let broker = BrokerImage {
            id: ONE,
            epoch: BrokerEpoch(epoch),
            incarnation: uuid::Uuid::from_u128(1),
            fenced,
            in_controlled_shutdown: false,
            client: endpoint.clone(),
            replication: endpoint,
        };
        MetadataImage {
            index,
            brokers: BTreeMap::from([(ONE, Arc::new(broker))]),
            ..MetadataImage::default()
        }
    }

    fn beat(epoch: i64, applied: u64) -> Heartbeat {
        Heartbeat {
            id: ONE,
            epoch: BrokerEpoch(epoch),
            applied,
        }
    }

    /// Reviews every second, `from` to `to`; what the last one found.
    fn review(
        sessions: &mut Sessions,
        seconds: std::ops::RangeInclusive<u64>,
        term: u64,
        in_touch: bool,
        image: &MetadataImage,
    ) -> usize {
        let mut ended = 0;
        for second in seconds {
            ended = sessions.review(at(second), term, in_touch, image).len();
        }
        ended
    }

    #[test]
    fn who_hung_up_is_fenced_after_the_grace_unless_it_is_heard_again() {
        let grace = Duration::from_secs(2);
        for heard_again in [false, true] {
            let mut sessions = Sessions::new(TIMEOUT);
            let image = image(1, 7, false);
            assert_eq!(review(&mut sessions, 0..=3, 1, true, &image), 0);
            sessions.hung_up(at(3), ONE, grace);
            assert_eq!(
                review(&mut sessions, 4..=4, 1, true, &image),
                0,
                "within the grace"
            );
            if heard_again {
                sessions.heartbeat(at(4), beat(7, 1), &image);
                assert_eq!(review(&mut sessions, 5..=13, 1, true, &image), 0);
                assert_eq!(review(&mut sessions, 14..=14, 1, true, &image), 1);
            } else {
                assert_eq!(review(&mut sessions, 5..=5, 1, true, &image), 1);
            }
        }
    }

    #[test]
    fn hanging_up_never_prolongs_a_session() {
        let mut sessions = Sessions::new(TIMEOUT);
        let image = image(1, 7, false);
        assert_eq!(review(&mut sessions, 0..=9, 1, true, &image), 0);
        sessions.hung_up(at(9), ONE, TIMEOUT);
        assert_eq!(review(&mut sessions, 10..=10, 1, true, &image), 1);
    }

    #[test]
    fn silence_ends_a_session_and_a_heartbeat_extends_it() {
        let mut sessions = Sessions::new(TIMEOUT);
        let image = image(5, 5, false);
        assert_eq!(review(&mut sessions, 0..=6, 1, true, &image), 0);
        let alive = sessions.heartbeat(at(6), beat(5, 5), &image);
        assert_eq!(alive.answer, HeartbeatAnswer::Alive { fenced: false });
        assert_eq!(review(&mut sessions, 7..=15, 1, true, &image), 0);
        let ended = sessions.review(at(16), 1, true, &image);
        assert_eq!(ended, [(ONE, BrokerEpoch(5))]);
    }

    #[test]
    fn a_new_controller_gives_everybody_a_full_session() {
        let mut sessions = Sessions::new(TIMEOUT);
        let image = image(5, 5, false);
        sessions.review(at(0), 1, true, &image);
        sessions.resign();
        let answer = sessions.heartbeat(at(1), beat(5, 5), &image).answer;
        assert_eq!(answer, HeartbeatAnswer::NotController);
        assert_eq!(review(&mut sessions, 100..=109, 3, true, &image), 0);
        assert_eq!(review(&mut sessions, 110..=110, 3, true, &image), 1);
        // Also when it was never told to resign in between.
        assert_eq!(review(&mut sessions, 111..=120, 5, true, &image), 0);
        assert_eq!(review(&mut sessions, 121..=121, 5, true, &image), 1);
    }

    /// A short absence: the standing-still rule does not see it.
    #[test]
    fn m52_fences_a_broker_that_had_no_full_session_under_the_new_controller() {
        let sticky = BugSet::NONE.with(SeededBug::StickyControllerClock);
        let fenced = [BugSet::NONE, sticky].map(|bugs| {
            let mut sessions = Sessions::new(TIMEOUT).with_bugs(bugs);
            let image = image(5, 5, false);
            review(&mut sessions, 0..=7, 1, true, &image);
            sessions.resign();
            // Term 3 begins at second 9; its first session ends at 19.
            review(&mut sessions, 9..=12, 3, true, &image)
        });
        assert_eq!(fenced, [0, 1]);
    }

    #[test]
    fn time_out_of_touch_with_a_majority_does_not_count() {
        let mut sessions = Sessions::new(TIMEOUT);
        let image = image(5, 5, false);
        assert_eq!(review(&mut sessions, 0..=5, 1, true, &image), 0);
        assert_eq!(review(&mut sessions, 6..=59, 1, false, &image), 0);
        assert_eq!(review(&mut sessions, 60..=68, 1, true, &image), 0);
        assert_eq!(review(&mut sessions, 69..=69, 1, true, &image), 1);
    }

    #[test]
    fn a_controller_that_stood_still_blames_nobody() {
        let mut sessions = Sessions::new(TIMEOUT);
        let image = image(5, 5, false);
        assert_eq!(review(&mut sessions, 0..=5, 1, true, &image), 0);
        assert_eq!(review(&mut sessions, 30..=39, 1, true, &image), 0);
        assert_eq!(review(&mut sessions, 40..=40, 1, true, &image), 1);
    }

    #[test]
    fn a_fenced_broker_is_unfenced_once_it_has_applied_what_fenced_it() {
        let mut sessions = Sessions::new(TIMEOUT);
        sessions.review(at(0), 1, true, &image(9, 5, true));
        let behind = sessions.heartbeat(at(1), beat(5, 8), &image(9, 5, true));
        assert_eq!(behind.answer, HeartbeatAnswer::Alive { fenced: true });
        assert_eq!(behind.unfence, None);
        let caught_up = sessions.heartbeat(at(2), beat(5, 9), &image(20, 5, true));
        assert_eq!(caught_up.unfence, Some((ONE, BrokerEpoch(5))));
        let open = sessions.heartbeat(at(3), beat(5, 9), &image(21, 5, false));
        assert_eq!(open.answer, HeartbeatAnswer::Alive { fenced: false });
    }

    #[test]
    fn another_registration_is_not_this_one() {
        let mut sessions = Sessions::new(TIMEOUT);
        sessions.review(at(0), 1, true, &image(9, 5, false));
        for epoch in [4, 6] {
            let answer = sessions.heartbeat(at(1), beat(epoch, 9), &image(9, 5, false));
            assert_eq!(answer.answer, HeartbeatAnswer::UnknownRegistration);
        }
        // A new registration begins a session of its own.
        assert_eq!(sessions.review(at(9), 1, true, &image(12, 10, false)), []);
        assert_eq!(sessions.review(at(18), 1, true, &image(12, 10, false)), []);
    }

    #[test]
    fn a_stopping_broker_is_not_unfenced() {
        let mut sessions = Sessions::new(TIMEOUT);
        let mut image = image(9, 5, true);
        let broker = image.brokers.get_mut(&ONE).expect("there");
        Arc::make_mut(broker).in_controlled_shutdown = true;
        sessions.review(at(0), 1, true, &image);
        let beat = sessions.heartbeat(at(1), beat(5, 9), &image);
        assert_eq!(beat.unfence, None);
    }
}
