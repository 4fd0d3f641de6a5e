//! Witnesses that do not hold are found out.

use serde_json::{Value as Json, json};

use crate::analysis::facts::{Dialect, Facts};
use crate::analysis::list_append::Demand;
use crate::analysis::testing::script;
use crate::analysis::{About, Details, Finding, Findings, Judge, Kind, recheck};
use crate::history::{History, KeyId, Value};
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

/// A bad history of the gallery, for its model.
fn gallery(model: &str, kind: Kind) -> Option<History> {
    let place = format!("tests/gallery/{model}/{}/bad.jsonl", kind.name());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
    path.is_file()
        .then(|| crate::history::read::read_path(&path).expect("a history"))
}

fn looked_up(model: &str, history: &History, kind: Kind, finding: &Finding) -> bool {
    let mut findings = Findings::new(&Strict, 10);
    findings.add(kind, KeyId(0), || finding.clone());
    match model {
        "kafka" => recheck::kafka(history, &findings).is_ok(),
        _ => recheck::lists(history, &findings).is_ok(),
    }
}

/// Another value of the same sort.
fn other(value: &Json) -> Json {
    match value {
        Json::Array(all) => all.iter().map(other).collect(),
        Json::Object(all) => {
            let all = all.iter().map(|(name, value)| (name.clone(), other(value)));
            Json::Object(all.collect())
        }
        Json::String(text) => json!(format!("{text}?")),
        Json::Number(_) => json!(value.as_i64().map_or(-7, |n| n + 1000)),
        _ => json!(77),
    }
}

#[test]
fn every_type_is_looked_up_and_a_witness_that_was_tampered_with_is_refused() {
    let mut seen = 0;
    for (model, &kind) in ["kafka", "list-append"]
        .iter()
        .flat_map(|model| Kind::ALL.iter().map(move |kind| (*model, kind)))
    {
        let Some(history) = gallery(model, kind) else {
            continue;
        };
        let options = Options {
            ww_deps: true,
            model: match model {
                "kafka" => crate::Model::Kafka,
                _ => crate::Model::ListAppend,
            },
            consistency_models: match kind.name().ends_with("-process") {
                true => vec!["strong-session-serializable".to_owned()],
                false => Vec::new(),
            },
            ..Options::default()
        };
        let demand = Demand::new(&options).expect("good options");
        let facts = Facts::derive(&history, Dialect::Own);
        let findings = match model {
            "kafka" => crate::analysis::run(&facts, &Strict, &options).0,
            _ => crate::analysis::list_append::run(&history, &demand, &options),
        };
        let mut found = findings.forbidden().chain(findings.allowed());
        let found = found.find(|(of, _)| *of == kind).expect("it shows it").1;
        let finding = &found.listed[0];
        assert!(
            looked_up(model, &history, kind, finding),
            "{model} {kind:?}"
        );
        let refused = finding.details.keys().filter(|field| {
            let mut tampered = finding.clone();
            let value = other(&tampered.details[*field]);
            tampered.details.insert((*field).clone(), value);
            !looked_up(model, &history, kind, &tampered)
        });
        let fields = finding.details.len();
        assert!(
            refused.count() > 0 || fields == 0,
            "{model} {kind:?}: {finding:?}"
        );
        seen += 1;
    }
    assert!(seen > 60, "{seen}");
}
