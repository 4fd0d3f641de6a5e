//! One `[[fault]]`: its fields, and which of them is wrong.
//!
//! The fields are handed to the type's own deserialiser. It does not say where a value came from,
//! so the value that it complains of is looked up here, and a field that it does not know is one
//! whose value it does not look at.

use std::ops::Range;

use nemesis::{Action, Fault, FaultKind};
use serde_json::{Map, Value as Json, json};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::Entry;
use crate::located::{Mistake, Text, sort};
use checker::suggest::nearest;

const TIMES: [&str; 2] = ["at-ms", "for-ms"];
/// Fields that are not written where they are empty.
const LEFT_OUT: [&str; 1] = ["only"];
/// A day: what is longer is a slip of units.
const LONGEST_MS: i64 = 86_400_000;

pub(super) fn read(text: Text<'_>, written: &Spanned<DeValue<'_>>) -> Result<Entry, Mistake> {
    let DeValue::Table(table) = written.get_ref() else {
        let what = format!("a fault is a table with fields, this is {}", sort(written));
        return Err(text.mistake(written.span(), what));
    };
    let reader = Reader {
        text,
        table,
        whole: written.span(),
    };
    let [(at_ms, _), (for_ms, length)] = [reader.time("at-ms")?, reader.time("for-ms")?];
    if for_ms == 0 {
        return Err(text.mistake(length, "a fault lasts for at least a millisecond"));
    }
    let action = reader.action()?;
    Ok(Entry {
        fault: Fault {
            id: 0,
            at_ms,
            for_ms,
            action,
        },
        aim: reader.aim(),
        whole: reader.whole,
        length,
    })
}

struct Reader<'a, 'i> {
    text: Text<'a>,
    table: &'a DeTable<'i>,
    whole: Range<usize>,
}

impl Reader<'_, '_> {
    fn time(&self, name: &str) -> Result<(u64, Range<usize>), Mistake> {
        let Some(value) = self.table.get(name) else {
            return Err(self.missing(name));
        };
        let number = match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match number {
            Some(number) if (0..=LONGEST_MS).contains(&number) => {
                Ok((number.unsigned_abs(), value.span()))
            }
            _ => {
                let what = format!("`{name}` is a whole number of milliseconds, up to a day");
                Err(self.text.mistake(value.span(), what))
            }
        }
    }

    /// The fields of the action.
    fn fields(&self) -> Map<String, Json> {
        let fields = self.table.iter();
        let fields = fields.filter(|(key, _)| !TIMES.contains(&key.get_ref().as_ref()));
        let fields = fields.map(|(key, value)| (key.get_ref().to_string(), json_of(value)));
        fields.collect()
    }

