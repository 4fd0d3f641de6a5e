//! The harness: starts a cluster, drives it through librdkafka while the nemesis is at work,
//! records every invocation and completion, has the history checked, and reports.
//!
//! # Layout
//! * [`cli`]: the command line; [`exit`]: what each exit code means
//! * [`run`]: one run from start to verdict
//! * [`workload`]: what is sent and read, and when; [`value`]: what is inside a message;
//!   [`seed`]: where all randomness comes from
//! * [`clients`]: librdkafka's producer and reader with every outcome kept
//! * [`kafka`]: our own small client, for questions to one certain broker; [`sampler`],
//!   [`metrics`] and [`roles`] ask with it
//! * [`history`]: the events of a run and the recorder
//! * [`artifacts`]: builds the static binaries that go into a node
//! * [`runtime`]: where a cluster runs: containers, or network namespaces
//! * [`bench`]: how fast it is; [`matrix`]: which seeded bug is found, how often

// First: its macros are used by all the others.
#[macro_use]
pub mod output;

pub mod artifacts;
pub mod bench;
pub mod cli;
pub mod clients;
pub mod exit;
pub mod history;
pub mod kafka;
pub mod matrix;
pub mod metrics;
pub mod roles;
pub mod run;
pub mod runtime;
pub mod sampler;
pub mod seed;
pub mod value;
pub mod workload;
