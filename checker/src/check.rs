//! One check from end to end: read, derive, analyse, judge.

use std::io::Read;
use std::path::Path;

use crate::analysis::facts::{Dialect, Facts};
use crate::analysis::list_append::Demand;
use crate::divided;
use crate::history::read::{STDIN, read_parallel, read_part};
use crate::history::select::Selection;
use crate::verdict::profile::Bench;
use crate::verdict::{Verdict, conclude, lists};
use crate::{CheckError, History, Model, Options, analysis, memory, parallel};

/// Checks a history file, the history of a run's folder, or standard input (`-`). A file that does
/// not fit into memory ([`Options::memory`]) is read several times, some of its keys at a time;
/// what spans such parts is left open, and the verdict says so.
///
/// # Errors
/// [`CheckError`] where the history cannot be read or an option names something that does not
/// exist. Whatever is wrong with what the history *says* is part of the verdict.
pub fn check_path(path: &Path, options: &Options) -> Result<Verdict, CheckError> {
    let bound = bound(options);
    let part = read_part(path, Selection::new(bound, None))?;
    let again = (path != Path::new(STDIN)).then_some(path);
    check_parts(part, again, options, bound)
}

/// Checks a history from any reader; `name` is what errors call it. Of one that does not fit into
/// memory only some of the keys are checked, and the verdict says which are not.
///
/// # Errors
/// As [`check_path`].
pub fn check_reader(
    reader: impl Read,
    name: &str,
    options: &Options,
) -> Result<Verdict, CheckError> {
    let bound = bound(options);
    let part = read_parallel(reader, name, Selection::new(bound, None))?;
    check_parts(part, None, options, bound)
}

fn bound(options: &Options) -> usize {
    let bound = options.memory.unwrap_or_else(memory::available);
    usize::try_from(bound).unwrap_or(usize::MAX)
}

/// Checks what was read, and the rest if there is a file to read it from again.
fn check_parts(
    (history, selection): (History, Selection),
    again: Option<&Path>,
    options: &Options,
    bound: usize,
) -> Result<Verdict, CheckError> {
    if selection.whole() {
        return check(&history, options);
    }
    let first = divided::Part { history, selection };
    divided::check_rest(first, again, options, bound)
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
    let (rechecked, verdict) = parallel::both(
        || analysis::recheck::kafka(history, &findings),
        || conclude::conclude(&facts, &bench, &findings, &evidence, options),
    );
    rechecked.map(|()| verdict)
}
