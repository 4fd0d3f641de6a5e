//! Writes EDN forms, on one line each.

use std::fmt::{self, Display, Write};

use super::Edn;

impl Display for Edn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edn::Nil => f.write_str("nil"),
            Edn::Bool(truth) => write!(f, "{truth}"),
            Edn::Int(integer) => write!(f, "{integer}"),
            // `{:?}` keeps the fraction that tells a float from an integer.
            Edn::Float(float) => write!(f, "{float:?}"),
            Edn::Text(text) => quoted(f, text),
            Edn::Keyword(name) => write!(f, ":{name}"),
            Edn::Word(word) => f.write_str(word),
            Edn::List(forms) => sequence(f, "(", forms, ")"),
            Edn::Vector(forms) => sequence(f, "[", forms, "]"),
            Edn::Set(forms) => sequence(f, "#{", forms, "}"),
            Edn::Map(entries) => {
                f.write_char('{')?;
                for (at, (key, value)) in entries.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{key} {value}")?;
                }
                f.write_char('}')
            }
            Edn::Tagged(tag, form) => write!(f, "#{tag} {form}"),
        }
    }
}

fn sequence(f: &mut fmt::Formatter<'_>, open: &str, forms: &[Edn], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (at, form) in forms.iter().enumerate() {
        if at > 0 {
            f.write_char(' ')?;
        }
        write!(f, "{form}")?;
    }
    f.write_str(close)
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for letter in text.chars() {
        match letter {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            control if control.is_control() && (control as u32) < 0x10000 => {
                write!(f, "\\u{:04x}", control as u32)?;
            }
            plain => f.write_char(plain)?,
        }
    }
    f.write_char('"')
}
