//! What a leader knows of one follower in the current leader epoch.

use std::time::Duration;

use crate::replica::cluster::Peer;
use crate::types::{BrokerEpoch, Offset};

/// One follower as its leader sees it; forgotten when an epoch begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Progress {
    /// Its registration and eligibility in the newest image; `None`: not registered.
    registered: Option<Peer>,
    /// The newest incarnation that has fetched here.
    fetched_by: Option<BrokerEpoch>,
    /// Where that incarnation last fetched in this epoch: it holds everything below.
    offset: Option<Offset>,
    /// When it last had everything that the leader had; `None`: never in this epoch.
    caught_up_at: Option<Duration>,
    /// When it last fetched, and the leader's end then.
    last_fetch: Option<(Duration, Offset)>,
}

impl Progress {
    /// At the beginning of an epoch: members of the ISR get the benefit of the doubt.
    #[must_use]
    pub fn begin(registered: Option<Peer>, in_isr: bool, now: Duration) -> Self {
        Self {
            registered,
            caught_up_at: in_isr.then_some(now),
            ..Self::default()
        }
    }

    /// Where it last fetched in this epoch; `None` blocks the high watermark.
    #[must_use]
    pub fn offset(&self) -> Option<Offset> {
        self.offset
    }

    /// Whether a fetch by `epoch` comes from an incarnation that has been replaced (KIP-903).
    #[must_use]
    pub fn is_stale(&self, epoch: BrokerEpoch) -> bool {
        self.newest().is_some_and(|newest| epoch < newest)
    }

    /// The broker epoch that a proposal names for it.
    #[must_use]
    pub fn broker_epoch(&self) -> Option<BrokerEpoch> {
        self.fetched_by
            .or(self.registered.map(|peer| peer.broker_epoch))
    }

    /// It may be in an ISR: not fenced, not stopping, and what it fetched is known to come from
    /// its current incarnation.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.registered.is_some_and(|peer| {
            peer.eligible
                && self
                    .fetched_by
                    .is_none_or(|epoch| epoch == peer.broker_epoch)
        })
    }

    /// Takes over what a newer image says of the broker. A new incarnation starts from nothing.
    pub fn register(&mut self, peer: Option<Peer>) {
        if let Some(peer) = peer
            && self
                .fetched_by
                .is_some_and(|epoch| epoch < peer.broker_epoch)
        {
            self.forget();
        }
        self.registered = peer;
    }

    /// R4: records a fetch at `offset` by incarnation `epoch` while the leader's log ends at
    /// `leader_end`.
    pub fn record(
        &mut self,
        epoch: BrokerEpoch,
        offset: Offset,
        leader_end: Offset,
        now: Duration,
    ) {
        if self.newest().is_some_and(|newest| newest < epoch) {
            self.forget();
        }
        self.fetched_by = Some(epoch);
        self.offset = Some(offset);
        if offset >= leader_end {
            self.caught_up_at = Some(now);
        } else if let Some((at, end_then)) = self.last_fetch
            && offset >= end_then
        {
            self.caught_up_at = self.caught_up_at.max(Some(at));
        }
        self.last_fetch = Some((now, leader_end));
    }

    /// R8: it has been behind for longer than `lag_max`, and still is.
    #[must_use]
    pub fn lags(&self, leader_end: Offset, now: Duration, lag_max: Duration) -> bool {
        self.offset.is_none_or(|offset| offset < leader_end) && !self.is_recent(now, lag_max)
    }

    /// It was caught up within the last `lag_max`, by a fetch of this epoch.
    #[must_use]
    pub fn is_caught_up(&self, leader_end: Offset, now: Duration, lag_max: Duration) -> bool {
        self.offset
            .is_some_and(|offset| offset >= leader_end || self.is_recent(now, lag_max))
    }

    /// It fetched within the last `lag_max`, in this epoch.
    #[must_use]
    pub fn is_fetching(&self, now: Duration, lag_max: Duration) -> bool {
        self.last_fetch
            .is_some_and(|(at, _)| now.saturating_sub(at) <= lag_max)
    }

    fn is_recent(&self, now: Duration, lag_max: Duration) -> bool {
        self.caught_up_at
            .is_some_and(|at| now.saturating_sub(at) <= lag_max)
    }

    fn newest(&self) -> Option<BrokerEpoch> {
        self.fetched_by
            .max(self.registered.map(|peer| peer.broker_epoch))
    }

    fn forget(&mut self) {
        self.fetched_by = None;
        self.offset = None;
        self.last_fetch = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG_MAX: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn peer(epoch: i64) -> Option<Peer> {
        let broker_epoch = BrokerEpoch(epoch);
        Some(Peer {
            broker_epoch,
            eligible: true,
        })
    }

    #[test]
    fn a_follower_that_keeps_pace_with_a_moving_end_does_not_lag() {
        let mut progress = Progress::begin(peer(1), true, at(0));
        for second in 0..20 {
            let end = i64::try_from(second).expect("small") * 10;
            // Always exactly what the end was one fetch ago, never the end itself.
            progress.record(BrokerEpoch(1), Offset(end - 10), Offset(end), at(second));
        }
        assert!(!progress.lags(Offset(190), at(19), LAG_MAX));
        assert!(progress.lags(Offset(190), at(30), LAG_MAX));
    }

    #[test]
    fn a_silent_member_lags_only_once_there_is_something_to_fetch() {
        let mut progress = Progress::begin(peer(1), true, at(0));
        progress.record(BrokerEpoch(1), Offset(5), Offset(5), at(1));
        assert!(!progress.lags(Offset(5), at(100), LAG_MAX));
        assert!(progress.lags(Offset(6), at(100), LAG_MAX));
    }

    #[test]
    fn a_new_incarnation_starts_from_nothing() {
        let mut progress = Progress::begin(peer(3), true, at(0));
        progress.record(BrokerEpoch(3), Offset(9), Offset(9), at(0));
        assert!(progress.is_stale(BrokerEpoch(2)));
        progress.register(peer(4));
        assert_eq!(
            progress.offset(),
            None,
            "the image knows of a newer incarnation"
        );
        assert!(progress.is_stale(BrokerEpoch(3)));

        progress.record(BrokerEpoch(6), Offset(2), Offset(9), at(1));
        assert_eq!(progress.offset(), Some(Offset(2)));
        assert!(
            !progress.is_eligible(),
            "the image does not know incarnation 6 yet"
        );
        progress.register(peer(6));
        assert!(progress.is_eligible());
        assert_eq!(progress.offset(), Some(Offset(2)));
    }

    #[test]
    fn an_outsider_was_never_caught_up_in_this_epoch() {
        let progress = Progress::begin(peer(1), false, at(0));
        assert!(progress.lags(Offset(1), at(0), LAG_MAX));
        assert!(!progress.is_caught_up(Offset(0), at(0), LAG_MAX));
    }
}
