//! Names that a flag takes, for the parser and for whoever completes a word: completion scripts and
//! manual pages are made from them and from the definition of the command line.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, CommandFactory as _};

use super::Cli;
use crate::exit::Exit;

/// A parser of names that it can also tell.
#[derive(Clone)]
pub struct Names<T> {
    /// Reads a name, or several.
    pub parse: fn(&str) -> Result<T, String>,
    /// All of them.
    pub all: fn() -> Vec<&'static str>,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Names<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        self.parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.all)().into_iter().map(PossibleValue::new)))
    }
}

/// `harness completions`.
pub fn completions(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "harness", &mut script);
    tell_raw!("{}", String::from_utf8_lossy(&script));
    Exit::Valid
}

/// `harness man`.
pub fn manual(command: Option<&str>) -> Exit {
    let mut whole = Cli::command();
    whole.build();
    let page = match command {
        None => whole,
        Some(name) => match whole.find_subcommand(name) {
            Some(command) => command.clone(),
            None => {
                let names: Vec<&str> = whole.get_subcommands().map(Command::get_name).collect();
                say!(
                    "error: {}",
                    checker::suggest::unknown("command", name, &names)
                );
                return Exit::Usage;
            }
        },
    };
    let mut text = Vec::new();
    if let Err(error) = clap_mangen::Man::new(page).render(&mut text) {
        say!("error: the page cannot be made: {error}");
        return Exit::Internal;
    }
    tell_raw!("{}", String::from_utf8_lossy(&text));
    Exit::Valid
}
