//! Style as a test: what a reviewer would have to say again and again is said here once.
//!
//! Each rule reads the sources that git tracks and names file, line and mend for every breach;
//! each has a small test of its own below, so that a rule that stops biting is noticed.

mod rules;
mod source;

use source::Source;

/// Runs one rule over the repository and fails with everything it found.
fn enforce(rule: &str, check: impl Fn(&Source) -> Vec<String>) {
    let sources = source::tracked();
    assert!(
        sources.len() > 20,
        "only {} sources found: the rules read nothing",
        sources.len()
    );
    let breaches: Vec<String> = sources.iter().flat_map(check).collect();
    assert!(
        breaches.is_empty(),
        "{rule}: {} breach(es)\n{}",
        breaches.len(),
        breaches.join("\n")
    );
}

#[test]
fn files_are_short_enough_to_be_one_idea() {
    enforce("files have at most 800 lines", rules::file_length);
}

#[test]
fn functions_are_short_enough_to_be_read_at_once() {
    enforce("functions have at most 70 lines", rules::function_length);
}

#[test]
fn lines_fit_on_a_screen() {
    enforce("lines have at most 100 columns", rules::line_length);
}

#[test]
fn no_markers_are_left_behind() {
    enforce("no leftover markers", rules::markers);
}

#[test]
fn nothing_unwraps_outside_tests() {
    enforce("no unwrap outside tests", rules::unwraps);
}

#[test]
fn every_file_says_what_it_is() {
    enforce("files open with a module doc", rules::module_doc);
}

#[test]
fn pure_cores_stay_pure() {
    enforce("pure cores know no IO, clock or runtime", rules::purity);
}

#[test]
fn seams_are_kept() {
    enforce(
        "time, network, files and tasks go through their seams",
        rules::seams,
    );
}

#[test]
fn every_lock_has_a_name() {
    enforce("locks are those of broker/src/locks.rs", rules::locks);
}

#[test]
fn nobody_waits_by_the_clock_in_tests() {
    enforce("tests wait for conditions", rules::sleeping_tests);
}

#[test]
fn no_path_of_one_machine_is_in_the_sources() {
    enforce("no machine's paths", rules::machine_paths);
}
