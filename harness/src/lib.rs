//! The harness: starts a cluster, drives it through librdkafka while the nemesis is at work,
//! records every invocation and completion, has the history checked, and reports.
//!
//! # Layout
//! * [`exit`]: what each exit code means
//! * [`value`]: what is inside a message
//! * [`kafka`]: our own small client, for questions to one certain broker
//! * [`history`]: the events of a run and the recorder
//! * [`artifacts`]: builds the static binaries that go into a node
//! * [`runtime`]: where a cluster runs: containers, or network namespaces

pub mod artifacts;
pub mod exit;
pub mod history;
pub mod kafka;
pub mod runtime;
pub mod value;
