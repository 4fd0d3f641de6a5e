//! What openraft is instantiated with: commands, answers, node numbers, and a runtime whose
//! random numbers come from the broker's seed.

use std::cell::RefCell;
use std::future::Future;
use std::io::Cursor;
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend, TokioInstant, TokioRuntime};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::exec;
use crate::meta::command::{Applied, Command, Rejected};
use crate::types::BrokerId;

openraft::declare_raft_types!(
    /// The metadata group. A node's address is not part of its membership: it comes from the
    /// settings, so that a broker can move.
    pub MetaRaft:
        D = Command,
        R = Response,
        NodeId = u64,
        Node = openraft::EmptyNode,
        Entry = openraft::Entry<MetaRaft>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = SeededRuntime,
);

/// The decision on one log entry; `None` for entries that are not commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response(pub Option<Result<Applied, Rejected>>);

/// openraft's handle on the group.
pub type Raft = openraft::Raft<MetaRaft>;
/// Position in the metadata log, with the term that made it.
pub type LogId = openraft::LogId<u64>;
/// One entry of the metadata log.
pub type Entry = openraft::Entry<MetaRaft>;
/// A promise of this broker in an election.
pub type Vote = openraft::Vote<u64>;
/// Membership of the group, and the entry that set it.
pub type StoredMembership = openraft::StoredMembership<u64, openraft::EmptyNode>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::SnapshotMeta<u64, openraft::EmptyNode>;
/// The store does not work; Raft stops.
pub type StorageError = openraft::StorageError<u64>;

/// openraft's number of a broker.
///
/// # Panics
/// For a negative broker id; the settings refuse those.
#[must_use]
pub fn node_id(id: BrokerId) -> u64 {
    u64::try_from(id.get()).expect("broker ids are not negative")
}

/// The broker with that number.
///
/// # Panics
/// For a number that no broker id has; only [`node_id`] makes them.
#[must_use]
pub fn broker_id(node: u64) -> BrokerId {
    BrokerId(i32::try_from(node).expect("node numbers are broker ids"))
}

thread_local! {
    /// The draws of every Raft node on this thread (in production: one).
    static RNG: RefCell<ChaCha8Rng> = RefCell::new(ChaCha8Rng::seed_from_u64(0));
}

/// Seeds openraft's random numbers on this thread.
pub fn seed_thread(seed: u64) {
    RNG.set(ChaCha8Rng::seed_from_u64(seed));
}

/// tokio, started through `exec` and with seeded random numbers: openraft draws its election
/// timeouts from the runtime's generator, and two runs of one seed must draw the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SeededRuntime;

/// Draws from this thread's seeded generator.
pub struct SeededRng;

impl rand_core_06::RngCore for SeededRng {
    fn next_u32(&mut self) -> u32 {
        RNG.with_borrow_mut(RngCore::next_u32)
    }

    fn next_u64(&mut self) -> u64 {
        RNG.with_borrow_mut(RngCore::next_u64)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        RNG.with_borrow_mut(|rng| rng.fill_bytes(bytes));
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl AsyncRuntime for SeededRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = SeededRng;
    type OneshotSender<T: OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotSender<T>;
    type OneshotReceiverError = <TokioRuntime as AsyncRuntime>::OneshotReceiverError;
    type OneshotReceiver<T: OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotReceiver<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        exec::spawn("raft", future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        SeededRng
    }

    fn oneshot<T>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>)
    where
        T: OptionalSend,
    {
        TokioRuntime::oneshot()
    }
}

#[cfg(test)]
mod tests {
    use rand_core_06::RngCore as _;

    use super::*;

    #[test]
    fn one_seed_gives_one_series() {
        let draw = |seed| {
            seed_thread(seed);
            let mut rng = SeededRuntime::thread_rng();
            [rng.next_u64(), rng.next_u64(), u64::from(rng.next_u32())]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
