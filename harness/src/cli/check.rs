//! Checks a stored run again, and draws its report again. Nothing here talks to a cluster.

use std::path::Path;

use checker::{CheckError, Options, Verdict};

use crate::exit::Exit;
use crate::run::exit_of;

/// Checks a run's folder or a history file.
pub fn check(path: &Path, profile: &str, json: bool) -> Exit {
    let options = Options {
        profile: profile.to_owned(),
        ..Options::default()
    };
    match checker::check_path(path, &options) {
        Ok(verdict) => {
            print(&verdict, json);
            exit_of(verdict.verdict)
        }
        Err(error) => {
            say!("{error}");
            match error {
                CheckError::Usage(_) => Exit::Usage,
                _ => Exit::BadInput,
            }
        }
    }
}

fn print(verdict: &Verdict, json: bool) {
    if json {
        let text = serde_json::to_string(verdict).expect("a verdict is JSON");
        tell!("{text}");
    } else {
        tell!("{}", verdict.sentence);
        for (name, total) in &verdict.totals {
            tell!("  {name}: {total}");
        }
    }
}

/// Draws a run's report again.
pub fn report(dir: &Path) -> Exit {
    let of_a_run = ["history.jsonl", "verdict.json", "run.json"];
    if dir.is_dir() && !of_a_run.iter().any(|file| dir.join(file).exists()) {
        let dir = dir.display();
        say!(
            "{dir} is no run's folder: it has none of {}",
            of_a_run.join(", ")
        );
        return Exit::BadInput;
    }
    match checker::report::render(dir) {
        Ok(files) => {
            tell!("{}", files.html.display());
            Exit::Valid
        }
        Err(error) => {
            say!("{error}");
            Exit::BadInput
        }
    }
}
