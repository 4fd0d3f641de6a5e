//! What is sent and read, by whom, and when.
//!
//! * [`plan`] and [`pace`]: which messages, and when they are due; pure functions of the seed.
//! * [`producers`], [`consumers`]: the clients of the main phase, a thread each.
//! * [`drain`]: fresh consumers that read everything up to ends asked from every broker.
//! * [`probe`]: one message to each partition, to see that the cluster takes writes again.
//!
//! Every operation of every client is recorded, probes and drains included: a message that was
//! not recorded would look like one that nobody sent.

pub mod consumers;
mod context;
pub mod drain;
pub mod large_batch;
pub mod pace;
pub mod plan;
pub mod probe;
pub mod producers;

pub use context::{Clients, Stats};
