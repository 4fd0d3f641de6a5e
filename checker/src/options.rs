//! What the caller may ask of a check (history.md section 2).

use std::time::Duration;

/// Which model the history is held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// Logs with offsets.
    #[default]
    Kafka,
    /// Elle's list-append.
    ListAppend,
}

/// How consumers were attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubVia {
    /// By hand.
    Assign,
    /// By group.
    Subscribe,
}

/// Options of one check; `Options::default()` is what the command line does without flags.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--model`
    pub model: Model,
    /// `--profile`: a name out of `checker profiles`. Empty: the one that fits the history's own
    /// settings, which is `safe` unless they say otherwise.
    pub profile: String,
    /// `--sub-via`; empty means: read it from the history.
    pub sub_via: Vec<SubVia>,
    /// `--ww-deps`
    pub ww_deps: bool,
    /// `--anomalies`: look for these in any case.
    pub anomalies: Vec<String>,
    /// `--strict-reads`
    pub strict_reads: bool,
    /// `--recovery-limit`
    pub recovery_limit: Duration,
    /// `--consistency-model`
    pub consistency_models: Vec<String>,
    /// At most this many details of each type are listed; totals always count all.
    pub limit: usize,
    /// At most this many stories are told.
    pub stories: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            model: Model::Kafka,
            profile: String::new(),
            sub_via: Vec::new(),
            ww_deps: false,
            anomalies: Vec::new(),
            strict_reads: false,
            recovery_limit: Duration::from_secs(30),
            consistency_models: Vec::new(),
            limit: 1000,
            stories: 200,
        }
    }
}
