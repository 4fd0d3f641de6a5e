//! A gallery of everything that can be found: each type of anomaly has one bad history that shows
//! it, and one good history beside it that looks alike and does not (`tests/gallery/MODEL/TYPE/`).
//!
//! None is missing, each is explained with a picture in which nothing is cut off, and its witness
//! is the smallest there is. `docs/anomalies.md` is written from the same table
//! (`UPDATE_DOCS=1 cargo test -p checker --test gallery`).

#[path = "gallery/table.rs"]
mod table;

use std::io::Cursor;
use std::path::Path;

use checker::analysis::Kind;
use checker::explain::{Explanation, explain};
use checker::history::OpId;
use checker::history::read::{read_from, read_path};
use checker::report::glossary;
use checker::report::scene::{Scene, Shape, Words, svg};
use checker::report::scene::{Theme, png};
use checker::verdict::profile::Profile;
use checker::{History, Model, Options, Verdict, check};
use table::{Case, cases};

fn history(case: &Case, which: &str) -> History {
    read_path(&case.path(which)).unwrap_or_else(|error| panic!("{error}"))
}

fn shows(verdict: &Verdict, kind: Kind) -> bool {
    let name = kind.name();
    verdict.anomalies.contains_key(name) || verdict.allowed.contains_key(name)
}

fn explained(case: &Case, history: &History, options: &Options) -> Explanation {
    let name = format!("{}/1", case.kind.name());
    let told = explain(history, options, &name.parse().expect("a name"));
    told.unwrap_or_else(|error| panic!("{}: {error}", case.name()))
}

