//! EDN, as Jepsen writes histories: read, written, and translated to and from our JSON without
//! loss.
//!
//! [`parse`] reads forms one at a time and says where it stopped; [`print`] writes them; [`json`]
//! translates an operation map into an event of history.md and back.

pub mod json;
pub mod parse;
pub mod print;

/// One EDN form.
#[derive(Clone, Debug, PartialEq)]
pub enum Edn {
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// An integer within 64 bits.
    Int(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A string.
    Text(String),
    /// A keyword, without its colon.
    Keyword(String),
    /// A symbol; and whatever else is one word: big integers, ratios, characters, `##NaN`.
    Word(String),
    /// `(...)`
    List(Vec<Edn>),
    /// `[...]`
    Vector(Vec<Edn>),
    /// `{...}`, in the order of the file.
    Map(Vec<(Edn, Edn)>),
    /// `#{...}`
    Set(Vec<Edn>),
    /// `#tag form`
    Tagged(String, Box<Edn>),
}

impl Edn {
    /// A keyword.
    #[must_use]
    pub fn keyword(name: impl Into<String>) -> Edn {
        Edn::Keyword(name.into())
    }

    /// The value of a keyword in a map, through tags (`#jepsen.history.Op{...}`).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Edn> {
        match self {
            Edn::Map(entries) => entries
                .iter()
                .find(|(key, _)| matches!(key, Edn::Keyword(known) if known == name))
                .map(|(_, value)| value),
            Edn::Tagged(_, form) => form.get(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
