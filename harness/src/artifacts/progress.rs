//! What a build says while it goes on: what cargo says, and, when cargo is quiet for long, that it
//! is still at work. A build that has nothing to do says nothing.

use std::io::BufRead;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// After so long without a line something is said.
const QUIET: Duration = Duration::from_secs(10);

/// Passes cargo's lines on until it has no more. `why` is said before the first of them; all that
/// is ours goes through `say`.
pub fn pass_on(
    output: impl BufRead + Send + 'static,
    why: &str,
    say: &mut dyn FnMut(&str),
) -> std::io::Result<()> {
    pass_on_with(output, why, QUIET, say)
}

fn pass_on_with(
    output: impl BufRead + Send + 'static,
    why: &str,
    quiet: Duration,
    say: &mut dyn FnMut(&str),
) -> std::io::Result<()> {
    let (lines, read) = mpsc::channel();
    let reader = std::thread::Builder::new().name("cargo".to_owned());
    let reader = reader.spawn(move || {
        for line in output.split(b'\n').map_while(Result::ok) {
            // Nobody listens any more: the build is over.
            if lines.send(line).is_err() {
                return;
            }
        }
    })?;
    let began = Instant::now();
    let mut shown = Shown::default();
    loop {
        match read.recv_timeout(quiet) {
            Ok(line) => shown.line(&String::from_utf8_lossy(&line), why, say),
            Err(RecvTimeoutError::Timeout) => {
                say(&shown.still(why, began.elapsed()));
                shown.begun = true;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // It has sent its last line.
    let _ = reader.join();
    Ok(())
}

#[derive(Default)]
struct Shown {
    begun: bool,
    crates: u32,
    newest: String,
}

impl Shown {
    fn line(&mut self, line: &str, why: &str, say: &mut dyn FnMut(&str)) {
        if !self.begun && line.contains("Finished") {
            return;
        }
        if !self.begun {
            say(why);
            self.begun = true;
        }
        if let Some((_, name)) = line.split_once("Compiling ") {
            self.crates += 1;
            name.split(' ')
                .next()
                .unwrap_or_default()
                .clone_into(&mut self.newest);
        }
        say!("{line}");
    }

    fn still(&self, why: &str, since: Duration) -> String {
        let seconds = since.as_secs();
        if !self.begun {
            return format!("{why}\ncargo has not begun to compile after {seconds} s");
        }
        match self.newest.as_str() {
            "" => format!("still building after {seconds} s"),
            newest => format!(
                "still building after {seconds} s: {} crates begun, the last was {newest}",
                self.crates
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    fn said(output: impl BufRead + Send + 'static, quiet: Duration) -> Vec<String> {
        let mut said = Vec::new();
        let mut say = |line: &str| said.push(line.to_owned());
        pass_on_with(output, "building: cargo build", quiet, &mut say).expect("a thread");
        said
    }

    #[test]
    fn cargo_is_quoted_only_when_it_has_something_to_say() {
        let quiet = "    Finished `release` profile [optimized] target(s) in 0.2s\n";
        assert!(said(quiet.as_bytes(), QUIET).is_empty());
        let busy = "   Compiling broker v0.1.0\n    Finished `release` profile\n";
        assert_eq!(said(busy.as_bytes(), QUIET), ["building: cargo build"]);
    }

    /// Ends when somebody has heard enough.
    struct Slow {
        line: &'static [u8],
        end: mpsc::Receiver<()>,
    }

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.line.is_empty() {
                let _ = self.end.recv();
            }
            self.line.read(buffer)
        }
    }

    #[test]
    fn a_build_that_takes_long_says_that_it_goes_on() {
        let (heard, end) = mpsc::channel();
        let slow = Slow {
            line: b"   Compiling openraft v0.9.25\n",
            end,
        };
        let mut said = Vec::new();
        let mut say = |line: &str| {
            said.push(line.to_owned());
            if line.starts_with("still building") {
                let _ = heard.send(());
            }
        };
        let quiet = Duration::from_millis(5);
        pass_on_with(BufReader::new(slow), "why", quiet, &mut say).expect("a thread");
        assert_eq!(said[0], "why");
        assert!(
            said[1].contains("1 crates begun, the last was openraft"),
            "{said:?}"
        );
    }
}
