//! The report as a whole: made-up runs in, a page and pictures out.

mod markup;
mod synthetic;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checker::report::{RenderError, RenderedFiles, render};
use serde_json::{Value as Json, json};
use synthetic::Plot;

struct Rendered {
    dir: tempfile::TempDir,
    files: RenderedFiles,
    page: String,
}

fn look(dir: tempfile::TempDir) -> Rendered {
    let files = render(dir.path()).expect("a made-up run can be rendered");
    let page = fs::read_to_string(&files.html).expect("the page was written");
    Rendered { dir, files, page }
}

fn rendered(plot: Plot) -> Rendered {
    let dir = tempfile::tempdir().expect("a temporary folder");
    synthetic::write(dir.path(), plot);
    look(dir)
}

const SECTIONS: [&str; 8] = [
    "verdict",
    "timeline",
    "availability",
    "guarantees",
    "power",
    "errors",
    "reproduce",
    "glossary",
];

const IMAGES: [&str; 10] = [
    "availability.png",
    "faults.png",
    "latency-quantiles.png",
    "latency-raw.png",
    "leaders.png",
    "overview-dark.png",
    "overview.png",
    "rate.png",
    "unseen.png",
    "watermark-lag.png",
];

/// What holds for every page, whatever is on it.
fn assert_sound(page: &str) {
    markup::assert_balanced(page);
    let (tags, _) = markup::parse(page);
    let named = |name: &str| tags.iter().filter(|t| !t.closing && t.name == name).count();
    assert_eq!(named("h1"), 1);
    assert_eq!(named("script"), 2, "the numbers and the script");
    assert_eq!(named("style"), 1);
    for name in [
        "link", "img", "iframe", "object", "embed", "base", "form", "image", "use",
    ] {
        assert_eq!(named(name), 0, "<{name}> has no place on the page");
    }
    let mut ids: Vec<&str> = tags.iter().filter_map(|tag| tag.attribute("id")).collect();
    for section in SECTIONS {
        assert!(ids.contains(&section), "section {section}");
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "identifiers are unique");
    for tag in tags.iter().filter(|tag| !tag.closing) {
        for (name, value) in &tag.attributes {
            assert!(!name.starts_with("on"), "{name} on <{}>", tag.name);
            assert_ne!(name, "style", "the policy forbids style attributes");
            assert_ne!(name, "src");
            if name == "href" {
                let target = value.strip_prefix('#').expect("links stay on the page");
                assert!(
                    ids.binary_search(&target).is_ok(),
                    "#{target} leads nowhere"
                );
            }
        }
        if tag.name == "th" {
            assert!(
                tag.attribute("scope").is_some(),
                "headers say what they head"
            );
        }
    }
    let space = "http://www.w3.org/2000/svg";
    assert!(
        !page.replace(space, "").contains("://"),
        "an address of something elsewhere"
    );
}

