//! Memory for large requests ([`Budget`]) and for records on their way out ([`AnswerBudget`]),
//! over all connections of a listener.
//!
//! What a request takes grows with what has arrived of it: a length alone costs nothing. Who
//! finds the budget used up waits, and reads no more from its socket. Two rules keep the waiting
//! short. One request at a time may go beyond the budget, so that requests which each hold a part
//! never wait for one another; and while somebody waits, a request that holds memory and does not
//! arrive at a fair pace ([`Scarcity`]) is given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests up to this size are not counted.
const UNCOUNTED: usize = 64 << 10;
/// The unit in which is counted.
const UNIT: usize = 1 << 10;

/// The pace that a request has to keep while others wait for the memory that it holds.
#[derive(Clone, Copy, Debug)]
pub struct Scarcity {
    /// In each period of this length ...
    pub period: Duration,
    /// ... this many bytes have to come.
    pub bytes: usize,
}

impl Default for Scarcity {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(2),
            bytes: 64 << 10,
        }
    }
}

/// What all requests of a listener may take together, but for one request more.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    /// The one that may go beyond.
    beyond: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    scarcity: Scarcity,
}

impl Budget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self::with_scarcity(bytes, Scarcity::default())
    }

    /// A budget of `bytes`, with this pace when it is used up.
    #[must_use]
    pub fn with_scarcity(bytes: usize, scarcity: Scarcity) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(units)),
            beyond: Arc::new(Semaphore::new(1)),
            waiting: Arc::default(),
            scarcity,
        }
    }

    /// For a request of which nothing has arrived.
    #[must_use]
    pub fn open(&self) -> Held {
        Held {
            budget: self.clone(),
            units: None,
            beyond: None,
        }
    }

    /// Bytes that are free.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.units.available_permits() * UNIT
    }

    /// Whether a request goes beyond it.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.beyond.available_permits() == 0
    }

    /// The pace that is asked for when the budget is used up.
    #[must_use]
    pub const fn scarcity(&self) -> Scarcity {
        self.scarcity
    }
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    units: Option<OwnedSemaphorePermit>,
    beyond: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Waits until `bytes` may be held in all. What is held already counts.
    pub async fn grow(&mut self, bytes: usize) {
        if bytes <= UNCOUNTED || self.beyond.is_some() {
            return;
        }
        let held = self.units.as_ref().map_or(0, |units| units.num_permits());
        let more = bytes.div_ceil(UNIT).saturating_sub(held);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if let Ok(permit) = self.budget.units.clone().try_acquire_many_owned(more) {
            self.add(permit);
            return;
        }
        let _waiting = Waiting::new(&self.budget.waiting);
        let (units, beyond) = (self.budget.units.clone(), self.budget.beyond.clone());
        tokio::select! {
            biased;
            permit = units.acquire_many_owned(more) => {
                self.add(permit.expect("this semaphore is never closed"));
            }
            permit = beyond.acquire_owned() => {
                self.beyond = Some(permit.expect("this semaphore is never closed"));
            }
        }
    }

    /// Whether somebody waits while this holds something.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        let holds = self.units.is_some() || self.beyond.is_some();
        holds && self.budget.waiting.load(Ordering::Acquire) > 0
    }

    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.units {
            Some(units) => units.merge(permit),
            None => self.units = Some(permit),
        }
    }
}

/// One who waits, as long as this lives.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the records in all answers may take together until they are written. Nobody waits for
/// it: who reads records takes no more than there is room for.
#[derive(Clone, Debug)]
pub struct AnswerBudget {
    units: Arc<Semaphore>,
}

impl AnswerBudget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(units)),
        }
    }

    /// Bytes that are free.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.units.available_permits() * UNIT
    }

    /// Room for `bytes`, or for as much as there is.
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> Room {
        let mut wanted = bytes.div_ceil(UNIT);
        loop {
            wanted = wanted.min(self.units.available_permits());
            let units = u32::try_from(wanted).unwrap_or(u32::MAX);
            // Somebody may have been faster: then there is less.
            match self.units.clone().try_acquire_many_owned(units) {
                Ok(units) => return Room { units },
                Err(_) => wanted /= 2,
            }
        }
    }
}

