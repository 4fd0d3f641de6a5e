//! A client of our own, for where librdkafka cannot go: inside a simulation, whose network and
//! clock are not the operating system's.
//!
//! Small on purpose: an idempotent producer and a reader of given partitions, without a thread,
//! on the broker's network seam. What an error means for a message is decided in [`classify`],
//! and a test holds that against librdkafka's own decisions.

pub mod classify;
mod metadata;
mod producer;
mod reader;

pub use producer::OwnProducer;
pub use reader::OwnReader;
