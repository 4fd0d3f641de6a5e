//! Words and numbers for people: escaping, durations, counts.

use std::fmt::Write;

/// Text as it may stand in HTML and SVG, between tags or in a quoted attribute.
///
/// Beyond the five characters of markup it makes visible what would act on a terminal or reorder
/// a line: control characters and the direction overrides of Unicode.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            _ => push_visible(&mut out, c),
        }
    }
    out
}

/// [`escape`] as the page's template applies it to every expression (`askama.toml` names it).
#[derive(Clone, Copy, Debug)]
pub struct Page;

impl askama::filters::Escaper for Page {
    fn write_escaped_str<W: Write>(&self, mut into: W, text: &str) -> std::fmt::Result {
        into.write_str(&escape(text))
    }
}

/// Text in which nothing acts: control characters and direction overrides become visible.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            _ => push_visible(&mut out, c),
        }
    }
    out
}

fn push_visible(out: &mut String, c: char) {
    match c {
        // The pictures of control characters begin at U+2400.
        '\u{0}'..='\u{1f}' => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
        '\u{7f}'..='\u{9f}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => out.push('\u{fffd}'),
        _ => out.push(c),
    }
}

/// At most so many characters of a text; an ellipsis says that there were more.
#[must_use]
pub fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// A count with thin groups of three digits: `104 212`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 message`, `2 messages`.
#[must_use]
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A duration in ns with three significant digits and a unit: `870 µs`, `12.5 ms`, `6.21 s`,
/// `3 min 20 s`.
#[must_use]
pub fn duration(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    let text = match ns {
        0 => "0 s".to_owned(),
        1..=999 => format!("{ns} ns"),
        1_000..=999_499 => significant(ns as f64 / 1e3, "µs"),
        999_500..=999_499_999 => significant(ns as f64 / 1e6, "ms"),
        999_500_000..=119_999_999_999 => significant(ns as f64 / 1e9, "s"),
        _ => {
            let seconds = (ns + 500_000_000) / 1_000_000_000;
            match seconds / 3600 {
                0 => format!("{} min {} s", seconds / 60, seconds % 60),
                hours => format!("{hours} h {} min", seconds / 60 % 60),
            }
        }
    };
    format!("{sign}{text}")
}

fn significant(x: f64, unit: &str) -> String {
    let decimals = match x {
        x if x < 9.995 => 2,
        x if x < 99.95 => 1,
        _ => 0,
    };
    let number = format!("{x:.decimals$}");
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    format!("{number} {unit}")
}

/// A moment of the run: `14.23 s`.
#[must_use]
pub fn moment(ns: i64) -> String {
    if ns < 0 {
        return "—".to_owned();
    }
    format!("{:.2} s", ns as f64 / 1e9)
}

/// A number for an axis: `0`, `250`, `1.5k`, `20k`, `3M`.
#[must_use]
pub fn axis_number(x: f64) -> String {
    let (x, unit) = match x.abs() {
        a if a >= 1e9 => (x / 1e9, "G"),
        a if a >= 1e6 => (x / 1e6, "M"),
        a if a >= 1e3 => (x / 1e3, "k"),
        _ => (x, ""),
    };
    let text = format!("{x:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_what_acts_on_a_reader_is_disarmed() {
        assert_eq!(
            escape("<a href='x' title=\"&\">"),
            "&lt;a href=&#39;x&#39; title=&quot;&amp;&quot;&gt;"
        );
        assert_eq!(
            escape("\u{1b}[31mred\u{202e}txt\n"),
            "␛[31mred\u{fffd}txt\n"
        );
    }

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        let all = [0, 870, 12_500, 999_900, 1_000_000_000, 6_214_000_000].map(duration);
        assert_eq!(all, ["0 s", "870 ns", "12.5 µs", "1 ms", "1 s", "6.21 s"]);
        assert_eq!(duration(200_000_000_000), "3 min 20 s");
        assert_eq!(duration(-5_000_000), "-5 ms");
    }

    #[test]
    fn numbers_are_grouped_and_shortened() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_042_117), "1\u{202f}042\u{202f}117");
        assert_eq!(plural(1, "message", "messages"), "1 message");
        let all = [0.0, 250.0, 1500.0, 20_000.0, 3e6, 0.5].map(axis_number);
        assert_eq!(all, ["0", "250", "1.5k", "20k", "3M", "0.5"]);
    }
}
