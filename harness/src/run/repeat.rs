//! What is stored so that a run can be carried out again, and carrying it out again.
//!
//! A run's folder holds its flags (`run.json`: `flags`), its schedule as drawn and as executed
//! (`schedule.json`), and the same schedule as TOML (`schedule.toml`), which may be edited.

use std::path::Path;

use anyhow::{Context as _, bail};
use clap::ValueEnum as _;
use nemesis::executor::ExecutedFault;
use nemesis::{Fault, Schedule, Target};
use serde_json::Value as Json;

use super::folder::Folder;
use super::{carry_out, schedule_of};
use crate::cli::settings::Given;
use crate::cli::{ReplayArgs, ReplayTargets, ReplayTimes, RunArgs, RuntimeName};
use crate::exit::Exit;
use crate::schedule_file::{self, ScheduleFile};

/// Flags that are about this start of the run and not about the run.
const PASSING: [&str; 8] = [
    "seed",
    "seeds",
    "keep-going",
    "dry-run",
    "json",
    "out",
    "keep",
    "tui",
];
/// Flags that a schedule stands for.
const OF_FAULTS: [&str; 3] = ["nemesis", "overlap", "schedule"];

/// The flags that make the run what it is, in the order of the help.
fn lasting(args: &RunArgs) -> impl Iterator<Item = &Given> {
    let given = args.given.iter();
    given.filter(|(flag, _)| !PASSING.contains(&flag.as_str()))
}

/// The command that does this run again. One whose faults were not drawn from its seed is named by
/// its folder.
#[must_use]
pub fn replay_command(args: &RunArgs, seed: u64, folder: &str) -> String {
    if args.faults.is_some() {
        return format!("cargo run -p harness -- replay {}", quoted(folder));
    }
    let nemesis = args.nemesis();
    let mut command = format!("cargo run -p harness -- --nemesis {nemesis} --seed {seed}");
    for (flag, values) in lasting(args).filter(|(flag, _)| flag != "nemesis") {
        for value in values {
            command.push_str(&format!(" --{flag}"));
            if !RunArgs::is_switch(flag) {
                command.push_str(&format!(" {}", quoted(value)));
            }
        }
    }
    command
}

/// A word of a command line as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The flags as words, for `run.json`.
pub(super) fn flags(args: &RunArgs, seed: u64) -> Vec<String> {
    let mut words = vec![format!("--seed={seed}")];
    for (flag, values) in lasting(args).filter(|(flag, _)| flag != "schedule") {
        for value in values {
            words.push(match RunArgs::is_switch(flag) {
                true => format!("--{flag}"),
                false => format!("--{flag}={value}"),
            });
        }
    }
    words
}

/// A schedule and the settings of its run, to be given to `--schedule`.
pub(super) fn to_toml(args: &RunArgs, schedule: &Schedule) -> String {
    use toml::Value;
    let integer = |number: u64| Value::Integer(number.cast_signed());
    // What the faults fit into is written down even where it was not given.
    let mut settings = vec![
        ("seed".to_owned(), integer(schedule.seed)),
        ("brokers".to_owned(), integer(args.brokers.into())),
        (
            "partitions".to_owned(),
            Value::Integer(args.partitions().into()),
        ),
        ("time".to_owned(), Value::Float(args.time.as_secs_f64())),
    ];
    for (flag, values) in lasting(args) {
        let twice = settings.iter().any(|(name, _)| name == flag);
        if !twice && !OF_FAULTS.contains(&flag.as_str()) {
            settings.push((flag.clone(), as_toml(values)));
        }
    }
    schedule_file::to_toml(schedule, &settings)
}

fn as_toml(values: &[String]) -> toml::Value {
    let one = |text: &String| match text.parse::<i64>() {
        Ok(number) if number.to_string() == *text => toml::Value::Integer(number),
        _ if text == "true" => toml::Value::Boolean(true),
        _ => toml::Value::String(text.clone()),
    };
    match values {
        [value] => one(value),
        _ => toml::Value::Array(values.iter().map(one).collect()),
    }
}

/// Stores the schedule as it can be edited and given to `--schedule`.
pub(super) fn store(folder: &Folder, args: &RunArgs, schedule: &Schedule) -> std::io::Result<()> {
    std::fs::write(folder.file("schedule.toml"), to_toml(args, schedule))
}

/// `harness replay`.
#[must_use]
pub fn replay(args: &ReplayArgs) -> Exit {
    match again(args) {
        Ok(run) => carry_out(&run),
        Err(error) => {
            say!("error: {error:#}");
            Exit::Usage
        }
    }
}

/// The run that repeats the stored one.
fn again(args: &ReplayArgs) -> anyhow::Result<RunArgs> {
    let stored = read_json(&args.dir, "run.json")?;
    let mut run = settings(args, &stored)?;
    let path = args.dir.join("schedule.toml");
    let file = ScheduleFile::read(&path)?;
    let schedule = read_json(&args.dir, "schedule.json")?;
    let executed = schedule.get("executed").cloned().unwrap_or_default();
    let executed: Vec<ExecutedFault> = serde_json::from_value(executed).unwrap_or_default();
    let mut faults = file.faults();
    if args.targets == ReplayTargets::Recorded {
        aim_as_recorded(&mut faults, &executed)?;
    }
    if args.times == ReplayTimes::Executed {
        come_as_executed(&mut faults, &executed)?;
        let end_ms = faults.iter().map(|fault| fault.at_ms + fault.for_ms).max();
        let end = std::time::Duration::from_millis(end_ms.unwrap_or(0));
        run.time = run.time.max(end);
    }
    file.check(&run.limits())?;
    // The same name where it is the same: a simulated history is repeated byte by byte.
    let (platform, kinds) = (run.platform(), run.nemesis());
    let same = stored["config"]["nemesis"] == kinds.to_string().as_str();
    let offered = kinds.0.iter().all(|kind| kind.fidelity(platform).is_some());
    if same && offered {
        run.faults = Some(faults);
    } else {
        run.overlap = false;
        run.set_faults(faults);
    }
    Ok(run)
}

