//! Standard output and standard error that may be gone: a closed terminal or a full disk behind a
//! redirection must not stop a run in the middle of a fault, with its cluster left behind.

use std::fmt;
use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// A line to standard error, for people; lost where nobody can be told.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::said(format_args!($($text)*))
    };
}

/// A line to standard output: a result. Where it cannot be written, that is said on standard error,
/// and the exit code still tells the verdict.
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        $crate::output::told(writeln!(std::io::stdout(), $($text)*));
    }};
}

/// As [`tell`], without a line's end.
macro_rules! tell_raw {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        $crate::output::told(write!(std::io::stdout(), $($text)*));
    }};
}

/// Who gets the lines instead of standard error, while somebody has the whole terminal.
static DIVERTED: Mutex<Option<Sender<String>>> = Mutex::new(None);

/// Writes a line to standard error, or to whoever has the terminal.
pub fn said(line: fmt::Arguments<'_>) {
    let diverted = DIVERTED.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = diverted.as_ref().is_some_and(|to| {
        let text = line.to_string();
        text.lines().all(|line| to.send(line.to_owned()).is_ok())
    });
    if !taken {
        // Lost where nobody can be told.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// From now on lines come out of the receiver.
#[must_use]
pub fn divert() -> Receiver<String> {
    let (to, lines) = channel();
    *DIVERTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
    lines
}

/// From now on lines go to standard error again.
pub fn undivert() {
    *DIVERTED.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Standard error for who writes bytes: each write is taken for whole lines.
#[derive(Clone, Copy, Debug)]
pub struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        said(format_args!("{}", text.trim_end_matches('\n')));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What came of writing to standard output. A reader that has gone away (`| head`) is no error.
pub fn told(result: std::io::Result<()>) {
    if let Err(error) = result
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        say!("standard output cannot be written: {error}");
    }
}

/// Whether standard error may have colours: on a terminal, unless `NO_COLOR` is set or `CLICOLOR`
/// is 0; elsewhere only if `CLICOLOR_FORCE` asks for them (bixense.com/clicolors, no-color.org).
#[must_use]
pub fn colours() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    wanted(
        set("NO_COLOR"),
        set("CLICOLOR"),
        set("CLICOLOR_FORCE"),
        terminal,
    )
}

fn wanted(
    no_color: Option<String>,
    clicolor: Option<String>,
    force: Option<String>,
    terminal: bool,
) -> bool {
    if no_color.is_some() {
        return false;
    }
    let forced = force.is_some_and(|value| value != "0");
    forced || terminal && clicolor.is_none_or(|value| value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_and_can_be_refused_or_forced() {
        let set = |value: &str| Some(value.to_owned());
        assert!(wanted(None, None, None, true));
        assert!(!wanted(None, None, None, false));
        assert!(!wanted(set("1"), None, set("1"), true));
        assert!(!wanted(None, set("0"), None, true));
        assert!(wanted(None, set("0"), set("1"), false));
        assert!(!wanted(None, None, set("0"), false));
    }
}