fn assert_pictures(files: &RenderedFiles) {
    let mut names: Vec<String> = Vec::new();
    for path in &files.images {
        let bytes = fs::read(path).expect("the picture was written");
        assert!(
            bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
            "{}",
            path.display()
        );
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4"));
        assert_eq!(number(16), 1620, "width of {}", path.display());
        assert!(number(20) > 100, "height of {}", path.display());
        // A blank picture of this size is a few kB.
        assert!(bytes.len() > 8_000, "{} is blank", path.display());
        names.extend(
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    assert_eq!(names, IMAGES);
}

#[test]
fn a_valid_run_has_everything_and_nothing_to_complain_about() {
    let run = rendered(Plot::default());
    assert_sound(&run.page);
    assert_pictures(&run.files);
    let (_, text) = markup::parse(&run.page);
    assert!(text.contains("acknowledged messages were read back, twice."));
    assert!(text.contains("cargo run -p harness -- --nemesis partition,kill,pause --seed 42"));
    assert!(text.contains("5 of 5"));
    assert!(!text.contains("What needs attention"));
    for word in ["partition", "kill", "pause", "delay-watermark"] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn lost_messages_come_first_and_have_stories() {
    let run = rendered(Plot {
        lost: 40,
        ack_times: true,
        ..Plot::default()
    });
    assert_sound(&run.page);
    assert_pictures(&run.files);
    let attention = run.page.find("id=\"attention\"").expect("needs attention");
    let timeline = run.page.find("id=\"timeline\"").expect("has pictures");
    assert!(attention < timeline);
    let (tags, text) = markup::parse(&run.page);
    assert!(text.contains("40 never read by anybody"));
    assert!(
        text.contains("32 of 40"),
        "how many are shown, and how many there are"
    );
    let class = |tag: &&markup::Tag| !tag.closing && tag.attribute("class") == Some("story");
    assert_eq!(tags.iter().filter(class).count(), 32);
    assert!(text.contains("First provably gone"));
    assert!(text.contains("per message, by powers of ten"));
}

#[test]
fn a_run_that_was_cut_off_shows_what_there_is() {
    let run = rendered(Plot {
        cut_off: true,
        ..Plot::default()
    });
    assert_sound(&run.page);
    assert_pictures(&run.files);
    let (_, text) = markup::parse(&run.page);
    assert!(text.contains("This run has no verdict"));
    assert!(text.contains("history.jsonl ends in the middle of a line"));
    assert!(text.contains("? not checked"));
}

#[test]
fn an_empty_run_says_why_its_pictures_are_empty() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("history.jsonl"), "").expect("writable");
    let run = look(dir);
    assert_sound(&run.page);
    assert_pictures(&run.files);
    let (_, text) = markup::parse(&run.page);
    for why in [
        "no message was sent",
        "nothing was read",
        "nothing was acknowledged",
    ] {
        assert!(text.contains(why), "{why}");
    }
}

#[test]
fn a_folder_without_a_history_has_a_report_all_the_same() {
    let run = look(tempfile::tempdir().expect("a temporary folder"));
    assert_sound(&run.page);
    let (_, text) = markup::parse(&run.page);
    assert!(text.contains("No history:"));
}

#[test]
fn a_folder_that_does_not_exist_is_an_error_that_says_so() {
    let missing = PathBuf::from("no/such/run");
    let error = render(&missing).expect_err("there is nothing to render");
    assert!(matches!(error, RenderError::NotARun { .. }));
    assert!(error.to_string().contains("no/such/run"));
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let run = rendered(Plot {
        lost: 3,
        seconds: 12,
        ..Plot::default()
    });
    let pictures = |files: &RenderedFiles| -> Vec<Vec<u8>> {
        let read = |path: &PathBuf| fs::read(path).expect("written");
        files.images.iter().map(read).collect()
    };
    let first = pictures(&run.files);
    let again = look(run.dir);
    assert!(run.page == again.page, "the page differs");
    assert!(first == pictures(&again.files), "a picture differs");
}

const PAYLOADS: [&str; 5] = [
    "<img src=x onerror=alert(1)>",
    "\"><svg/onload=alert(1)>",
    "</script><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "\u{202e}\u{1b}]8;;http\u{7}<b>",
];

