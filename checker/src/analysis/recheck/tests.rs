//! Witnesses that do not hold are found out.

use serde_json::json;

use crate::analysis::facts::{Dialect, Facts};
use crate::analysis::testing::script;
use crate::analysis::{About, Details, Findings, Judge, Kind, recheck};
use crate::history::{KeyId, Value};
use crate::{CheckError, Options};

struct Strict;

impl Judge for Strict {
    fn allows(&self, _: Kind, _: Option<About>) -> bool {
        false
    }
}

const TEXT: &str = "
    0 ok send x=1@0 x=2@1 x=3@2
    1 ok poll x:1@0,3@2
    0 fail send x=4
";

#[test]
fn what_the_analyses_find_holds() {
    let history = script(TEXT);
    let facts = Facts::derive(&history, Dialect::Own);
    let (findings, _) = crate::analysis::run(&facts, &Strict, &Options::default());
    assert!(findings.total(Kind::LostWrite) == 1);
    recheck::kafka(&history, &findings).expect("all of it holds");
}

#[test]
fn an_invented_finding_is_loud() {
    let history = script(TEXT);
    let value = |value: i64| Value::inline(value).expect("small");
    let claims = [
        // 1 was read; 4 was read by nobody; 2 stands at one offset; no cycle leads back.
        (
            Kind::LostWrite,
            Details::new(&history).key(KeyId(0)).value(value(1)),
            "no ok poll",
        ),
        (
            Kind::G1a,
            Details::new(&history)
                .key(KeyId(0))
                .value(value(4))
                .json("reader", 3),
            "was given it",
        ),
        (
            Kind::Duplicate,
            Details::new(&history)
                .key(KeyId(0))
                .value(value(2))
                .json("offsets", json!([1, 2])),
            "seen at each",
        ),
        (
            Kind::G1c,
            Details::new(&history).json("cycle", json!([1, 3, 1])).json(
                "steps",
                json!([
                    {"type": "wr", "key": "x", "value": 1},
                    {"type": "realtime"},
                ]),
            ),
            "was over when",
        ),
    ];
    for (kind, details, says) in claims {
        let mut findings = Findings::new(&Strict, 10);
        findings.add(kind, KeyId(0), || details.finish());
        let error = recheck::kafka(&history, &findings).expect_err("it does not hold");
        assert!(matches!(error, CheckError::Witness { .. }));
        assert_eq!(error.exit_code(), 70);
        assert!(error.to_string().contains(says), "{error}");
    }
}
