//! `harness config`: every setting, its value, and who set it.

use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use super::{COMMANDS, Layer, Origin, RUN, Setting, flags, is_list, is_switch, resolve};

struct Line {
    command: &'static str,
    flag: String,
    value: String,
    origin: Origin,
}

/// Prints the settings: all of `run`, and of other commands those that somebody set. `matches` are
/// those of `config` itself, which takes the flags of `run`.
pub fn show(clap: &Command, matches: &ArgMatches, off: &[String], layers: &[Layer]) {
    let mut lines = Vec::new();
    for command in COMMANDS {
        let settings = match command {
            RUN => resolve(clap, RUN, Some(matches), off, layers),
            _ => resolve(clap, command, None, &[], layers),
        };
        for arg in flags(clap, command) {
            let flag = arg.get_long().unwrap_or_default();
            let line = match settings.get(flag) {
                Some(setting) => (value(arg, setting), setting.origin.clone()),
                None if command == RUN => (default(arg), Origin::Default),
                None => continue,
            };
            lines.push(Line {
                command,
                flag: flag.to_owned(),
                value: line.0,
                origin: line.1,
            });
        }
    }
    if matches.get_flag("json") {
        print_json(&lines);
    } else {
        print_table(&lines);
    }
}

fn value(arg: &Arg, setting: &Setting) -> String {
    if is_switch(arg) {
        let on = setting.values.iter().any(|value| value == "true");
        return on.to_string();
    }
    setting.values.join(",")
}

fn default(arg: &Arg) -> String {
    if is_switch(arg) {
        return "false".to_owned();
    }
    let values = arg.get_default_values().iter();
    let values: Vec<String> = values.map(|v| v.to_string_lossy().into_owned()).collect();
    if !values.is_empty() || is_list(arg) {
        return values.join(",");
    }
    // What the run takes then depends on the others; its help says on what.
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    match help.split_once("[default: ") {
        Some((_, default)) => format!("({})", default.trim_end_matches([']', '.'])),
        None => String::new(),
    }
}

fn print_json(lines: &[Line]) {
    let list: Vec<_> = lines
        .iter()
        .map(|line| {
            let (file, number) = match &line.origin {
                Origin::File { name, line } => (json!(name), json!(line)),
                _ => (json!(null), json!(null)),
            };
            json!({
                "command": line.command,
                "setting": line.flag,
                "value": line.value,
                "origin": line.origin.to_string(),
                "file": file,
                "line": number,
            })
        })
        .collect();
    tell!("{}", json!(list));
}

fn print_table(lines: &[Line]) {
    let wide = |text: fn(&Line) -> usize| lines.iter().map(text).max().unwrap_or(0).min(40);
    let (flags, values) = (wide(|l| l.flag.len()), wide(|l| l.value.chars().count()));
    let mut command = RUN;
    for line in lines {
        if line.command != command {
            command = line.command;
            tell!("\n{command}:");
        }
        let Line {
            flag,
            value,
            origin,
            ..
        } = line;
        tell!("{flag:flags$}  {value:values$}  {origin}");
    }
}
