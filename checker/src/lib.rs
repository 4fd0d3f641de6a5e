//! Reads a history, proves what went wrong, says so in plain words. Black box: a history is all
//! it sees; no cluster, no network.
//!
//! # Layout
//!
//! * [`history`]: the history in memory, in columns.
//! * [`compression`]: gzip and zstd.
//! * [`analysis`]: what is wrong with it, one file an anomaly.
//! * [`options`]: what the caller may ask.
//! * [`verdict`]: the result.
//! * [`explain`]: one finding, or one message, step by step.
//! * [`online`]: a check of a history that is still growing.
//! * [`report`]: a run's folder as a page and pictures.
//! * [`simulate`]: histories of a correct cluster, for controls.

pub mod analysis;
mod check;
pub mod compression;
pub mod error;
pub mod explain;
pub mod history;
pub mod online;
pub mod options;
pub mod report;
pub mod simulate;
mod suggest;
pub mod verdict;

pub use check::{check, check_path};
pub use error::CheckError;
pub use history::History;
pub use options::{Model, Options, SubVia};
pub use verdict::Verdict;
