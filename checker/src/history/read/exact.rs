//! JSON as a tree, to the last digit: what cannot be kept is a fault, not an approximation.
//!
//! serde_json reads floats with an error in the last bit now and then, takes integers beyond 64
//! bits for floats, and keeps the last of several members of one name; a translation must not.

use serde_json::{Map, Number, Value as Json};

use super::scan::{Scan, Scanner, Within};

/// One line that is one value.
pub(crate) fn object(line: &[u8]) -> Scan<Json> {
    let mut scanner = Scanner::new(line);
    // It is well nested, and not too deeply, before it is read by recursion.
    scanner.clone().skip()?;
    let json = value(&mut scanner)?;
    match scanner.peek() {
        None => Ok(json),
        Some(_) => scanner.fault("the end of the line: one event a line"),
    }
}

fn value(scanner: &mut Scanner) -> Scan<Json> {
    match scanner.peek() {
        Some(b'[') => list(scanner),
        Some(b'{') => members(scanner),
        Some(b'"') => scanner.text().map(|text| Json::String(text.into_owned())),
        Some(b'-' | b'0'..=b'9') => number(scanner),
        _ => scanner.json(),
    }
}

fn list(scanner: &mut Scanner) -> Scan<Json> {
    scanner.expect(b'[', "a list")?;
    let mut items = Vec::new();
    if scanner.eat(b']') {
        return Ok(Json::Array(items));
    }
    loop {
        items.push(value(scanner).within_item(items.len())?);
        if !scanner.more(b']', "`,` or `]`")? {
            return Ok(Json::Array(items));
        }
    }
}

fn members(scanner: &mut Scanner) -> Scan<Json> {
    scanner.expect(b'{', "an object")?;
    let mut members = Map::new();
    if scanner.eat(b'}') {
        return Ok(Json::Object(members));
    }
    loop {
        scanner.peek();
        let before = scanner.clone();
        let name = scanner.text()?.into_owned();
        scanner.expect(b':', "`:`")?;
        let member = value(scanner).within(&name)?;
        if members.contains_key(&name) {
            return before.fault("each name once").within(&name);
        }
        members.insert(name, member);
        if !scanner.more(b'}', "`,` or `}`")? {
            return Ok(Json::Object(members));
        }
    }
}

fn number(scanner: &mut Scanner) -> Scan<Json> {
    let before = scanner.clone();
    if let Some(integer) = scanner.try_integer() {
        return Ok(Json::from(integer));
    }
    scanner.skip()?;
    let text = std::str::from_utf8(scanner.since(&before)).unwrap_or_default();
    if let Ok(large) = text.parse::<u64>() {
        return match text.starts_with('0') {
            true => before.fault("a number without a leading zero"),
            false => Ok(Json::from(large)),
        };
    }
    // Whether it is a number of JSON at all is for serde_json to say.
    before.clone().json()?;
    let float = text.contains(['.', 'e', 'E']).then(|| text.parse::<f64>());
    match float {
        Some(Ok(float)) => match Number::from_f64(float) {
            Some(number) => Ok(Json::Number(number)),
            None => before.fault("a number that 64 bits can hold"),
        },
        _ => before.fault("a number that 64 bits can hold"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_to_the_last_digit() {
        for text in [
            "0.1",
            "-2.5e-7",
            "9007199254740993.0",
            "1.7976931348623157e308",
        ] {
            let json = object(text.as_bytes()).expect("a float");
            let exact: f64 = text.parse().expect("a float");
            assert_eq!(
                json.as_f64().map(f64::to_bits),
                Some(exact.to_bits()),
                "{text}"
            );
        }
        for text in ["0", "-7", "9223372036854775807", "18446744073709551615"] {
            assert_eq!(
                object(text.as_bytes()).expect("an integer").to_string(),
                text
            );
        }
        for text in ["18446744073709551616", "1e999", "01", "-", "1.", ".5", "+1"] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tree_as_it_stands_or_its_fault() {
        let text = br#"{"a": [1, {"b": null}, "\u00e9"], "": true}"#;
        assert_eq!(
            object(text).expect("a tree"),
            json!({"a": [1, {"b": null}, "é"], "": true})
        );
        let fault = object(br#"{"a": {"b": 1, "b": 2}}"#).expect_err("twice");
        assert_eq!(
            (fault.field.as_str(), &*fault.expected),
            ("a.b", "each name once")
        );
        assert!(object(b"[1] 2").is_err());
        assert!(object("[".repeat(100_000).as_bytes()).is_err());
    }
}
