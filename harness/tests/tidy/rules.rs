//! The rules themselves: pure functions from one source to its breaches.

use crate::source::Source;

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 800;
/// Longest function, in lines, its signature included.
const FUNCTION_LINES_MAX: usize = 70;
/// Longest line, in characters; lines with a URL or a long string literal are excused.
const COLUMNS_MAX: usize = 100;

pub fn file_length(source: &Source) -> Vec<String> {
    let lines = source.lines.len();
    if lines > FILE_LINES_MAX {
        vec![source.breach(lines, "split it: one idea a file")]
    } else {
        Vec::new()
    }
}

/// In rustfmt's layout a function ends at the first `}` with the indentation of its `fn` line.
pub fn function_length(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    for (at, line) in source.lines.iter().enumerate() {
        let text = line.trim_start();
        let head = text
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ");
        let head = head
            .trim_start_matches("pub(super) ")
            .trim_start_matches("const ");
        let head = head
            .trim_start_matches("async ")
            .trim_start_matches("unsafe ");
        if !head.starts_with("fn ") {
            continue;
        }
        let indent = &line[..line.len() - text.len()];
        let close = format!("{indent}}}");
        let length = source.lines[at..]
            .iter()
            .position(|l| *l == close || l.trim_end() == close);
        if let Some(length) = length
            && length + 1 > FUNCTION_LINES_MAX
            && !source.lines[at..at + 8.min(source.lines.len() - at)]
                .iter()
                .take_while(|l| !l.trim_end().ends_with('{'))
                .any(|l| l.trim_end().ends_with(';'))
        {
            breaches.push(source.breach(at + 1, &format!("{} lines long", length + 1)));
        }
    }
    breaches
}

pub fn line_length(source: &Source) -> Vec<String> {
    let too_long = |line: &str| {
        line.chars().count() > COLUMNS_MAX && !line.contains("://") && !line.contains('"')
    };
    let numbered = source.lines.iter().enumerate();
    let breaches = numbered.filter(|(_, line)| too_long(line));
    breaches
        .map(|(at, line)| source.breach(at + 1, &format!("{} columns", line.len())))
        .collect()
}

/// Markers that must not be committed. Written in halves, so that this file does not trip itself.
fn leftover_markers() -> Vec<String> {
    let halves = [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("XX", "X:"),
        ("HA", "CK:"),
        ("db", "g!("),
        ("to", "do!("),
        ("unimpl", "emented!("),
        ("#[ign", "ore"),
        ("allow(dead", "_code)"),
    ];
    halves.iter().map(|(a, b)| format!("{a}{b}")).collect()
}

pub fn markers(source: &Source) -> Vec<String> {
    let markers = leftover_markers();
    let mut breaches = Vec::new();
    for (at, line) in source.lines.iter().enumerate() {
        for marker in &markers {
            let alone = |from: usize| {
                !line[..from].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                    && !line[from + marker.len()..].starts_with(|c: char| c.is_alphanumeric())
            };
            if line.match_indices(marker.as_str()).any(|(from, _)| {
                alone(from) || marker.ends_with('(') && !line[..from].ends_with('_')
            }) {
                breaches.push(source.breach(at + 1, &format!("`{marker}` left behind")));
            }
        }
    }
    breaches
}

pub fn unwraps(source: &Source) -> Vec<String> {
    let unwrap = concat!(".unw", "rap()");
    let lines = source
        .production()
        .filter(|(_, line)| line.contains(unwrap));
    let mend = "say with `expect` why it cannot fail, or return an error";
    lines.map(|(at, _)| source.breach(at, mend)).collect()
}

pub fn module_doc(source: &Source) -> Vec<String> {
    let first = source.lines.first();
    let documented = first.is_some_and(|line| line.starts_with("//!"));
    // A file of unit tests is named after what it tests.
    let unit_tests = source.tests_from == 0 && source.path.contains("/src/");
    if documented || unit_tests {
        Vec::new()
    } else {
        vec![source.breach(1, "say in `//!` what this file is")]
    }
}

