//! The harness: starts a cluster, drives it through librdkafka while the nemesis is at work,
//! records every invocation and completion, has the history checked, and reports.
//!
//! # Layout
//! * [`exit`]: what each exit code means
//! * [`value`]: what is inside a message
//! * [`kafka`]: our own small client, for questions to one certain broker
//! * [`history`]: the events of a run and the recorder

pub mod exit;
pub mod history;
pub mod kafka;
pub mod value;
