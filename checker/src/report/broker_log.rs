//! A broker's log, reduced to what a reader needs: how it begins and ends, its warnings and
//! errors, and the lines around moments of interest. Logs are hostile input of any length: lines
//! are cut, memory is bounded.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read as _};

use serde_json::Value as Json;

/// Longer lines are cut, in bytes.
const LINE: u64 = 600;
/// Lines kept from the beginning and from the end.
const ENDS: usize = 8;
/// Warnings, errors and lines about leadership that are kept to choose from.
const NOTABLE: usize = 4_000;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its number, from 1.
    pub number: u64,
    /// When it was written, in ns since the run began, where both are known.
    pub time: Option<i64>,
    /// Whether it is a warning, an error or a panic.
    pub alarm: bool,
    /// The line, cut.
    pub text: String,
}

/// What is kept of a log.
#[derive(Clone, Debug, Default)]
pub struct BrokerLog {
    /// Name of the file without its ending.
    pub name: String,
    /// Lines of the file.
    pub lines: u64,
    /// Warnings.
    pub warnings: u64,
    /// Errors and panics.
    pub errors: u64,
    /// The first lines.
    pub first: Vec<LogLine>,
    /// The last lines.
    pub last: VecDeque<LogLine>,
    /// Lines worth reading, in order.
    pub notable: Vec<LogLine>,
}

/// When the run began, by `run.json`, in ns since 1970.
#[must_use]
pub fn started(run: &Json) -> Option<i128> {
    let places = [
        "/started",
        "/started-at",
        "/start",
        "/time/started",
        "/timings/started",
        "/timings/start",
    ];
    places.iter().find_map(|place| match run.pointer(place)? {
        Json::String(text) => timestamp(text),
        Json::Number(seconds) => Some((seconds.as_f64()? * 1e9) as i128),
        _ => None,
    })
}

fn timestamp(text: &str) -> Option<i128> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_nanosecond())
}

/// Reads a log.
///
/// # Errors
/// When reading fails.
pub fn read(mut reader: impl BufRead, name: String, start: Option<i128>) -> io::Result<BrokerLog> {
    let mut log = BrokerLog {
        name,
        ..BrokerLog::default()
    };
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = (&mut reader).take(LINE).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(log);
        }
        let cut = bytes.last() != Some(&b'\n') && read as u64 == LINE;
        if cut {
            skip_line(&mut reader)?;
        }
        log.lines += 1;
        let plain = without_colour(&String::from_utf8_lossy(&bytes));
        let mut text = plain.trim_end().to_owned();
        if cut {
            text.push('…');
        }
        keep(&mut log, text, start);
    }
}

fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            reader.consume(end + 1);
            return Ok(());
        }
        let all = buffer.len();
        reader.consume(all);
    }
}

/// The line without the escape sequences by which terminals are coloured.
fn without_colour(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let code = &rest[at + 2..];
        let Some(end) = code.find(|c: char| c.is_ascii_alphabetic()) else {
            return out;
        };
        rest = &code[end + 1..];
    }
    out.push_str(rest);
    out
}

const LEADERSHIP: [&str; 9] = [
    "leader", "epoch", "truncat", "ISR", "isr", "fence", "fencing", "election", "recover",
];

fn keep(log: &mut BrokerLog, text: String, start: Option<i128>) {
    let error = ["ERROR", "panicked at", "FATAL"]
        .iter()
        .any(|word| text.contains(word));
    let warning = !error && text.contains("WARN");
    log.errors += u64::from(error);
    log.warnings += u64::from(warning);
    let line = LogLine {
        number: log.lines,
        time: when(&text, start),
        alarm: error || warning,
        text,
    };
    let notable = line.alarm || LEADERSHIP.iter().any(|word| line.text.contains(word));
    if notable && log.notable.len() < NOTABLE {
        log.notable.push(line.clone());
    }
    if log.first.len() < ENDS {
        log.first.push(line);
        return;
    }
    if log.last.len() == ENDS {
        log.last.pop_front();
    }
    log.last.push_back(line);
}

fn when(text: &str, start: Option<i128>) -> Option<i64> {
    let start = start?;
    let word = text.split_whitespace().next()?;
    let time = timestamp(word.trim_matches(['[', ']']))?;
    i64::try_from(time - start).ok()
}

impl BrokerLog {
    /// At most `limit` notable lines, those nearest to a moment of interest first chosen, in the
    /// order of the log.
    #[must_use]
    pub fn near(&self, moments: &[i64], limit: usize) -> Vec<&LogLine> {
        let distance = |line: &LogLine| {
            let time = line.time?;
            let near = moments.iter().map(|moment| (moment - time).unsigned_abs());
            near.min()
        };
        let mut chosen: Vec<&LogLine> = self.notable.iter().collect();
        chosen.sort_by_key(|line| (distance(line).unwrap_or(u64::MAX), !line.alarm, line.number));
        chosen.truncate(limit);
        chosen.sort_by_key(|line| line.number);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_and_counted_once() {
        let text = format!("{}\nWARN short\n", "x".repeat(5_000));
        let log = read(text.as_bytes(), "1".to_owned(), None).expect("memory can be read");
        assert_eq!((log.lines, log.warnings), (2, 1));
        assert!(log.first[0].text.ends_with('…') && log.first[0].text.len() < 700);
    }

    #[test]
    fn times_are_relative_to_the_run() {
        let run = serde_json::json!({"started": "2026-01-02T03:04:05Z"});
        let text = "2026-01-02T03:04:07.5Z \u{1b}[31mERROR\u{1b}[0m leader lost\n";
        let log = read(text.as_bytes(), "1".to_owned(), started(&run)).expect("memory");
        assert_eq!(log.notable[0].time, Some(2_500_000_000));
        assert!(log.notable[0].text.contains(" ERROR leader"));
        assert_eq!(log.errors, 1);
    }

    #[test]
    fn lines_near_a_moment_are_chosen() {
        let second = |n: u64| format!("2026-01-02T03:04:{n:02}Z INFO leader {n}\n");
        let text: String = (0..60).map(second).collect();
        let run = serde_json::json!({"started": "2026-01-02T03:04:00Z"});
        let log = read(text.as_bytes(), "1".to_owned(), started(&run)).expect("memory");
        let near = log.near(&[30_000_000_000], 3);
        let numbers: Vec<u64> = near.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [30, 31, 32]);
    }
}
