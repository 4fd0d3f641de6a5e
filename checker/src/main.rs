//! The `checker` binary: arguments in, verdict and exit code out. All the rest is the library's.

mod cli;
mod print;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use clap::error::ErrorKind;

use checker::compression::Output;
use checker::history::read::{edn_to_jsonl, history_file, is_edn, jsonl_to_edn, read_path};
use checker::report::scene::{Scene, Theme, png, svg};
use checker::simulate::generate;
use checker::verdict::profile::Profile;
use checker::{CheckError, Options, Verdict, check_path, explain, report};
use cli::{Check, Cli, Command, Explain, Generate, Shown, Trace};

const USAGE: u8 = 64;
const BAD_INPUT: u8 = 65;
const INTERNAL: u8 = 70;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // Nobody is left to tell if this fails.
            let _ = error.print();
            return ExitCode::from(if asked { 0 } else { USAGE });
        }
    };
    // A panic is our fault, and must not look like a verdict.
    match catch_unwind(AssertUnwindSafe(|| run(&cli.command))) {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(error)) => {
            eprintln!("checker: {error:#}");
            ExitCode::from(exit_code(&error))
        }
        Err(_) => {
            eprintln!("checker: internal error; please report it with the history");
            ExitCode::from(INTERNAL)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<CheckError>() {
        Some(error) => u8::try_from(error.exit_code()).unwrap_or(INTERNAL),
        None if error.is::<report::RenderError>() => BAD_INPUT,
        None => INTERNAL,
    }
}

fn run(command: &Command) -> anyhow::Result<u8> {
    match command {
        Command::Check(check) => run_check(check),
        Command::Explain(arguments) => run_explain(arguments),
        Command::Trace(arguments) => run_trace(arguments),
        Command::Convert { path, output } => run_convert(path, output),
        Command::Report { dir } => {
            let files = report::render(dir)?;
            write_out(&format!("{}\n", files.html.display()))?;
            Ok(0)
        }
        Command::Generate(generate) => run_generate(generate),
        Command::Profiles { name, json } => {
            let profiles = match name {
                Some(name) => vec![Profile::named(name)?],
                None => checker::verdict::profile::PROFILES.iter().collect(),
            };
            let text = if *json {
                print::profiles_json(&profiles)
            } else {
                print::profiles(&profiles)
            };
            write_out(&text)?;
            Ok(0)
        }
    }
}

fn run_check(check: &Check) -> anyhow::Result<u8> {
    let verdict = check_path(&check.path, &check.by.options())?;
    let text = if check.json {
        serde_json::to_string(&verdict).context("a verdict is JSON")? + "\n"
    } else {
        print::verdict(&verdict)
    };
    write_out(&text)?;
    Ok(u8::try_from(verdict.verdict.exit_code()).unwrap_or(INTERNAL))
}

fn run_explain(arguments: &Explain) -> anyhow::Result<u8> {
    let name = arguments.finding.parse()?;
    let history = read_path(&arguments.path)?;
    let options = as_in(&arguments.path, arguments.by.options());
    let told = explain::explain(&history, &options, &name)?;
    draw(&arguments.shown, &told.picture)?;
    let text = match arguments.shown.json {
        true => serde_json::to_string(&told).context("an explanation is JSON")? + "\n",
        false => print::explanation(&told),
    };
    write_out(&text)?;
    Ok(0)
}

fn run_trace(arguments: &Trace) -> anyhow::Result<u8> {
    let history = read_path(&arguments.path)?;
    let options = as_in(&arguments.path, arguments.by.options());
    let told = explain::trace(&history, &options, &arguments.key, &arguments.value)?;
    draw(&arguments.shown, &told.picture)?;
    let text = match arguments.shown.json {
        true => serde_json::to_string(&told).context("a story is JSON")? + "\n",
        false => print::trace(&told),
    };
    write_out(&text)?;
    Ok(0)
}

/// The numbers of a run's findings are those of its verdict: where nothing else is asked for, its
/// profile holds.
fn as_in(path: &Path, mut options: Options) -> Options {
    if options.profile.is_empty() && path.is_dir() {
        let verdict = std::fs::read(path.join("verdict.json")).ok();
        let verdict = verdict.and_then(|text| serde_json::from_slice::<Verdict>(&text).ok());
        let known = verdict.filter(|verdict| Profile::named(&verdict.profile).is_ok());
        options.profile = known.map_or_else(String::new, |verdict| verdict.profile);
    }
    options
}

fn draw(shown: &Shown, picture: &Scene) -> anyhow::Result<()> {
    if let Some(path) = &shown.svg {
        std::fs::write(path, svg::document(picture, Theme::Light))
            .with_context(|| format!("cannot write {path:?}"))?;
    }
    if let Some(path) = &shown.png {
        png::write(picture, Theme::Light, path)
            .with_context(|| format!("cannot write {path:?}"))?;
    }
    Ok(())
}

fn run_convert(path: &Path, output: &Path) -> anyhow::Result<u8> {
    let from = history_file(path)?;
    if is_edn(&from) == is_edn(output) {
        let message = format!(
            "{} and {} are of one format: one of them must end in .edn",
            from.display(),
            output.display()
        );
        return Err(CheckError::Usage(message).into());
    }
    let unreadable = |source| CheckError::Unreadable {
        path: from.clone(),
        source,
    };
    let reader = BufReader::new(File::open(&from).map_err(unreadable)?);
    let file = File::create(output).with_context(|| format!("cannot write {output:?}"))?;
    let (mut out, name) = (BufWriter::new(file), from.display().to_string());
    let whole = match is_edn(&from) {
        true => edn_to_jsonl(reader, &name, &mut out)?,
        false => jsonl_to_edn(reader, &name, &mut out)?,
    };
    out.flush()
        .with_context(|| format!("cannot write {output:?}"))?;
    if !whole {
        eprintln!("checker: {name} was cut off: it is translated up to there");
    }
    Ok(0)
}

fn run_generate(arguments: &Generate) -> anyhow::Result<u8> {
    let plan = arguments.plan();
    let written = match &arguments.output {
        Some(path) => {
            let output = Output::create(path).with_context(|| format!("cannot write {path:?}"));
            let mut output = output?;
            generate(&plan, &mut output).and_then(|injected| output.finish().map(|()| injected))
        }
        None => generate(&plan, &mut BufWriter::new(std::io::stdout().lock())),
    };
    if let Ok(injected) = &written {
        for (name, times) in injected {
            eprintln!("injected {name}: {times}");
        }
    }
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        other => other.context("cannot write the history").map(|_| 0),
    }
}

/// Standard output; a reader that has gone away (`| head`) is no error.
fn write_out(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}
