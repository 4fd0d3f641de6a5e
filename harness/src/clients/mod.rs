//! The clients of the workload: librdkafka's, with every outcome kept.
//!
//! * [`BatchProducer`] keeps librdkafka's message status, so that a message counts as failed only
//!   where it certainly was not persisted.
//! * [`LogReader`] reads partitions from offsets that it is given; it belongs to no group, never
//!   resets an offset by itself, and tells the partition of every error.
//! * [`GroupReader`] is a member of a group, and tells which partitions came and went.
//!
//! Both are used by one thread at a time, and block it. [`Producer`] and [`Reader`] are either
//! these or our [`own`] ones, which a simulation needs.

mod group;
mod library;
mod manners;
mod outcome;
pub mod own;
mod producer;
mod reader;
mod settings;

pub use group::{GroupReader, Moved, refused};
pub use library::{Library, Producer, Reader, beside, finished};
pub use manners::{Breach, Breaches, Manners, OffsetReset};
pub use outcome::{BatchOutcome, ErrorSummary, Fate, code_name, code_text, conclude};
pub use producer::{BatchProducer, Outgoing};
pub use reader::{LogReader, ReadError, ReadProblem, Received};
pub use settings::{Acks, ClientSettings};