/// Files that decide: they take `now` and return effects.
const PURE: &[&str] = &[
    "broker/src/replica/leader.rs",
    "broker/src/replica/follower.rs",
    "broker/src/replica/isr.rs",
    "broker/src/replica/watermark.rs",
    "broker/src/meta/state.rs",
    "broker/src/meta/controller.rs",
    "broker/src/meta/command.rs",
    "broker/src/meta/image.rs",
    "broker/src/producer/state.rs",
    "nemesis/src/schedule.rs",
];

const IMPURE: &[&str] = &[
    "tokio::",
    "std::time::Instant",
    "SystemTime",
    "std::fs",
    "std::net",
    "rand::rng",
    "redb::",
];

pub fn purity(source: &Source) -> Vec<String> {
    if !PURE.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let mut breaches = Vec::new();
    for (at, line) in source.production() {
        for import in IMPURE.iter().filter(|import| line.contains(**import)) {
            breaches.push(source.breach(at, &format!("a pure core uses `{import}`")));
        }
    }
    breaches
}

/// What only some files of the broker may use: (text, where it is allowed, mend).
const SEAMS: &[(&str, &[&str], &str)] = &[
    (
        "tokio::spawn(",
        &["broker/src/exec.rs", "broker/src/sim/"],
        "start tasks through `exec`",
    ),
    (
        "thread::spawn(",
        &["broker/src/exec.rs"],
        "start threads through `exec`",
    ),
    (
        "thread::Builder",
        &["broker/src/exec.rs"],
        "start threads through `exec`",
    ),
    (
        "spawn_blocking(",
        &[],
        "blocking work has threads of its own (`exec`)",
    ),
    ("tokio::net::", &["broker/src/net/"], "sockets are in `net`"),
    (
        "std::net::Tcp",
        &["broker/src/net/"],
        "sockets are in `net`",
    ),
    (
        "std::fs::",
        &["broker/src/storage/"],
        "files are in `storage`",
    ),
    ("tokio::fs", &[], "files are in `storage`"),
    (
        ".datasync(",
        &["broker/src/log/wal", "broker/src/storage/"],
        "only the WAL syncs",
    ),
    (
        "std::time::Instant",
        &["broker/src/exec.rs", "broker/src/locks"],
        "time is tokio's, or passed in",
    ),
    ("rand::rng()", &[], "randomness comes from the seed"),
    ("futures::select!", &[], "its order is not seeded"),
];

pub fn seams(source: &Source) -> Vec<String> {
    if !source.path.starts_with("broker/src/") {
        return Vec::new();
    }
    let mut breaches = Vec::new();
    for (at, line) in source.production() {
        for (text, allowed, mend) in SEAMS {
            let excused = allowed.iter().any(|path| source.path.starts_with(path));
            if line.contains(text) && !excused {
                breaches.push(source.breach(at, &format!("`{text}`: {mend}")));
            }
        }
    }
    breaches
}

/// A lock that is not the broker's own has no name, no place in the order and no figures. What
/// stands for a disk or a machine in simulations is no part of the broker.
pub fn locks(source: &Source) -> Vec<String> {
    const EXCUSED: &[&str] = &[
        "broker/src/locks",
        "broker/src/sim/",
        "broker/src/storage/memory.rs",
    ];
    let excused = EXCUSED.iter().any(|path| source.path.starts_with(path));
    if !source.path.starts_with("broker/src/") || excused {
        return Vec::new();
    }
    let mut breaches = Vec::new();
    let mut statement = String::new();
    for (at, line) in source.production() {
        statement.push_str(line);
        let foreign = ["std::sync", "tokio::sync", "parking_lot"]
            .iter()
            .any(|home| statement.contains(home));
        let lock = ["Mutex", "RwLock", "Condvar"]
            .iter()
            .any(|name| statement.contains(name));
        if foreign && lock {
            breaches.push(source.breach(at, "a lock that is not of `crate::locks`"));
        }
        if line.contains([';', '{', '}']) && !line.contains("::{") || foreign && lock {
            statement.clear();
        }
    }
    breaches
}

