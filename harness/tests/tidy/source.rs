//! The sources under the rules: every Rust file that git tracks, with what is test code marked.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One Rust file.
pub struct Source {
    /// Path from the repository's root, with `/`.
    pub path: String,
    /// Its lines, without line ends.
    pub lines: Vec<String>,
    /// Index of the first line that belongs to an inline test module; all lines for test files.
    pub tests_from: usize,
}

impl Source {
    /// A source from its text.
    pub fn new(path: &str, text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let is_test = path.contains("/tests/")
            || path.contains("/benches/")
            || path.contains("/examples/")
            || path.ends_with("_test.rs")
            || path.ends_with("/tests.rs");
        let inline = lines.windows(2).position(|pair| {
            pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod ")
        });
        let tests_from = if is_test {
            0
        } else {
            inline.unwrap_or(lines.len())
        };
        Self {
            path: path.to_owned(),
            lines,
            tests_from,
        }
    }

    /// Lines of production code with their numbers, comments cut off.
    pub fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines[..self.tests_from]
            .iter()
            .enumerate()
            .map(|(i, line)| (i + 1, code(line)))
    }

    /// Lines of test code with their numbers, comments cut off.
    pub fn tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let from = self.tests_from;
        self.lines[from..]
            .iter()
            .enumerate()
            .map(move |(i, line)| (from + i + 1, code(line)))
    }

    /// One breach.
    pub fn breach(&self, line: usize, what: &str) -> String {
        format!("  {}:{line}: {what}", self.path)
    }
}

/// The line without its comment. A `//` inside a string (a URL) is not a comment.
fn code(line: &str) -> &str {
    let mut in_string = false;
    let bytes = line.as_bytes();
    for at in 0..bytes.len() {
        match bytes[at] {
            b'"' if at == 0 || bytes[at - 1] != b'\\' => in_string = !in_string,
            b'/' if !in_string && bytes.get(at + 1) == Some(&b'/') => return &line[..at],
            _ => {}
        }
    }
    line
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the workspace")
        .into()
}

/// Every Rust file that git tracks (in an exported tree without git: every one below the crates).
pub fn tracked() -> Vec<Source> {
    let root = root();
    let listed = Command::new("git")
        .args(["ls-files", "*.rs"])
        .current_dir(&root)
        .output();
    let paths: Vec<String> = match listed {
        Ok(out) if out.status.success() && !out.stdout.is_empty() => {
            String::from_utf8_lossy(&out.stdout)
                .lines()
                .map(str::to_owned)
                .collect()
        }
        _ => ["broker", "checker", "harness", "nemesis"]
            .iter()
            .flat_map(|krate| below(&root, &root.join(krate)))
            .collect(),
    };
    let read = |path: &String| Some((path.clone(), std::fs::read_to_string(root.join(path)).ok()?));
    paths
        .iter()
        .filter_map(read)
        .map(|(path, text)| Source::new(&path, &text))
        .collect()
}

fn below(root: &Path, dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(below(root, &path));
        } else if path.extension().is_some_and(|ext| ext == "rs")
            && let Ok(relative) = path.strip_prefix(root)
        {
            found.push(relative.to_string_lossy().replace('\\', "/"));
        }
    }
    found.sort();
    found
}

#[test]
fn comments_are_cut_and_urls_are_not() {
    assert_eq!(code("let x = 1; // why"), "let x = 1; ");
    assert_eq!(
        code(r#"let u = "http://x"; // y"#),
        r#"let u = "http://x"; "#
    );
}

#[test]
fn inline_tests_are_told_from_production() {
    let source = Source::new("a/src/b.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
    assert_eq!(source.production().count(), 1);
    assert_eq!(
        Source::new("a/tests/b.rs", "fn a() {}")
            .production()
            .count(),
        0
    );
}
