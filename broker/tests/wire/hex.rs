//! Bytes as they are written in a protocol guide: hex digits, one field a line.

/// The bytes of `fields`; each is hex digits and spaces, or `'text'`.
pub fn hex(fields: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        match field.strip_prefix('\'') {
            Some(text) => bytes.extend_from_slice(text.trim_end_matches('\'').as_bytes()),
            None => {
                let digits: Vec<char> = field.chars().filter(|c| *c != ' ').collect();
                for pair in digits.chunks(2) {
                    let pair: String = pair.iter().collect();
                    bytes.push(u8::from_str_radix(&pair, 16).expect("hex digits"));
                }
            }
        }
    }
    bytes
}

/// As [`hex`] reads it, for messages.
pub fn show(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}
