//! The end of a run: check what was recorded, render the report, tell the user.

use std::path::Path;

use anyhow::Context as _;
use checker::verdict::Conclusion;
use checker::{Options, Verdict};
use serde_json::json;

use super::folder::Folder;
use crate::cli::RunArgs;
use crate::exit::Exit;
use crate::history::Sentry;

/// The exit of a verdict.
#[must_use]
pub fn exit_of(conclusion: Conclusion) -> Exit {
    match conclusion {
        Conclusion::Valid => Exit::Valid,
        Conclusion::Invalid => Exit::Invalid,
        Conclusion::Unknown => Exit::Unknown,
        Conclusion::Vacuous => Exit::Vacuous,
        Conclusion::Stalled => Exit::Stalled,
        Conclusion::Infrastructure => Exit::Infrastructure,
    }
}

/// Checks the history; what broke outside of it (`broken`) makes the run infrastructure, unless
/// the history proves worse.
///
/// # Errors
/// Where our own history cannot be read: a defect of ours.
pub fn check(history: &Path, args: &RunArgs, broken: &[String]) -> anyhow::Result<Verdict> {
    let options = Options {
        profile: profile(args).to_owned(),
        recovery_limit: args.recovery_limit,
        ..Options::default()
    };
    let mut verdict = checker::check_path(history, &options).context("our own history is bad")?;
    if !broken.is_empty() {
        verdict.notes.extend(broken.iter().cloned());
        if Conclusion::Infrastructure < verdict.verdict {
            verdict.verdict = Conclusion::Infrastructure;
            verdict.sentence = format!(
                "Infrastructure: this says nothing about the broker, the test bed failed: {}",
                broken[0]
            );
        }
    }
    Ok(verdict)
}

/// What looks at events as they are recorded, by the clauses of the verdict.
#[must_use]
pub fn sentry(args: &RunArgs) -> Sentry {
    let options = Options {
        profile: profile(args).to_owned(),
        ..Options::default()
    };
    Sentry::new(options, usize::try_from(args.partitions()).unwrap_or(1))
}

/// The clauses that hold for what producers were told to wait for.
#[must_use]
pub fn profile(args: &RunArgs) -> &'static str {
    match args.acks {
        crate::clients::Acks::Zero => "at-most-once",
        crate::clients::Acks::One => "acks1",
        crate::clients::Acks::All => "safe",
    }
}

/// Stores the verdict, renders the report, and prints the last lines.
///
/// # Errors
/// Where the run's folder cannot be written.
pub fn conclude(
    folder: &Folder,
    args: &RunArgs,
    verdict: &Verdict,
    replay: &str,
) -> anyhow::Result<Exit> {
    let stored = serde_json::to_value(verdict).context("a verdict is JSON")?;
    folder.write_json("verdict.json", &stored)?;
    if let Err(error) = checker::report::render(folder.path()) {
        // The verdict stands without its picture.
        say!("the report could not be rendered: {error}");
    }
    let report = folder.shown("report.html");
    if args.json {
        let mut object = stored;
        object["replay"] = json!(replay);
        object["report"] = json!(report);
        object["folder"] = json!(folder.path());
        tell!("{object}");
    } else {
        tell!("{}", verdict.sentence);
        tell!("replay: {replay}");
        tell!("report: {report}");
    }
    Ok(exit_of(verdict.verdict))
}
