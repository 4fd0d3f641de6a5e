//! The `checker` binary: arguments in, verdict and exit code out. All the rest is the library's.

mod cli;
mod print;

use std::io::{BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use clap::error::ErrorKind;

use checker::compression::Output;
use checker::simulate::generate;
use checker::verdict::profile::Profile;
use checker::{CheckError, check_path, report};
use cli::{Check, Cli, Command, Generate};

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
    let verdict = check_path(&check.path, &check.options())?;
    let text = if check.json {
        serde_json::to_string(&verdict).context("a verdict is JSON")? + "\n"
    } else {
        print::verdict(&verdict)
    };
    write_out(&text)?;
    Ok(u8::try_from(verdict.verdict.exit_code()).unwrap_or(INTERNAL))
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
