//! Just enough of HTML to hold a page to its promises: its tags in order, with attributes.

/// A tag as it stands in the page.
#[derive(Debug)]
pub struct Tag {
    pub name: String,
    pub closing: bool,
    /// Names and values as they are written, without quotes.
    pub attributes: Vec<(String, String)>,
}

impl Tag {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

const VOID: [&str; 4] = ["meta", "br", "!doctype", "rect/"];

/// The tags of a page, and the text between them; what stands in scripts and style sheets is
/// neither.
pub fn parse(page: &str) -> (Vec<Tag>, String) {
    let mut tags: Vec<Tag> = Vec::new();
    let mut text = String::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        let end = end_of_tag(&rest[at..]).expect("every tag ends");
        let tag = tag(&rest[at + 1..at + end]);
        rest = &rest[at + end + 1..];
        if !tag.closing && ["script", "style"].contains(&tag.name.as_str()) {
            let close = format!("</{}>", tag.name);
            rest = &rest[rest.find(&close).expect("it is closed")..];
        }
        text.push(' ');
        tags.push(tag);
    }
    text.push_str(rest);
    (tags, text)
}

fn end_of_tag(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == '>' && !quoted).then_some(at)
    })
}

fn tag(inside: &str) -> Tag {
    let closing = inside.starts_with('/');
    let inside = inside.trim_start_matches('/').trim_end_matches('/');
    let (name, mut rest) = inside
        .split_once(char::is_whitespace)
        .unwrap_or((inside, ""));
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        let Some(end) = rest.find(|c: char| c == '=' || c.is_whitespace()) else {
            if !rest.is_empty() {
                attributes.push((rest.to_owned(), String::new()));
            }
            break;
        };
        let known = rest[..end].to_owned();
        rest = &rest[end..];
        match rest.strip_prefix("=\"") {
            Some(value) => {
                let close = value.find('"').expect("a value ends");
                attributes.push((known, value[..close].to_owned()));
                rest = &value[close + 1..];
            }
            None => attributes.push((known, String::new())),
        }
    }
    Tag {
        name: name.to_lowercase(),
        closing,
        attributes,
    }
}

/// Panics unless every tag that is opened is closed, in the right order.
pub fn assert_balanced(page: &str) {
    let mut open: Vec<String> = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let end = end_of_tag(&rest[at..]).expect("every tag ends");
        let inside = &rest[at + 1..at + end];
        let tag = tag(inside);
        rest = &rest[at + end + 1..];
        if tag.closing {
            let last = open.pop().expect("nothing is closed that is not open");
            assert_eq!(last, tag.name, "near {}", &inside[..inside.len().min(60)]);
        } else if !inside.ends_with('/') && !VOID.contains(&tag.name.as_str()) {
            if ["script", "style"].contains(&tag.name.as_str()) {
                let close = format!("</{}>", tag.name);
                rest = &rest[rest.find(&close).expect("it is closed") + close.len()..];
            } else {
                open.push(tag.name);
            }
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
}