fn read_json(dir: &Path, name: &str) -> anyhow::Result<Json> {
    let path = dir.join(name);
    let shown = path.display();
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("{shown} cannot be read; `harness replay` takes the folder of a run")
    })?;
    serde_json::from_str(&text).with_context(|| format!("{shown} is no JSON"))
}

/// The stored settings, with what the replay has otherwise.
fn settings(args: &ReplayArgs, stored: &Json) -> anyhow::Result<RunArgs> {
    let dir = args.dir.display();
    let words = stored.get("flags").and_then(Json::as_array);
    let Some(words) = words else {
        let command = stored.get("command").and_then(Json::as_str);
        bail!(
            "{dir} was made by a harness that did not store its flags; its command was: {}",
            command.unwrap_or("not stored either")
        );
    };
    let config = &stored["config"];
    let there = config["runtime"].as_str().unwrap_or("auto");
    let there = RuntimeName::from_str(there, true);
    let there = there.map_err(|_| anyhow::anyhow!("{dir}: an unknown runtime is recorded"))?;
    let runtime = args.runtime.unwrap_or(there);
    let otherwise = |word: &&str| {
        let flag = word.trim_start_matches("--").split('=').next();
        let flag = flag.unwrap_or_default();
        let elsewhere = runtime != there && flag == "bootstrap";
        !["runtime", "partitions", "schedule"].contains(&flag) && !elsewhere
    };
    let words = words.iter().filter_map(Json::as_str).filter(otherwise);
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    // Another runtime has another default.
    if let Some(partitions) = config["partitions"].as_u64() {
        words.push(format!("--partitions={partitions}"));
    }
    if runtime != RuntimeName::External {
        let name = runtime.to_possible_value().expect("none is hidden");
        words.push(format!("--runtime={}", name.get_name()));
    }
    let run = RunArgs::parsed(words);
    let run = run.map_err(|said| anyhow::anyhow!("{dir}: its flags are not understood: {said}"))?;
    let mut run = run.sized();
    run.seed = args.seed.or(run.seed);
    run.out.clone_from(&args.out);
    (run.json, run.dry_run) = (args.json, args.dry_run);
    Ok(run)
}

/// The execution of each fault, which must be those of this schedule.
fn pairs<'a>(
    faults: &'a mut [Fault],
    executed: &'a [ExecutedFault],
) -> anyhow::Result<impl Iterator<Item = (&'a mut Fault, Option<&'a ExecutedFault>)>> {
    let edited = |done: &ExecutedFault| {
        let fault = faults.iter().find(|fault| fault.id == done.fault.id);
        fault != Some(&done.fault)
    };
    if let Some(done) = executed.iter().find(|done| edited(done)) {
        bail!(
            "schedule.toml was edited: its fault {} is not the one that was carried out; replay              it with --targets role and --times scheduled",
            done.fault.id
        );
    }
    if executed.is_empty() && !faults.is_empty() {
        bail!("schedule.json does not say how the faults were carried out");
    }
    Ok(faults.iter_mut().map(|fault| {
        let done = executed.iter().find(|done| done.fault.id == fault.id);
        (fault, done)
    }))
}

fn aim_as_recorded(faults: &mut [Fault], executed: &[ExecutedFault]) -> anyhow::Result<()> {
    for (fault, done) in pairs(faults, executed)? {
        if let (Some(done), Some(target)) = (done, fault.action.target_mut())
            && let Some(node) = done.targets.first()
        {
            *target = Target::Node { node: *node };
        }
    }
    Ok(())
}

/// A fault around others is held until the last of them is over, as it was.
fn come_as_executed(faults: &mut [Fault], executed: &[ExecutedFault]) -> anyhow::Result<()> {
    for (fault, done) in pairs(faults, executed)? {
        if let Some(done) = done
            && let (Some(asked), Some(healed)) = (done.asked_ms, done.healed_ms)
        {
            fault.at_ms = asked;
            fault.for_ms = healed.saturating_sub(asked).max(1);
        }
    }
    faults.sort_by_key(|fault| fault.at_ms);
    Ok(())
}

/// For runs in simulated time, of which one seed after another is stored.
pub(super) fn store_of_seed(folder: &Folder, args: &RunArgs, seed: u64) -> anyhow::Result<()> {
    let schedule = schedule_of(args, seed)?;
    store(folder, args, &schedule).context("schedule.toml cannot be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_a_shell_would_read_otherwise_is_quoted() {
        assert_eq!(quoted("a.b=1"), "a.b=1");
        assert_eq!(quoted("a=$(reboot)"), "'a=$(reboot)'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
