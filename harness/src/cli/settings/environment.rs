//! Settings in the environment.

use clap::Command;

use super::{
    COMMANDS, Layer, Origin, RUN, Setting, SettingError, complaint, flag, flags, is_list, is_switch,
};
use checker::suggest::nearest;

const PREFIX: &str = "HARNESS_";
/// Variables of that prefix that are no flags: the harness's own, and one of the docker runtime.
const OTHERS: [&str; 2] = ["HARNESS_INTERNAL_", "HARNESS_DOCKER_"];

/// Reads every variable that is ours.
///
/// # Errors
/// The first that is no flag, or whose value is none of the flag's.
pub fn layer(clap: &Command, variables: &[(String, String)]) -> Result<Layer, SettingError> {
    let mut layer = Layer::new();
    let ours = variables.iter().filter(|(name, _)| {
        name.starts_with(PREFIX) && !OTHERS.iter().any(|other| name.starts_with(other))
    });
    for (name, value) in ours {
        let wrong = |what: String| SettingError::Variable {
            variable: name.clone(),
            what,
        };
        let Some((command, long)) = meant(clap, name) else {
            let all: Vec<String> = every(clap);
            let mend = match nearest(&name.to_ascii_lowercase(), all.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {}?", near.to_ascii_uppercase()),
                None => "`harness config` lists them".to_owned(),
            };
            return Err(wrong(format!("no such setting; {mend}")));
        };
        let arg = flag(clap, command, &long).expect("it was found by its name");
        let (values, switch) = (split(value, is_list(arg)), is_switch(arg));
        if switch && !["true", "false"].contains(&value.as_str()) {
            return Err(wrong(format!("`{value}` is neither true nor false")));
        }
        let setting = Setting {
            values,
            switch,
            origin: Origin::Environment(name.clone()),
        };
        if let Some(what) = complaint(clap, command, &setting.words(&long)) {
            return Err(wrong(what));
        }
        layer.insert((command.to_owned(), long), setting);
    }
    Ok(layer)
}

/// Lists have commas between their values.
fn split(value: &str, list: bool) -> Vec<String> {
    if list {
        value.split(',').map(|one| one.trim().to_owned()).collect()
    } else {
        vec![value.to_owned()]
    }
}

fn meant(clap: &Command, variable: &str) -> Option<(&'static str, String)> {
    let name = variable.strip_prefix(PREFIX)?;
    if name.chars().any(|c| c.is_ascii_lowercase()) {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('_', "-");
    if flag(clap, RUN, &name).is_some() {
        return Some((RUN, name));
    }
    COMMANDS.into_iter().find_map(|command| {
        let long = name.strip_prefix(command)?.strip_prefix('-')?;
        flag(clap, command, long)?;
        Some((command, long.to_owned()))
    })
}

/// Every variable, in small letters.
fn every(clap: &Command) -> Vec<String> {
    let of = |command: &'static str| {
        flags(clap, command).filter_map(move |arg| {
            let long = arg.get_long()?.replace('-', "_");
            Some(match command {
                RUN => format!("harness_{long}"),
                _ => format!("harness_{}_{long}", command.replace('-', "_")),
            })
        })
    };
    COMMANDS.into_iter().flat_map(of).collect()
}