/// A history, verdict and logs in which every free string is a payload.
fn poison(dir: &Path, payload: &str) {
    let mut lines = Vec::new();
    let mut add = |time: i64, mut event: Json| {
        event["time"] = json!(time * 100_000_000);
        event["index"] = json!(lines.len());
        lines.push(event.to_string());
    };
    let event = |process: Json, kind: &str, f: &str, value: Json| json!({"process": process, "type": kind, "f": f, "value": value});
    let sampler = || json!("sampler");
    add(
        0,
        event(
            sampler(),
            "ok",
            "config",
            json!({payload: payload, "workload": payload}),
        ),
    );
    add(1, event(sampler(), "ok", "phase", json!(payload)));
    for (at, step) in ["asked", "effective", "healed", "verified"]
        .iter()
        .enumerate()
    {
        let value = json!({"fault": payload, "id": payload, "step": step, "targets": [payload],
            "role": payload, "partition": payload});
        add(2 + at as i64, event(json!("nemesis"), "ok", payload, value));
    }
    let sent = json!([["send", payload, payload]]);
    add(6, event(json!(0), "invoke", "send", sent.clone()));
    let acknowledged = json!([["send", payload, [0, payload]]]);
    add(7, event(json!(0), "ok", "send", acknowledged));
    add(8, event(json!(1), "invoke", "send", sent.clone()));
    let mut failed = event(json!(1), "info", "send", sent);
    failed["value"] = json!([["send", payload, [null, payload]]]);
    failed["error"] = json!({"code": payload, "message": payload});
    add(9, failed);
    add(10, event(json!(2), "invoke", "poll", json!([["poll"]])));
    add(
        11,
        event(
            json!(2),
            "ok",
            "poll",
            json!([["poll", {payload: [[0, payload]]}]]),
        ),
    );
    let sample = json!({payload: {"high-watermark": 0, "leader": 1, "epoch": 1, "asked": 1}});
    add(12, event(sampler(), "invoke", "list-offsets", json!(null)));
    add(13, event(sampler(), "ok", "list-offsets", sample));
    fs::create_dir_all(dir.join("brokers")).expect("writable");
    let put = |name: &str, text: String| fs::write(dir.join(name), text).expect("writable");
    put("history.jsonl", lines.join("\n") + "\n");
    put(
        "run.json",
        json!({"replay": payload, payload: {"x": payload}}).to_string(),
    );
    put("schedule.json", json!({payload: payload}).to_string());
    put(
        "brokers/1.log",
        format!("WARN {payload}\nERROR {payload}\n"),
    );
    let metric = format!("watermark_lag{{follower=\"{payload}\"}}");
    let metrics = json!({"time": 1, "broker": payload, "metrics": {metric: 3}});
    put("metrics.jsonl", format!("{metrics}\n"));
    put("verdict.json", poisoned_verdict(payload).to_string());
}

fn poisoned_verdict(payload: &str) -> Json {
    let witness = json!({"key": payload, "value": payload, "writer": 7, "max-read": 11,
        payload: payload, "ops": [7, 11], "values": [payload, payload]});
    json!({"schema": 1, "verdict": "invalid", "sentence": payload,
        "anomalies": {"lost-write": [witness], payload: [witness], "duplicate": [witness],
            "unseen": {"time": 5, "unseen": {payload: 1}, "messages": {payload: [payload]}}},
        "allowed": {payload: [witness], "G0": payload},
        "counts": {"ops": 1, "ok": 1, "fail": 0, "info": 0, "acknowledged": 1, "polled": 1},
        "worst-realtime-lag": null, "profile": payload, "clauses": {"lost-write": payload},
        "criteria": [{"name": payload, "achieved": 0.0, "required": 1.0, "met": false,
            "says": payload}],
        "faults": [], "notes": [payload],
        "stories": [{"anomaly": payload, "key": payload, "value": payload, "offset": 1,
            "whereabouts": "unknown", "sentence": payload, "faults": [payload],
            "evidence": [{"time": 700_000_000, "op": 7, "actor": payload, "kind": payload,
                "present": true, "says": payload}]}]})
}

#[test]
fn hostile_strings_are_shown_and_do_nothing() {
    for payload in PAYLOADS {
        let dir = tempfile::tempdir().expect("a temporary folder");
        poison(dir.path(), payload);
        let run = look(dir);
        assert_sound(&run.page);
        // The numbers for the script are JSON, in which only `<` could do harm.
        let (start, _) = run.page.split_once("<script type=").expect("numbers");
        assert!(!start.contains(payload), "{payload:?} stands unescaped");
        let visible = payload.replace('<', "&lt;").replace('>', "&gt;");
        let visible = visible.replace('"', "&quot;").replace('\'', "&#39;");
        if !payload.contains('\u{1b}') {
            assert!(run.page.contains(&visible), "{payload:?} is not shown");
        }
        let acts = |c: char| c == '\u{1b}' || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(
            !run.page.contains(acts),
            "{payload:?} leaves something that acts"
        );
    }
}

