//! Settings in files.

use std::ops::Range;

use clap::{Arg, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{COMMANDS, Layer, Origin, RUN, Setting, complaint, flag, flags, is_list, is_switch};
use crate::located::{Mistake, Text, sort, word};

/// Reads `harness.toml`.
///
/// # Errors
/// The first mistake, with its line.
pub fn layer(clap: &Command, name: &str, text: &str) -> Result<Layer, Mistake> {
    let text = Text { name, text };
    let mut layer = Layer::new();
    let top = text.parse()?;
    let others = &COMMANDS[1..];
    for (key, value) in &top {
        let name: &str = key.get_ref();
        match value.get_ref() {
            DeValue::Table(table) if others.contains(&name) => {
                for (key, value) in table {
                    add(&mut layer, clap, text, name, (key, value))?;
                }
            }
            _ if flag(clap, RUN, name).is_none() => {
                let flags = flags(clap, RUN).filter_map(Arg::get_long);
                let known = flags.chain(others.iter().copied());
                return Err(unknown(text, key.span(), name, known));
            }
            _ => add(&mut layer, clap, text, RUN, (key, value))?,
        }
    }
    Ok(layer)
}

/// Reads the table `[run]` of a schedule.
///
/// # Errors
/// The first mistake, with its line.
pub fn run_layer(clap: &Command, text: Text<'_>) -> Result<Layer, Mistake> {
    let mut layer = Layer::new();
    let top = text.parse()?;
    let Some(run) = top.get("run") else {
        return Ok(layer);
    };
    let DeValue::Table(table) = run.get_ref() else {
        return Err(text.mistake(run.span(), "[run] is a table of settings"));
    };
    for (key, value) in table {
        let name: &str = key.get_ref();
        if ["nemesis", "overlap", "schedule"].contains(&name) {
            let what = format!("`{name}` has no place in a schedule: the faults are in it");
            return Err(text.mistake(key.span(), what));
        }
        add(&mut layer, clap, text, RUN, (key, value))?;
    }
    Ok(layer)
}

fn unknown<'n>(
    text: Text<'_>,
    at: Range<usize>,
    name: &str,
    known: impl Iterator<Item = &'n str>,
) -> Mistake {
    let known: Vec<&str> = known.collect();
    match checker::suggest::nearest(name, known.iter().copied()) {
        Some(_) => text.unknown(at, "setting", name, known),
        None => {
            let what = format!("unknown setting `{name}`; `harness config` lists them");
            text.mistake(at, what)
        }
    }
}

type Pair<'a, 'i> = (
    &'a Spanned<toml::de::DeString<'i>>,
    &'a Spanned<DeValue<'i>>,
);

fn add(
    layer: &mut Layer,
    clap: &Command,
    text: Text<'_>,
    command: &str,
    (key, value): Pair<'_, '_>,
) -> Result<(), Mistake> {
    let long: &str = key.get_ref();
    let Some(arg) = flag(clap, command, long) else {
        let known = flags(clap, command).filter_map(Arg::get_long);
        return Err(unknown(text, key.span(), long, known));
    };
    let setting = Setting {
        values: values(text, arg, value)?,
        switch: is_switch(arg),
        origin: Origin::File {
            name: text.name.to_owned(),
            line: text.line(&key.span()),
        },
    };
    if let Some(what) = complaint(clap, command, &setting.words(long)) {
        return Err(text.mistake(value.span(), what));
    }
    layer.insert((command.to_owned(), long.to_owned()), setting);
    Ok(())
}

fn values(text: Text<'_>, arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Mistake> {
    let long = arg.get_long().unwrap_or_default();
    let refused = |value: &Spanned<DeValue<'_>>, wanted: &str| {
        let what = format!("`{long}` takes {wanted}, this is {}", sort(value));
        Err(text.mistake(value.span(), what))
    };
    if is_switch(arg) {
        return match value.get_ref() {
            DeValue::Boolean(yes) => Ok(vec![yes.to_string()]),
            _ => refused(value, "true or false"),
        };
    }
    match value.get_ref() {
        DeValue::Array(list) => {
            let mut words = Vec::new();
            for value in list.iter() {
                match word(value) {
                    Some(word) => words.push(word),
                    None => return refused(value, "words or numbers"),
                }
            }
            Ok(if is_list(arg) {
                words
            } else {
                vec![words.join(",")]
            })
        }
        DeValue::Table(table) if is_pairs(arg) => {
            let mut pairs = Vec::new();
            flatten("", table, &mut pairs);
            Ok(pairs)
        }
        _ => match word(value) {
            Some(word) => Ok(vec![word]),
            None => refused(value, "one value"),
        },
    }
}

/// Whether its values are `KEY=VALUE`.
fn is_pairs(arg: &Arg) -> bool {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().any(|name| name.as_str() == "KEY=VALUE")
}

/// `a.b = 1` is a table in a table.
fn flatten(prefix: &str, table: &DeTable<'_>, pairs: &mut Vec<String>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => flatten(&format!("{name}."), inner, pairs),
            _ => pairs.push(format!("{name}={}", word(value).unwrap_or_default())),
        }
    }
}
