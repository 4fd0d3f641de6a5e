//! A reference Kafka-compatible broker whose job is to lose nothing that it acknowledged.
//!
//! # Layout
//! * [`types`], [`config`]: the field's quantities, and every setting.
//! * [`replica`]: pure cores of ISR replication (`leader`, `follower`, `isr`, `watermark`) and the
//!   shell that runs them (`partition`, `fetcher`, `view`, `waiters`).
//! * [`meta`]: cluster metadata through one Raft group.
//! * [`log`], [`storage`]: the WAL and the partitions' logs in it; only they touch files.
//! * [`net`], [`wire`], [`api`]: listeners, frames, and one file per Kafka API.
//! * `sim` (feature `simulation`): machines, processes and a network in one thread.
//! * [`producer`]: idempotence. [`chaos`]: seeded bugs. [`invariants`]: what must hold, by name.
//!   [`exec`]: where tasks are started. [`locks`]: every lock, in order.

pub mod admin;
pub mod api;
pub mod chaos;
pub mod clock;
pub mod config;
pub mod exec;
pub mod invariants;
pub mod locks;
pub mod log;
pub mod meta;
pub mod metrics;
pub mod net;
pub mod node;
pub mod producer;
pub mod replica;
#[cfg(feature = "simulation")]
pub mod sim;
pub mod storage;
pub mod types;
pub mod wire;
