//! EDN read, written and translated: what comes back is what was there.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::json::{event, op};
use super::parse::Parser;
use super::*;

fn parse(text: &str) -> Edn {
    let mut parser = Parser::new(text.as_bytes());
    let form = parser
        .form()
        .unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    assert_eq!(parser.peek(), Ok(None), "{text}");
    form
}

#[test]
fn every_sort_of_form() {
    let text =
        r#"{:a [1 -2 1.5 nil true], "b\n\u00e9" #{:x/y}, (f \a \newline) #inst "2026", [] 5N}"#;
    let form = parse(text);
    assert_eq!(parse(&form.to_string()), form);
    assert_eq!(
        form.get("a").map(ToString::to_string).as_deref(),
        Some("[1 -2 1.5 nil true]")
    );
    assert_eq!(parse(" ; a remark\n #_ {:gone 1} 7"), Edn::Int(7));
}

#[test]
fn faults_say_where_and_whether_the_text_was_cut_off() {
    let text = "{:type :ok\n :value [[:send 0 [1 2]]";
    for cut in 1..text.len() {
        let mut parser = Parser::new(&text.as_bytes()[..cut]);
        let fault = parser.form().expect_err("the map is open");
        assert!(parser.is_cut_off(&fault), "{}: {fault:?}", &text[..cut]);
    }
    let mut parser = Parser::new(b"{:a 1\n :b ]}");
    let fault = parser.form().expect_err("a bracket that closes nothing");
    assert_eq!(
        (parser.place(fault.at), parser.is_cut_off(&fault)),
        ((2, 5), false)
    );
    let deep = "[".repeat(100_000);
    assert!(Parser::new(deep.as_bytes()).form().is_err());
}

#[test]
fn an_operation_of_jepsen_is_an_event_of_ours() {
    let text = "#jepsen.history.Op{:index 3, :time 9, :type :ok, :process 1, :f :txn, \
                :value [[:send 0 [5 7]] [:poll {0 [[5 7]], \"t-1\" []}] [:poll]], \
                :error [:timeout \"x\"], :rebalance-log [{:keys [0]}], :seek-to-beginning? true}";
    let event = event(&parse(text)).expect("a map");
    assert_eq!(
        event,
        json!({"index": 3, "time": 9, "type": "ok", "process": 1, "f": "txn",
            "value": [["send", 0, [5, 7]], ["poll", {"0": [[5, 7]], "t-1": []}], ["poll"]],
            "error": ["~:timeout", "x"], "rebalance-log": [{"keys": [0]}],
            "seek-to-beginning?": true})
    );
    let back = op(&event).expect("an object");
    assert_eq!(super::json::event(&back), Some(event));
    assert!(
        back.to_string().contains("[:poll {0 [[5 7]], \"t-1\" []}]"),
        "{back}"
    );
}

fn form() -> impl Strategy<Value = Edn> {
    let name = "[a-z][a-z0-9?!*-]{0,6}";
    let leaf = prop_oneof![
        Just(Edn::Nil),
        any::<bool>().prop_map(Edn::Bool),
        any::<i64>().prop_map(Edn::Int),
        (-1e9..1e9).prop_map(Edn::Float),
        ".{0,8}".prop_map(Edn::Text),
        "[~:#a ]{0,5}".prop_map(Edn::Text),
        name.prop_map(Edn::Keyword),
        Just(Edn::Word("12345678901234567890N".to_owned())),
        Just(Edn::Word("5N".to_owned())),
        Just(Edn::Word("\\a".to_owned())),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let forms = proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            forms.clone().prop_map(Edn::List),
            forms.clone().prop_map(Edn::Vector),
            forms.clone().prop_map(Edn::Set),
            proptest::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(distinct),
            ("[a-z]{1,4}", inner).prop_map(|(tag, form)| Edn::Tagged(tag, Box::new(form))),
        ]
    })
}

/// A map has each key once; and JSON lists them in its own order.
fn distinct(entries: Vec<(Edn, Edn)>) -> Edn {
    let mut kept: Vec<(Edn, Edn)> = Vec::new();
    for (key, value) in entries {
        if kept.iter().all(|(known, _)| *known != key) {
            kept.push((key, value));
        }
    }
    Edn::Map(kept)
}

/// The same with maps in one order.
fn sorted(form: &Edn) -> Edn {
    match form {
        Edn::Map(entries) => {
            let pair = |(key, value): &(Edn, Edn)| (sorted(key), sorted(value));
            let mut entries: Vec<_> = entries.iter().map(pair).collect();
            entries.sort_by_key(|(key, _)| key.to_string());
            Edn::Map(entries)
        }
        Edn::Vector(forms) => Edn::Vector(forms.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        ".{0,8}".prop_map(Json::from),
        "[~:#a \"]{0,6}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::btree_map("[~:#a-c0-9 ]{0,4}", inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut parser = Parser::new(&bytes);
        while parser.form().is_ok() {}
    }

    #[test]
    fn bytes_like_edn_never_panic(text in "[\\[\\](){}#:\\\\\"a1 ,;_~\n]{0,60}") {
        let mut parser = Parser::new(text.as_bytes());
        while let Ok(form) = parser.form() {
            prop_assert_eq!(parse(&form.to_string()), form);
        }
    }

    #[test]
    fn what_is_written_is_read_again(form in form()) {
        prop_assert_eq!(parse(&form.to_string()), form);
    }

    #[test]
    fn edn_to_json_and_back(value in form(), f in prop_oneof![
        Just("send"), Just("poll"), Just("drain"), Just("commit-offsets"), Just("start"),
    ]) {
        let entries = [("type", Edn::keyword("ok")), ("f", Edn::keyword(f)), ("value", value)];
        let original = Edn::Map(entries.map(|(name, form)| (Edn::keyword(name), form)).to_vec());
        let event = event(&original).expect("a map");
        // Where micro-ops are expected, a list is as good as a vector.
        let original = match original.get("value") {
            Some(Edn::List(ops)) if ["send", "poll"].contains(&f) => {
                let ops = Edn::Vector(ops.clone());
                let entries = [("type", Edn::keyword("ok")), ("f", Edn::keyword(f)), ("value", ops)];
                Edn::Map(entries.map(|(name, form)| (Edn::keyword(name), form)).to_vec())
            }
            _ => original,
        };
        let written = event.to_string();
        let read = serde_json::from_str(&written).expect("JSON");
        prop_assert_eq!(sorted(&op(&read).expect("an object")), sorted(&original), "{}", written);
    }

    #[test]
    fn json_to_edn_and_back(value in json(), f in prop_oneof![
        Just("txn"), Just("audit"), Just("fetch-offsets"), Just("config"),
    ]) {
        let original = json!({"type": "ok", "f": f, "process": 3, "value": value});
        let written = op(&original).expect("an object").to_string();
        prop_assert_eq!(event(&parse(&written)), Some(original), "{}", written);
    }
}