#[test]
fn broken_files_become_remarks() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    synthetic::write(dir.path(), Plot::default());
    fs::write(dir.path().join("verdict.json"), "{\"schema\": 1").expect("writable");
    fs::write(dir.path().join("run.json"), "not json").expect("writable");
    let run = look(dir);
    assert_sound(&run.page);
    let (_, text) = markup::parse(&run.page);
    assert!(text.contains("verdict.json cannot be understood"));
    assert!(text.contains("run.json cannot be understood"));
}

#[test]
fn a_large_run_makes_a_small_page_quickly() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let plot = Plot {
        seconds: 12,
        batch: 1_500,
        ..Plot::default()
    };
    synthetic::write(dir.path(), plot);
    let start = Instant::now();
    let run = look(dir);
    let took = start.elapsed();
    assert!(run.page.len() < 1_500_000, "{} bytes", run.page.len());
    // Measured: 0.4 s. The limit leaves room for a machine that is busy.
    assert!(took < Duration::from_secs(15), "{took:?}");
}

/// The words of the page, one line per block, without what changes with every touch of a style.
fn outline(page: &str) -> String {
    let (_, text) = markup::parse(page);
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.join(" ")
    });
    let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("\n") + "\n"
}

/// Set `UPDATE_GOLDEN=1` to accept what the report says now.
#[test]
fn the_words_of_a_report_are_as_they_were() {
    let run = rendered(Plot {
        seconds: 10,
        lost: 2,
        ..Plot::default()
    });
    let folder = run.dir.path().file_name().expect("it has a name");
    let now = outline(&run.page).replace(&*folder.to_string_lossy(), "RUN");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/report-words.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &now).expect("the fixture can be written");
    }
    let then = fs::read_to_string(&golden).expect("the fixture is part of the repository");
    let difference = now
        .lines()
        .zip(then.lines())
        .find(|(now, then)| now != then);
    assert!(now == then, "the first difference: {difference:#?}");
}

/// `KEEP_REPORTS=DIR` keeps made-up runs with their reports, to be looked at.
#[test]
fn made_up_runs_can_be_kept() {
    let Some(base) = std::env::var_os("KEEP_REPORTS") else {
        return;
    };
    let plots = [
        ("valid", Plot::default()),
        (
            "invalid",
            Plot {
                lost: 40,
                seconds: 60,
                ack_times: true,
                ..Plot::default()
            },
        ),
        (
            "cut-off",
            Plot {
                cut_off: true,
                ..Plot::default()
            },
        ),
    ];
    for (name, plot) in plots {
        let dir = Path::new(&base).join(name);
        synthetic::write(&dir, plot);
        render(&dir).expect("a made-up run can be rendered");
    }
    let checked = Path::new(&base).join("checked");
    let plot = Plot {
        lost: 40,
        ..Plot::default()
    };
    synthetic::write(&checked, plot);
    let options = checker::Options::default();
    let verdict = checker::check_path(&checked, &options).expect("a made-up run can be checked");
    let text = serde_json::to_string(&verdict).expect("a verdict is JSON");
    fs::write(checked.join("verdict.json"), text).expect("writable");
    render(&checked).expect("a checked run can be rendered");
    let hostile = Path::new(&base).join("hostile");
    poison(&hostile, PAYLOADS[2]);
    render(&hostile).expect("a made-up run can be rendered");
    let empty = Path::new(&base).join("empty");
    fs::create_dir_all(&empty).expect("writable");
    fs::write(empty.join("history.jsonl"), "").expect("writable");
    render(&empty).expect("an empty run can be rendered");
}

#[test]
fn tmp_render_dir() {
    let Some(d) = std::env::var_os("RENDER_DIR") else {
        return;
    };
    let start = Instant::now();
    render(Path::new(&d)).expect("rendered");
    eprintln!("took {:?}", start.elapsed());
}
