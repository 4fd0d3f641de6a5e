//! Standard output and standard error that may be gone: a closed terminal or a full disk behind a
//! redirection must not stop a run in the middle of a fault, with its cluster left behind.

/// A line to standard error, for people; lost where nobody can be told.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
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

/// What came of writing to standard output. A reader that has gone away (`| head`) is no error.
pub fn told(result: std::io::Result<()>) {
    if let Err(error) = result
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        say!("standard output cannot be written: {error}");
    }
}