    fn action(&self) -> Result<Action, Mistake> {
        let fields = self.fields();
        if !fields.contains_key("kind") {
            return Err(self.missing("kind"));
        }
        let read = |fields: &Map<String, Json>| {
            serde_json::from_value::<Action>(Json::Object(fields.clone()))
        };
        let action = match read(&fields) {
            Ok(action) => action,
            Err(error) => return Err(self.complaint(&error.to_string())),
        };
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if TIMES.contains(&name) {
                continue;
            }
            let mut absurd = fields.clone();
            absurd.insert(name.to_owned(), json!({"absurd": [0.5]}));
            if read(&absurd).is_ok_and(|same| same == action) {
                return Err(self.unknown(key, &action));
            }
        }
        Ok(action)
    }

    fn unknown(&self, key: &Spanned<DeString<'_>>, action: &Action) -> Mistake {
        let written = serde_json::to_value(action).unwrap_or_default();
        let fields = written.as_object().into_iter().flat_map(Map::keys);
        let more = TIMES.into_iter().chain(LEFT_OUT);
        let known: Vec<&str> = fields.map(String::as_str).chain(more).collect();
        let of = format!("field of {} fault", with_article(action.kind().name()));
        self.text.unknown(key.span(), &of, key.get_ref(), known)
    }

    /// What the type complains of, at the value or the field that it means.
    fn complaint(&self, said: &str) -> Mistake {
        let quoted: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
        if let (Some(name), true) = (quoted.first(), said.starts_with("missing field")) {
            return self.missing(name);
        }
        let strings: Vec<&str> = said.split('"').skip(1).step_by(2).collect();
        let meant = quoted.first().or(strings.first());
        let value = meant.and_then(|meant| self.value(meant, strings.first().copied()));
        let (at, value) = value.unwrap_or_else(|| (self.whole.clone(), String::new()));
        let others = quoted.iter().skip(1).copied();
        let mut kinds = FaultKind::every().map(FaultKind::name);
        let near = match nearest(&value, others) {
            Some(near) => format!("; did you mean `{near}`?"),
            None if kinds.any(|kind| kind == value) => format!(
                "; `harness --nemesis {value} --runtime sim --dry-run=toml` (or another runtime) \
                 shows how such a fault is written"
            ),
            None => String::new(),
        };
        self.text.mistake(at, format!("{said}{near}"))
    }

    /// The first value that reads like that.
    fn value(&self, meant: &str, string: Option<&str>) -> Option<(Range<usize>, String)> {
        let mut found = None;
        for value in self.table.values() {
            leaves(value, &mut |leaf| {
                let word = crate::located::word(leaf).unwrap_or_default();
                if found.is_none() && (word == meant || string == Some(&word)) {
                    found = Some((leaf.span(), word));
                }
            });
        }
        found
    }

    /// A field that is not there; perhaps under a name that is nearly its own.
    fn missing(&self, name: &str) -> Mistake {
        let mut written = Vec::new();
        names(self.table, &mut |key| {
            written.push((key.span(), key.get_ref().to_string()));
        });
        let others = written.iter().map(|(_, key)| key.as_str());
        let others = others.filter(|key| !self.is_known(key, name));
        let near = nearest(name, others).map(str::to_owned);
        let found = near.and_then(|near| written.into_iter().find(|(_, key)| *key == near));
        match found {
            Some((at, written)) => {
                let what = format!("unknown field `{written}`; did you mean `{name}`?");
                self.text.mistake(at, what)
            }
            None => {
                let what = format!("this fault lacks `{name}`");
                self.text.mistake(self.whole.clone(), what)
            }
        }
    }

    /// Whether a key is one in its own right, and not `missing` under another name: then it would
    /// be missing itself if it were called so.
    fn is_known(&self, key: &str, missing: &str) -> bool {
        if key == "kind" || TIMES.contains(&key) {
            return true;
        }
        let renamed = renamed(Json::Object(self.fields()), key, missing);
        match serde_json::from_value::<Action>(renamed) {
            Ok(_) => false,
            Err(error) => error
                .to_string()
                .contains(&format!("missing field `{key}`")),
        }
    }

    fn aim(&self) -> Range<usize> {
        let fields = ["target", "side", "order", "nodes", "kind"];
        let value = fields.iter().find_map(|field| self.table.get(*field));
        value.map_or(self.whole.clone(), Spanned::span)
    }
}

fn with_article(name: &str) -> String {
    let article = if name.starts_with(['a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {name}")
}

fn leaves(value: &Spanned<DeValue<'_>>, visit: &mut dyn FnMut(&Spanned<DeValue<'_>>)) {
    match value.get_ref() {
        DeValue::Array(list) => list.iter().for_each(|value| leaves(value, visit)),
        DeValue::Table(table) => table.values().for_each(|value| leaves(value, visit)),
        _ => visit(value),
    }
}

fn names(table: &DeTable<'_>, visit: &mut dyn FnMut(&Spanned<DeString<'_>>)) {
    for (key, value) in table {
        visit(key);
        if let DeValue::Table(inner) = value.get_ref() {
            names(inner, visit);
        }
    }
}

/// The same with another name for one key, wherever it is.
fn renamed(json: Json, key: &str, name: &str) -> Json {
    let Json::Object(fields) = json else {
        return json;
    };
    let fields = fields.into_iter().map(|(field, value)| {
        let field = if field == key { name.to_owned() } else { field };
        (field, renamed(value, key, name))
    });
    Json::Object(fields.collect())
}

fn json_of(value: &Spanned<DeValue<'_>>) -> Json {
    match value.get_ref() {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => {
            json!(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Float(number) => json!(number.as_str().parse::<f64>().ok()),
        DeValue::Boolean(yes) => json!(yes),
        DeValue::Datetime(time) => json!(time.to_string()),
        DeValue::Array(list) => list.iter().map(json_of).collect(),
        DeValue::Table(table) => {
            let fields = table.iter();
            let fields = fields.map(|(key, value)| (key.get_ref().to_string(), json_of(value)));
            Json::Object(fields.collect())
        }
    }
}
