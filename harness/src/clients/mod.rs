//! The clients of the workload: librdkafka's, with every outcome kept.
//!
//! * [`BatchProducer`] keeps librdkafka's message status, so that a message counts as failed only
//!   where it certainly was not persisted.
//! * [`LogReader`] reads partitions from offsets that it is given; it belongs to no group, never
//!   resets an offset by itself, and tells the partition of every error.
//!
//! Both are used by one thread at a time, and block it. [`Producer`] and [`Reader`] are either
//! these or our [`own`] ones, which a simulation needs.

mod library;
mod outcome;
pub mod own;
mod producer;
mod reader;
mod settings;

pub use library::{Library, Producer, Reader, beside, finished};
pub use outcome::{BatchOutcome, ErrorSummary, Fate, conclude};
pub use producer::{BatchProducer, Outgoing};
pub use reader::{LogReader, ReadError, ReadProblem, Received};
pub use settings::{Acks, ClientSettings};
