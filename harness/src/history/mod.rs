//! The history of a run: its events, and the recorder that writes them down as they happen.
//!
//! The format is Jepsen's, one JSON object a line; it is fixed, because checkers and collections
//! of histories depend on it. Reading histories is the checker's business, not this module's.

mod alarm;
mod event;
mod memory;
mod recorder;

pub use alarm::{Sentry, Violation};
pub use event::{Event, Kind, Polled, Process, Sent, Value};
pub use memory::Memory;
pub use recorder::{HistoryError, Recorder, RecorderThread, in_memory, start, start_watched};