/// Room for records in one answer; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    units: OwnedSemaphorePermit,
}

impl Room {
    /// How much is left of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.units.num_permits() * UNIT
    }

    /// The same bytes, with the room that they take: it is free again when the last handle on
    /// them is dropped. Bytes beyond the room (the one batch that always comes) take what is left.
    #[must_use]
    pub fn fill(&mut self, bytes: Bytes) -> Bytes {
        let units = bytes.len().div_ceil(UNIT).min(self.units.num_permits());
        match self.units.split(units) {
            Some(units) if units.num_permits() > 0 => Bytes::from_owner(Counted {
                bytes,
                _units: units,
            }),
            _ => bytes,
        }
    }
}

/// Bytes and the room that they take.
struct Counted {
    bytes: Bytes,
    _units: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_is_small_is_not_counted_and_what_grows_is_counted_once() {
        let budget = Budget::new(MIB);
        let mut held = budget.open();
        held.grow(UNCOUNTED).now_or_never().expect("at once");
        assert_eq!(budget.free_bytes(), MIB);
        for bytes in [100 << 10, 200 << 10, 150 << 10, 200 << 10] {
            held.grow(bytes).now_or_never().expect("at once");
        }
        assert_eq!(budget.free_bytes(), MIB - (200 << 10));
        drop(held);
        assert_eq!(budget.free_bytes(), MIB);
    }

    #[test]
    fn parts_that_wait_for_one_another_are_let_through_one_by_one() {
        let budget = Budget::new(MIB);
        let mut parts: Vec<Held> = (0..4).map(|_| budget.open()).collect();
        for part in &mut parts {
            part.grow(MIB / 4).now_or_never().expect("there is room");
        }
        assert!(!parts[0].is_wanted());
        // Nobody has what the others need: one goes beyond, the next waits for its end.
        while let Some(mut first) = parts.pop() {
            first.grow(MIB).now_or_never().expect("the one beyond");
            if let Some(next) = parts.last_mut() {
                let mut waits = Box::pin(next.grow(MIB));
                assert!(waits.as_mut().now_or_never().is_none());
                assert!(first.is_wanted());
            }
            assert!(!first.is_wanted(), "who gave up no longer waits");
        }
        assert_eq!(budget.free_bytes(), MIB);
    }

    #[test]
    fn a_request_larger_than_the_budget_is_let_through() {
        let budget = Budget::new(MIB);
        let mut held = budget.open();
        held.grow(10 * MIB).now_or_never().expect("the one beyond");
        held.grow(20 * MIB).now_or_never().expect("still the one");
    }

    #[test]
    fn records_take_room_until_the_last_handle_on_them_is_gone() {
        let budget = AnswerBudget::new(MIB);
        let mut room = budget.reserve(600 << 10);
        assert_eq!(room.bytes(), 600 << 10);
        let records = room.fill(Bytes::from(vec![7; 100 << 10]));
        drop(room);
        assert_eq!(budget.free_bytes(), MIB - (100 << 10));
        let part = records.slice(10..20);
        assert_eq!(part, vec![7; 10]);
        drop(records);
        assert_eq!(budget.free_bytes(), MIB - (100 << 10));
        drop(part);
        assert_eq!(budget.free_bytes(), MIB);
    }

    #[test]
    fn who_comes_when_there_is_little_room_gets_little_and_then_none() {
        let budget = AnswerBudget::new(MIB);
        let first = budget.reserve(MIB - UNIT);
        let mut second = budget.reserve(MIB);
        assert_eq!((first.bytes(), second.bytes()), (MIB - UNIT, UNIT));
        let beyond = second.fill(Bytes::from(vec![7; 10 * UNIT]));
        assert_eq!(second.bytes(), 0);
        let mut third = budget.reserve(MIB);
        assert_eq!(third.bytes(), 0);
        assert_eq!(third.fill(beyond.clone()), beyond);
        drop((first, second, third, beyond));
        assert_eq!(budget.free_bytes(), MIB);
    }
}
