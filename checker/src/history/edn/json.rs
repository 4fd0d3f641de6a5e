//! Operation maps of Jepsen as events of history.md, and back, without loss.
//!
//! What history.md knows is translated by its meaning: names of fields, types, functions and
//! micro-ops are keywords in EDN and strings in JSON; maps by Kafka key have integers or strings
//! for keys. Everything else is kept as it is, and what JSON cannot hold is written as a string
//! that says so: `~:name` for a keyword, `~#` before the EDN text of any other form. A string that
//! itself looks like one of these is written as `~#"..."`.

use serde_json::{Map, Number, Value as Json};

use super::Edn;
use super::parse::Parser;

/// Fields that stand first when an event is written as EDN.
const FIRST: [&str; 6] = ["index", "time", "type", "process", "f", "value"];

/// An operation map as an event; `None` where it is no map.
#[must_use]
pub fn event(op: &Edn) -> Option<Json> {
    let entries = match op {
        Edn::Map(entries) => entries,
        Edn::Tagged(_, form) => return event(form),
        _ => return None,
    };
    let function = op.get("f").map(name_to_json);
    let function = function.as_ref().and_then(Json::as_str).unwrap_or("");
    let mut event = Map::new();
    for (key, value) in entries {
        let field = spell_key(key);
        let value = match field.as_str() {
            "type" | "f" | "process" => name_to_json(value),
            "value" => value_to_json(function, value),
            _ => to_json(value),
        };
        event.insert(field, value);
    }
    Some(Json::Object(event))
}

/// An event as an operation map; `None` where it is no object.
#[must_use]
pub fn op(event: &Json) -> Option<Edn> {
    let event = event.as_object()?;
    let function = event.get("f").and_then(Json::as_str).unwrap_or("");
    let first = FIRST.iter().filter_map(|name| event.get_key_value(*name));
    let others = event
        .iter()
        .filter(|(name, _)| !FIRST.contains(&name.as_str()));
    let entries = first.chain(others).map(|(field, value)| {
        let value = match field.as_str() {
            "type" | "f" | "process" => name_to_edn(value),
            "value" => value_to_edn(function, value),
            _ => to_edn(value),
        };
        (read(Place::Field, field), value)
    });
    Some(Edn::Map(entries.collect()))
}

/// A function's value: where it holds micro-ops, or is a map by Kafka key.
fn value_to_json(function: &str, value: &Edn) -> Json {
    match (function, value) {
        ("send" | "poll" | "txn", Edn::Vector(ops) | Edn::List(ops)) => {
            ops.iter().map(micro_op_to_json).collect()
        }
        ("drain" | "audit" | "list-offsets", Edn::Map(_)) => by_key_to_json(value),
        ("commit-offsets" | "fetch-offsets", Edn::Map(entries)) => {
            let entries = entries.iter().map(|(key, value)| {
                let name = spell_key(key);
                let value = match name.as_str() {
                    "offsets" => by_key_to_json(value),
                    _ => to_json(value),
                };
                (name, value)
            });
            Json::Object(entries.collect())
        }
        _ => to_json(value),
    }
}

fn value_to_edn(function: &str, value: &Json) -> Edn {
    match (function, value) {
        ("send" | "poll" | "txn", Json::Array(ops)) => {
            Edn::Vector(ops.iter().map(micro_op_to_edn).collect())
        }
        ("drain" | "audit" | "list-offsets", Json::Object(_)) => by_key_to_edn(value),
        ("commit-offsets" | "fetch-offsets", Json::Object(entries)) => {
            let entries = entries.iter().map(|(name, value)| {
                let value = match name.as_str() {
                    "offsets" => by_key_to_edn(value),
                    _ => to_edn(value),
                };
                (read(Place::Field, name), value)
            });
            Edn::Map(entries.collect())
        }
        _ => to_edn(value),
    }
}

/// Which argument of a micro-op is a map by Kafka key.
fn map_at(name: &str) -> usize {
    match name {
        "poll" => 1,
        "offsets" => 2,
        _ => usize::MAX,
    }
}

fn micro_op_to_json(op: &Edn) -> Json {
    let Edn::Vector(parts) = op else {
        return to_json(op);
    };
    let name = parts.first().map(name_to_json);
    let map = map_at(name.as_ref().and_then(Json::as_str).unwrap_or(""));
    let parts = parts.iter().enumerate().map(|(at, part)| match at {
        0 => name_to_json(part),
        at if at == map => by_key_to_json(part),
        _ => to_json(part),
    });
    parts.collect()
}

fn micro_op_to_edn(op: &Json) -> Edn {
    let Json::Array(parts) = op else {
        return to_edn(op);
    };
    let map = map_at(parts.first().and_then(Json::as_str).unwrap_or(""));
    let parts = parts.iter().enumerate().map(|(at, part)| match at {
        0 => name_to_edn(part),
        at if at == map => by_key_to_edn(part),
        _ => to_edn(part),
    });
    Edn::Vector(parts.collect())
}

fn by_key_to_json(map: &Edn) -> Json {
    let Edn::Map(entries) = map else {
        return to_json(map);
    };
    let entries = entries.iter().map(|(key, value)| {
        let key = spell(Place::Key, key).unwrap_or_else(|| format!("~#{key}"));
        (key, to_json(value))
    });
    Json::Object(entries.collect())
}