#[test]
fn the_bad_history_shows_it_and_the_good_one_does_not() {
    let mut faults = Vec::new();
    for case in cases() {
        let options = case.options();
        let bad = check(&history(&case, "bad"), &options).expect("a verdict");
        if !shows(&bad, case.kind) {
            let found = (bad.anomalies.keys(), bad.allowed.keys());
            faults.push(format!("{}: {found:?}", case.name()));
        }
        let good = check(&history(&case, "good"), &options).expect("a verdict");
        if shows(&good, case.kind) || !good.anomalies.is_empty() {
            faults.push(format!(
                "{}: good, but {:?}",
                case.name(),
                good.anomalies.keys()
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_is_explained_with_a_picture_in_which_nothing_is_cut_off() {
    for case in cases() {
        let told = explained(&case, &history(&case, "bad"), &case.options());
        let name = case.name();
        assert!(
            !told.sentence.is_empty() && !told.clause.is_empty(),
            "{name}"
        );
        let field_by_field = told.sentence.contains(" · ");
        assert!(
            !field_by_field,
            "{name} is told in a sentence: {}",
            told.sentence
        );
        assert!(
            told.sentence.ends_with('.'),
            "{name}: a sentence ends: {}",
            told.sentence
        );
        let drawn = told.picture.items.len() > 5;
        assert!(
            drawn || case.kind == Kind::EmptyTransactionGraph,
            "{name} has a picture"
        );
        within_bounds(&name, &told.picture);
        apart(&name, &told.picture);
        let text = svg::document(&told.picture, Theme::Light);
        assert!(text.starts_with("<svg") && !text.contains("NaN"), "{name}");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.png");
        png::write(&told.picture, Theme::Dark, &path).expect("it can be drawn");
    }
}

/// Left, top, right, bottom.
type Area = (f64, f64, f64, f64);

fn area(shape: &Shape) -> Option<Area> {
    let of_points = |points: &mut dyn Iterator<Item = &(f64, f64)>| {
        let start = (f64::MAX, f64::MAX, f64::MIN, f64::MIN);
        let all = points.fold(start, |(a, b, c, d), &(x, y)| {
            (a.min(x), b.min(y), c.max(x), d.max(y))
        });
        (all.0 <= all.2).then_some(all)
    };
    match shape {
        Shape::Rect(frame, _) => Some((frame.x, frame.y, frame.right(), frame.bottom())),
        Shape::Path { parts, .. } | Shape::Area { parts, .. } => {
            of_points(&mut parts.iter().flatten())
        }
        Shape::Marks { points, .. } => of_points(&mut points.iter()),
        Shape::Text { .. } => text_area(shape).map(|(_, area)| area),
    }
}

fn text_area(shape: &Shape) -> Option<(&str, Area)> {
    use checker::report::scene::Anchor;
    let Shape::Text {
        at,
        text,
        size,
        bold,
        anchor,
        ..
    } = shape
    else {
        return None;
    };
    let words = Words {
        size: *size,
        bold: *bold,
        ..Words::SMALL
    };
    let width = words.width(text);
    let left = match anchor {
        Anchor::Start => at.0,
        Anchor::Middle => at.0 - width / 2.0,
        Anchor::End => at.0 - width,
    };
    Some((
        text,
        (left, at.1 - size * 0.8, left + width, at.1 + size * 0.2),
    ))
}

fn within_bounds(name: &str, scene: &Scene) {
    for item in &scene.items {
        if let Some((left, top, right, bottom)) = area(&item.shape) {
            let inside = left >= -0.5
                && top >= -0.5
                && right <= scene.size.0 + 0.5
                && bottom <= scene.size.1 + 0.5;
            assert!(
                inside,
                "{name}: {:?} is outside of {:?}",
                item.shape, scene.size
            );
        }
    }
}

/// No words lie upon other words.
fn apart(name: &str, scene: &Scene) {
    let texts: Vec<_> = scene
        .items
        .iter()
        .filter_map(|i| text_area(&i.shape))
        .collect();
    for (at, (one, a)) in texts.iter().enumerate() {
        for (other, b) in &texts[at + 1..] {
            let overlap = a.0 < b.2 - 1.0 && b.0 < a.2 - 1.0 && a.1 < b.3 - 1.0 && b.1 < a.3 - 1.0;
            assert!(!overlap, "{name}: `{one}` lies upon `{other}`");
        }
    }
}

/// The finding that a part of the history still has, by what it is about.
fn still(case: &Case, told: &Explanation, part: &History) -> bool {
    let verdict = check(part, &case.options()).expect("a verdict");
    let found = [&verdict.anomalies, &verdict.allowed];
    let found = found.iter().filter_map(|all| all.get(case.kind.name()));
    let mut details = found.flat_map(|details| match details {
        serde_json::Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    });
    details.any(|detail| {
        let alike = |field: &str| detail.get(field) == told.detail.get(field);
        alike("key") && alike("value")
    })
}

#[test]
fn a_witness_shows_it_alone_and_nothing_smaller_does() {
    for case in cases() {
        let whole = history(&case, "bad");
        let told = explained(&case, &whole, &case.options());
        let name = case.name();
        assert!(told.witness_is_minimal, "{name}");
        // The history of the witness, written and read again, has the finding.
        let mut text = Vec::new();
        told.part.write_to(&mut text).expect("memory");
        let part = read_from(Cursor::new(&text), "witness").expect("a history");
        assert!(
            still(&case, &told, &part),
            "{name}: {}",
            String::from_utf8_lossy(&text)
        );
        let ids: Vec<OpId> = whole.iter().map(|(id, _)| id).collect();
        let ids: Vec<OpId> = ids
            .into_iter()
            .filter(|&id| !whole.is_context(id))
            .collect();
        for bits in 0u32..1 << ids.len() {
            if bits.count_ones() as usize >= told.witness.len() {
                continue;
            }
            let chosen = ids.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
            let chosen: Vec<OpId> = chosen.map(|(_, &id)| id).collect();
            if !passes_are_whole(&whole, &chosen) {
                continue;
            }
            let smaller = whole.subset(&chosen);
            assert!(
                !still(&case, &told, &smaller),
                "{name}: {:?} show it, not only {:?}",
                chosen
                    .iter()
                    .map(|&id| whole.op(id).index)
                    .collect::<Vec<_>>(),
                told.witness
            );
        }
    }
}

/// A complete pass is its polls too.
fn passes_are_whole(history: &History, chosen: &[OpId]) -> bool {
    let passes = history
        .drains
        .iter()
        .filter(|drain| chosen.contains(&drain.op));
    passes.into_iter().all(|drain| {
        let pass = history.op(drain.op);
        let mut polls = history.iter().filter(|(_, op)| {
            op.process == pass.process
                && op.invoked.seq > pass.invoked.seq
                && op.completed.seq < pass.completed.seq
        });
        polls.all(|(id, _)| chosen.contains(&id))
    })
}

/// The table of `docs/anomalies.md`.
fn documented() -> String {
    let mut text = String::from(DOC);
    for (model, heading) in [
        (Model::Kafka, "Kafka-like logs"),
        (Model::ListAppend, "Lists (`--model list-append`)"),
    ] {
        text += &format!(
            "\n## {heading}\n\n| type | what it is | shown by | `safe` |\n|---|---|---|---|\n"
        );
        let safe = Profile::named("safe").expect("the base profile");
        for case in cases().into_iter().filter(|case| case.model == model) {
            let name = case.kind.name();
            let term = glossary::anomaly(name);
            let what = term.map_or("", |term| term.what);
            assert!(!what.is_empty(), "the glossary knows {name}");
            let clause = match model {
                Model::Kafka => safe.clause(case.kind).allowed.says(),
                Model::ListAppend => "by the models demanded",
            };
            let folder = case
                .place("bad")
                .replace("tests/gallery/", "")
                .replace("/bad.jsonl", "");
            let arguments = case.arguments();
            let by = arguments.replace(" --model list-append", "");
            let by = if by.is_empty() {
                by
            } else {
                format!("`{}`", by.trim())
            };
            let file = case.file();
            let short = file.trim_start_matches("checker/src/analysis/");
            text += &format!(
                "| `{name}` | {what} ([definition](../{file} \"{short}\")) | `{folder}` {by} | {clause} |\n"
            );
        }
        for &kind in Kind::ALL {
            if let Some(why) = table::why_not(kind, model) {
                text += &format!("| `{}` | never named here: {why} | | |\n", kind.name());
            }
        }
    }
    text
}

const DOC: &str = "\
# Everything that the checker finds

Written by `UPDATE_DOCS=1 cargo test -p checker --test gallery` from the analyses, the glossary and
the profiles; that test fails when this page is out of date, and when a type has no definition, no
bad history or no good one.

Each type has a bad history that shows it, small enough to be read, and a good one beside it that
looks alike and does not: `checker/tests/gallery/MODEL/TYPE/{bad,good}.jsonl`. To see one explained,
with a picture, and the fewest operations that show it as a history of their own:

```sh
cargo run -p checker -- explain checker/tests/gallery/kafka/lost-write/bad.jsonl lost-write/1 \\
    --png lost.png --svg lost.svg --witness small.jsonl
cargo run -p checker --example gallery -- /tmp/gallery      # every picture, on one page
```
";

#[test]
fn the_page_about_anomalies_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/anomalies.md");
    for case in cases() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(case.file());
        let source = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let stem = case.kind.name().trim_end_matches("-realtime");
        let stem = stem.trim_end_matches("-process").trim_end_matches("-item");
        let defined = source.contains(stem) || source.contains(&format!("{:?}", case.kind));
        assert!(defined, "{} is defined in {}", case.name(), file.display());
    }
    let expected = documented();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).expect("it can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == expected,
        "docs/anomalies.md is out of date: UPDATE_DOCS=1 writes it"
    );
}
