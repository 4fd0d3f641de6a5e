//! One check from end to end: read, derive, analyse, judge.

use std::path::Path;

use crate::analysis::facts::{Dialect, Facts};
use crate::analysis::list_append::Demand;
use crate::history::read::read_path;
use crate::verdict::profile::Bench;
use crate::verdict::{Verdict, conclude, lists};
use crate::{CheckError, History, Model, Options, analysis};

/// Checks a history file, the history of a run's folder, or standard input (`-`).
///
/// # Errors
/// [`CheckError`] where the history cannot be read or an option names something that does not
/// exist. Whatever is wrong with what the history *says* is part of the verdict.
pub fn check_path(path: &Path, options: &Options) -> Result<Verdict, CheckError> {
    check(&read_path(path)?, options)
}

/// Checks a history in memory.
///
/// # Errors
/// [`CheckError::Usage`] where an option names something that does not exist.
pub fn check(history: &History, options: &Options) -> Result<Verdict, CheckError> {
    if options.model == Model::ListAppend {
        let demand = Demand::new(options)?;
        let findings = analysis::list_append::run(history, &demand, options);
        analysis::recheck::lists(history, &findings)?;
        return Ok(lists::conclude(history, &demand, &findings));
    }
    let bench = Bench::new(history, options)?;
    let facts = Facts::derive(history, Dialect::of(&bench));
    let (findings, evidence) = analysis::run(&facts, &bench, options);
    analysis::recheck::kafka(history, &findings)?;
    Ok(conclude::conclude(
        &facts, &bench, &findings, &evidence, options,
    ))
}