fn by_key_to_edn(map: &Json) -> Edn {
    let Json::Object(entries) = map else {
        return to_edn(map);
    };
    let entries = entries.iter();
    Edn::Map(
        entries
            .map(|(key, value)| (read(Place::Key, key), to_edn(value)))
            .collect(),
    )
}

/// Where a string stands decides what it stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Names of types, functions, processes and micro-ops: keywords.
    Name,
    /// Names of fields: keywords.
    Field,
    /// Kafka keys: integers and strings.
    Key,
    /// Anywhere else.
    Value,
}

/// The string that JSON has for a form in that place; `None` where JSON has something better.
fn spell(place: Place, form: &Edn) -> Option<String> {
    match (place, form) {
        (Place::Name | Place::Field, Edn::Keyword(name)) if is_name(name) => Some(name.clone()),
        (Place::Value | Place::Key, Edn::Keyword(name)) if is_name(name) => {
            Some(format!("~:{name}"))
        }
        (Place::Key, Edn::Int(integer)) => Some(integer.to_string()),
        (_, Edn::Text(text)) if read(place, text) == *form => Some(text.clone()),
        (Place::Name | Place::Value, form) if is_plain(form) => None,
        _ => Some(format!("~#{form}")),
    }
}

/// What a string stands for in that place. What only looks like a mark is a string.
fn read(place: Place, text: &str) -> Edn {
    let candidate = match place {
        Place::Name | Place::Field if is_name(text) => Some(Edn::keyword(text)),
        Place::Key if integer(text).is_some() => integer(text).map(Edn::Int),
        _ => match (text.strip_prefix("~:"), text.strip_prefix("~#")) {
            (Some(name), _) if is_name(name) => Some(Edn::keyword(name)),
            (_, Some(form)) => Parser::new(form.as_bytes()).form().ok(),
            _ => None,
        },
    };
    // Only what we would write the same way: else the string would not come back as it was.
    candidate
        .filter(|form| spell(place, form).as_deref() == Some(text))
        .unwrap_or_else(|| Edn::Text(text.to_owned()))
}

fn spell_key(key: &Edn) -> String {
    spell(Place::Field, key).unwrap_or_else(|| format!("~#{key}"))
}

fn name_to_json(name: &Edn) -> Json {
    spell(Place::Name, name).map_or_else(|| to_json(name), Json::from)
}

fn name_to_edn(name: &Json) -> Edn {
    match name {
        Json::String(text) => read(Place::Name, text),
        other => to_edn(other),
    }
}

/// An integer in its one spelling.
fn integer(text: &str) -> Option<i64> {
    let integer = text.parse::<i64>().ok();
    integer.filter(|integer| integer.to_string() == text)
}

/// Whether it can be a keyword as it stands.
fn is_name(text: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "*+!_?<>=.-/'$%&|".contains(letter);
    !text.is_empty() && text.chars().all(fits)
}

/// Whether JSON can hold it without a mark.
fn is_plain(form: &Edn) -> bool {
    match form {
        Edn::Nil | Edn::Bool(_) | Edn::Int(_) | Edn::Vector(_) | Edn::Map(_) => true,
        Edn::Float(float) => whole(*float).is_some(),
        Edn::Word(word) => large(word).is_some(),
        _ => false,
    }
}

/// A float that JSON readers give back as it was: not all of them do so to the last bit.
fn whole(float: f64) -> Option<Number> {
    let number = Number::from_f64(float)?;
    let back: f64 = serde_json::from_str(&number.to_string()).ok()?;
    (back.to_bits() == float.to_bits()).then_some(number)
}

/// An integer beyond 63 bits that JSON can hold.
fn large(word: &str) -> Option<u64> {
    let large = word.strip_suffix('N')?.parse::<u64>().ok()?;
    (large > i64::MAX as u64 && format!("{large}N") == word).then_some(large)
}

fn to_json(form: &Edn) -> Json {
    if let Some(text) = spell(Place::Value, form) {
        return Json::String(text);
    }
    match form {
        Edn::Bool(truth) => Json::Bool(*truth),
        Edn::Int(integer) => Json::from(*integer),
        Edn::Float(float) => whole(*float).map_or(Json::Null, Json::Number),
        Edn::Word(word) => large(word).map_or(Json::Null, Json::from),
        Edn::Vector(forms) => forms.iter().map(to_json).collect(),
        Edn::Map(entries) => {
            let entries = entries.iter();
            Json::Object(
                entries
                    .map(|(key, value)| (spell_key(key), to_json(value)))
                    .collect(),
            )
        }
        _ => Json::Null,
    }
}

fn to_edn(json: &Json) -> Edn {
    match json {
        Json::Null => Edn::Nil,
        Json::Bool(truth) => Edn::Bool(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Edn::Int(integer),
            (None, Some(large)) => Edn::Word(format!("{large}N")),
            (None, None) => number.as_f64().map_or(Edn::Nil, Edn::Float),
        },
        Json::String(text) => read(Place::Value, text),
        Json::Array(items) => Edn::Vector(items.iter().map(to_edn).collect()),
        Json::Object(entries) => {
            let entries = entries.iter();
            let pair = |(key, value): (&String, &Json)| (read(Place::Field, key), to_edn(value));
            Edn::Map(entries.map(pair).collect())
        }
    }
}
