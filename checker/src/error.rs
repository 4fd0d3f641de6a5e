//! Why a history could not be checked. Findings are not errors: they are part of a verdict.

use std::path::PathBuf;

/// What stops the checker before it has a verdict.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}: {source}; give a history file, a run's folder, or - for stdin")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not what history.md says.
    #[error(
        "{file}, line {line}, column {column}: field `{field}`: expected {expected}, found {found}"
    )]
    Malformed {
        /// File name, or `-`.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column in bytes, from 1.
        column: usize,
        /// Field, as a path: `value[3][2]`.
        field: String,
        /// What stands there in a good history.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A folder without a history.
    #[error("{path} holds no history.jsonl: it is not a run's folder")]
    NoHistory {
        /// The folder.
        path: PathBuf,
    },
    /// More than the checker's tables can number.
    #[error("{file}, line {line}: more than {limit} {what}: split the history")]
    TooLarge {
        /// File name, or `-`.
        file: String,
        /// Line, from 1.
        line: u64,
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A finding does not hold when it is looked up in the history: a fault of the checker.
    #[error(
        "internal error: a witness of {anomaly} does not hold ({claim}): {detail}; please report it \
         with the history"
    )]
    Witness {
        /// The finding's type.
        anomaly: &'static str,
        /// What should have held.
        claim: &'static str,
        /// The finding.
        detail: String,
    },
    /// An option names something that does not exist.
    #[error("{0}")]
    Usage(String),
}

impl CheckError {
    /// The process's exit code for this error (history.md): 64 usage, 65 bad input, 70 internal.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            CheckError::Usage(_) => 64,
            CheckError::Witness { .. } => 70,
            _ => 65,
        }
    }
}