/// A test that sleeps is slow when it passes and flaky when it does not. Polling helpers live in
/// files named `wait.rs` or say `poll` on the line.
pub fn sleeping_tests(source: &Source) -> Vec<String> {
    if source.path.ends_with("/wait.rs") || source.path.contains("/tidy/") {
        return Vec::new();
    }
    let sleeps = |line: &str| line.contains("thread::sleep(") || line.contains("time::sleep(");
    let excused = |at: usize| {
        let from = at.saturating_sub(4);
        source.lines[from..at]
            .iter()
            .any(|line| line.contains("poll"))
    };
    let lines = source
        .tests()
        .filter(|(at, line)| sleeps(line) && !excused(*at));
    let mend = "wait for a condition (a comment with `poll` says that this is a poll's pause)";
    lines.map(|(at, _)| source.breach(at, mend)).collect()
}

pub fn machine_paths(source: &Source) -> Vec<String> {
    let paths = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
    ];
    let mut breaches = Vec::new();
    for (at, line) in source.lines.iter().enumerate() {
        for path in paths.iter().filter(|path| line.contains(**path)) {
            breaches.push(source.breach(at + 1, &format!("`{path}` is a path of one machine")));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: &str) -> Source {
        Source::new("broker/src/replica/leader.rs", text)
    }

    #[test]
    fn long_files_and_functions_are_found() {
        assert_eq!(file_length(&rust(&"\n".repeat(801))).len(), 1);
        let body = "    let x = 1;\n".repeat(70);
        assert_eq!(
            function_length(&rust(&format!("pub async fn f() {{\n{body}}}\n"))).len(),
            1
        );
        assert!(function_length(&rust("fn f() {\n}\n")).is_empty());
    }

    #[test]
    fn long_lines_are_found_and_urls_are_excused() {
        assert_eq!(line_length(&rust(&"x".repeat(101))).len(), 1);
        assert!(line_length(&rust(&format!("// https://{}", "x".repeat(101)))).is_empty());
    }

    #[test]
    fn every_marker_is_found() {
        for marker in leftover_markers() {
            assert_eq!(
                markers(&rust(&format!("// {marker} later"))).len(),
                1,
                "{marker}"
            );
        }
        assert!(markers(&rust("let mastodon = 1;")).is_empty());
    }

    #[test]
    fn unwraps_are_found_outside_tests_only() {
        let unwrap = concat!("x.unw", "rap();");
        assert_eq!(unwraps(&rust(unwrap)).len(), 1);
        assert!(unwraps(&rust(&format!("#[cfg(test)]\nmod tests {{\n{unwrap}\n}}"))).is_empty());
    }

    #[test]
    fn missing_module_docs_are_found() {
        assert_eq!(module_doc(&rust("use x;")).len(), 1);
        assert!(module_doc(&rust("//! What it is.")).is_empty());
    }

    #[test]
    fn impure_cores_and_broken_seams_are_found() {
        assert_eq!(purity(&rust("use tokio::time;")).len(), 1);
        assert_eq!(seams(&rust("tokio::spawn(async {});")).len(), 1);
        let foreign = "use std::sync::{\n    Arc,\n    Mutex,\n};\nfn f() {}\n";
        assert_eq!(locks(&rust(foreign)).len(), 1);
        assert_eq!(locks(&rust("a: tokio::sync::Mutex<u8>,")).len(), 1);
        assert!(locks(&rust("use crate::locks::{Lock, Mutex};")).is_empty());
        assert!(seams(&Source::new("broker/src/exec.rs", "tokio::spawn(task)")).is_empty());
    }

    #[test]
    fn sleeping_tests_and_machine_paths_are_found() {
        let sleep = "std::thread::sleep(d);";
        let test = |text: &str| Source::new("broker/tests/a.rs", text);
        assert_eq!(sleeping_tests(&test(sleep)).len(), 1);
        assert!(sleeping_tests(&test(&format!("// poll again soon\n{sleep}"))).is_empty());
        assert_eq!(machine_paths(&rust(concat!("\"/ro", "ot/x\""))).len(), 1);
    }
}
