//! A proxy that understands Kafka's protocol, between clients and brokers: for faults that bytes
//! do not have. An answer is lost after the broker acted; a request reaches it twice, or late;
//! somebody else answers; what was true before is told again.
//!
//! * [`frame`], [`shapes`]: reading what is not to be trusted
//! * [`answer`]: answers that are not the broker's
//! * [`memory`]: metadata as it was before
//! * [`front`], [`pump`]: where clients come to, and what goes through
//! * [`address`]: somebody else's brokers name themselves; clients have to come here
//!
//! What nobody has asked to be hurt passes as it came, byte by byte, but for addresses.

mod address;
mod answer;
mod frame;
mod front;
mod memory;
mod pump;
mod shapes;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use nemesis::wire::{Lie, Request, WireFault, WireOrder, WireStatus};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;

pub use address::Addresses;
pub use front::{Front, Fronts};

use frame::Head;
use memory::Memory;

/// A fault that holds.
struct Active {
    tag: String,
    fault: WireFault,
    seen: u64,
    hit: u64,
}

struct State {
    active: Vec<Active>,
    rng: ChaCha8Rng,
}

/// What the nemesis has done to the wire of one broker.
pub struct Wire {
    state: Mutex<State>,
    memory: Mutex<Memory>,
    /// Told when a fault begins or ends.
    changed: watch::Sender<()>,
}

/// What is to become of one request and its answer.
#[derive(Debug, PartialEq)]
enum Fate {
    /// Nothing.
    Pass,
    /// Its answer is lost, and then the connection.
    Lost { tag: String, linger: Duration },
    /// Its answer is held.
    Held { tag: String, delay: Duration },
    /// It is sent twice, with so many others between.
    Twice { tag: String, behind: u32 },
    /// It is cut off, and sent later.
    Late { tag: String, delay: Duration },
    /// Somebody else answers for this partition, or for all.
    Lied {
        tag: String,
        partition: Option<u32>,
        lie: Lie,
    },
    /// It is answered with what was so before.
    Stale { tag: String, body: Bytes },
}

impl Default for Wire {
    fn default() -> Self {
        let state = State {
            active: Vec::new(),
            // Which requests are hit depends on when they come, which repeats for no seed.
            rng: ChaCha8Rng::seed_from_u64(0),
        };
        let (changed, _) = watch::channel(());
        Self {
            state: Mutex::new(state),
            memory: Mutex::default(),
            changed,
        }
    }
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does as ordered, twice as once, and reports what holds.
    pub fn obey(&self, order: &WireOrder) -> Vec<WireStatus> {
        let mut state = self.state();
        match order {
            WireOrder::Begin { tag, fault } => {
                let known = state.active.iter().any(|active| active.tag == *tag);
                if !known {
                    state.active.push(Active {
                        tag: tag.clone(),
                        fault: *fault,
                        seen: 0,
                        hit: 0,
                    });
                    self.changed.send_replace(());
                }
            }
            WireOrder::End { tag } => {
                state.active.retain(|active| active.tag != *tag);
                self.changed.send_replace(());
            }
            WireOrder::Status => {}
        }
        let status = |active: &Active| WireStatus {
            tag: active.tag.clone(),
            seen: active.seen,
            hit: active.hit,
        };
        state.active.iter().map(status).collect()
    }

    /// Something was done to a request or an answer.
    fn hit(&self, tag: &str) {
        let mut state = self.state();
        if let Some(active) = state.active.iter_mut().find(|active| active.tag == tag) {
            active.hit += 1;
        }
    }

    /// Whether that fault still holds.
    fn holds(&self, tag: &str) -> bool {
        self.state().active.iter().any(|active| active.tag == tag)
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Decides about a request that has just come.
    fn fate(&self, head: Head, frame: &Bytes) -> Fate {
        let Some(api) = head.api() else {
            return Fate::Pass;
        };
        let mut state = self.state();
        if state.active.is_empty() {
            return Fate::Pass;
        }
        let State { active, rng } = &mut *state;
        for active in active.iter_mut() {
            let Some(percent) = share(active.fault, api) else {
                continue;
            };
            active.seen += 1;
            if rng.random_range(0..100) >= percent {
                continue;
            }
            let tag = active.tag.clone();
            return match active.fault {
                WireFault::DropResponse { linger_ms, .. } => Fate::Lost {
                    tag,
                    linger: ms(linger_ms),
                },
                WireFault::DelayResponse { delay_ms, .. } => Fate::Held {
                    tag,
                    delay: ms(delay_ms),
                },
                WireFault::DuplicateRequest { behind, .. } => Fate::Twice {
                    tag,
                    behind: rng.random_range(0..=behind),
                },
                WireFault::DelayRequest { delay_ms, .. } => Fate::Late {
                    tag,
                    delay: ms(delay_ms),
                },
                WireFault::ErrorCode { partition, lie, .. } => Fate::Lied {
                    tag,
                    partition,
                    lie,
                },
                WireFault::StaleMetadata => match self.memory().before(head, frame) {
                    Some(body) => Fate::Stale { tag, body },
                    None => Fate::Pass,
                },
            };
        }
        Fate::Pass
    }

    /// Whether metadata that comes now is to be remembered: not while old ones are told.
    fn learns(&self) -> bool {
        let state = self.state();
        let stale = |active: &Active| active.fault == WireFault::StaleMetadata;
        !state.active.iter().any(stale)
    }
}

/// Of a hundred requests of this API, how many a fault is to hit; `None`: it is not about them.
fn share(fault: WireFault, api: ApiKey) -> Option<u32> {
    let of = |request: Request| match request {
        Request::Produce => ApiKey::Produce,
        Request::Fetch => ApiKey::Fetch,
    };
    let (wanted, percent) = match fault {
        WireFault::DropResponse {
            request, percent, ..
        }
        | WireFault::DelayResponse {
            request, percent, ..
        }
        | WireFault::ErrorCode {
            request, percent, ..
        } => (of(request), percent),
        WireFault::DuplicateRequest { percent, .. } | WireFault::DelayRequest { percent, .. } => {
            (ApiKey::Produce, percent)
        }
        WireFault::StaleMetadata => (ApiKey::Metadata, 100),
    };
    (wanted == api).then_some(percent)
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
