//! Input that means harm: whatever the bytes, the reader neither panics nor takes memory without
//! bound, and says what is wrong with them.
//!
//! More of the same by command:
//! `PROPTEST_CASES=1000000 cargo test --release -p checker --test hostile`.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use checker::compression::Output;
use checker::history::read::{edn_to_jsonl, jsonl_to_edn, read_edn, read_from, read_path};
use checker::{History, Model, Options, check};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const GOOD: &str = r#"{"index":0,"time":1,"process":0,"type":"invoke","f":"txn","value":[["send","x",1],["poll"]]}
{"index":1,"time":2,"process":0,"type":"ok","f":"txn","value":[["send","x",[0,1]],["poll",{"y":[[0,2],[1,null,{"corrupt":"crc"}]]}],["offsets","g",{"y":1}]],"error":{"code":"X"},"rebalance-log":[{"keys":["x"]}],"group":"g","producer":[1,2]}
{"process":"sampler","type":"ok","f":"list-offsets","value":{"x":{"log-start":0,"lso":1,"high-watermark":1,"leader":1,"epoch":2,"asked":1}}}
{"process":5,"type":"ok","f":"drain","value":{"x":[0,1]}}
{"process":5,"type":"ok","f":"audit","value":{"x":{"broker":1,"high-watermark":1,"records":[[0,1,1]]}}}
{"process":5,"type":"ok","f":"txn","value":[["append",1,2],["r",1,[2]],["r",2,null]]}
{"process":5,"type":"ok","f":"commit-offsets","value":{"group":"g","offsets":{"x":3}}}
"#;

/// Whatever was read is judged by every model without an internal error.
fn judge(history: &History) {
    for model in [Model::Kafka, Model::ListAppend] {
        for profile in ["safe", "jepsen"] {
            let options = Options {
                model,
                profile: profile.to_owned(),
                ww_deps: true,
                strict_reads: true,
                ..Options::default()
            };
            check(history, &options).unwrap_or_else(|error| panic!("{model:?} {profile}: {error}"));
        }
    }
}

fn a_value() -> impl Strategy<Value = Json> + Clone {
    prop_oneof![
        4 => (0i64..6).prop_map(Json::from),
        1 => any::<i64>().prop_map(Json::from),
        1 => any::<u64>().prop_map(Json::from),
        1 => (-2.0..2.0f64).prop_map(Json::from),
        1 => "[a-b]{0,2}".prop_map(Json::from),
        1 => any::<bool>().prop_map(Json::from),
        1 => Just(Json::Null),
    ]
}

fn an_offset() -> impl Strategy<Value = Json> + Clone {
    prop_oneof![
        6 => (0i64..6).prop_map(Json::from),
        1 => any::<i64>().prop_map(Json::from),
        1 => Just(Json::Null),
    ]
}

fn a_key() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(json!("x")),
        Just(json!("y")),
        Just(json!(7)),
        Just(json!("7"))
    ]
}

fn a_micro_op() -> impl Strategy<Value = Json> {
    let record = (an_offset(), a_value()).prop_map(|(offset, value)| json!([offset, value]));
    let records = proptest::collection::vec(record.clone(), 0..5);
    let element = a_value().prop_filter("elements are no null", |value| !value.is_null());
    let list = proptest::collection::vec(element.clone(), 0..5);
    prop_oneof![
        3 => (a_key(), record).prop_map(|(key, record)| json!(["send", key, record])),
        3 => (a_key(), records).prop_map(|(key, records)| {
            let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            json!(["poll", {name: records}])
        }),
        1 => Just(json!(["poll"])),
        2 => (a_key(), element).prop_map(|(key, value)| json!(["append", key, value])),
        2 => (a_key(), list).prop_map(|(key, list)| json!(["r", key, list])),
        1 => a_key().prop_map(|key| json!(["r", key, null])),
    ]
}

/// Events that history.md allows in imported histories, in no sensible order.
fn an_event() -> impl Strategy<Value = Json> {
    let process = prop_oneof![
        5 => (0i64..4).prop_map(Json::from),
        1 => Just(Json::Null),
        1 => Just(json!("worker")),
        1 => Just(json!("nemesis")),
        1 => Just(json!("sampler")),
    ];
    let kind = prop_oneof![
        Just("invoke"),
        Just("ok"),
        Just("ok"),
        Just("fail"),
        Just("info")
    ];
    let data = prop_oneof![Just("send"), Just("poll"), Just("txn")];
    let micro_ops = proptest::collection::vec(a_micro_op(), 0..4).prop_map(Json::from);
    let keys = proptest::collection::vec(a_key(), 0..3).prop_map(Json::from);
    let attach = prop_oneof![Just("assign"), Just("subscribe")];
    let what = prop_oneof![
        8 => (data, micro_ops),
        1 => (attach, keys),
        1 => Just(("crash", Json::Null)),
        1 => Just(("dance", json!({"x": [1]}))),
        1 => (Just("drain"), (0i64..3, 0i64..5).prop_map(|(from, to)| json!({"x": [from, to]}))),
        1 => (Just("list-offsets"), (0i64..5, 0i64..3).prop_map(|(hw, epoch)| {
            json!({"x": {"high-watermark": hw, "epoch": epoch, "asked": 1, "leader": 1}})
        })),
        1 => (Just("commit-offsets"), an_offset().prop_map(|offset| {
            json!({"group": "g", "offsets": {"x": offset}})
        })),
    ];
    let time = prop_oneof![Just(None), Just(Some(-1)), (0i64..100).prop_map(Some)];
    (process, kind, what, time).prop_map(|(process, kind, (f, value), time)| {
        let mut event = json!({"process": process, "type": kind, "f": f, "value": value});
        if let Some(time) = time {
            event["time"] = json!(time);
        }
        event
    })
}

proptest! {
    #[test]
    fn bytes_with_one_change_are_read_or_refused(
        at in 0..GOOD.len(),
        bytes in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut text = GOOD.as_bytes().to_vec();
        text.splice(at..(at + 1).min(text.len()), bytes);
        if let Ok(history) = read_from(Cursor::new(&text), "fuzz") {
            judge(&history);
        }
        let mut edn = Vec::new();
        if jsonl_to_edn(Cursor::new(&text), "fuzz", &mut edn).is_ok() {
            let _ = read_edn(Cursor::new(&edn), "fuzz");
        }
        let _ = read_edn(Cursor::new(&text), "fuzz");
        let _ = edn_to_jsonl(Cursor::new(&text), "fuzz", &mut Vec::new());
    }

    #[test]
    fn whatever_an_imported_history_says_there_is_a_verdict(
        events in proptest::collection::vec(an_event(), 0..14)
    ) {
        let lines: Vec<String> = events.iter().map(Json::to_string).collect();
        let text = lines.join("\n");
        let history = read_from(Cursor::new(&text), "random")
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        judge(&history);
    }

    #[test]
    fn a_history_written_in_edn_says_the_same(
        events in proptest::collection::vec(an_event(), 0..10)
    ) {
        let lines: Vec<String> = events.iter().map(|event| format!("{event}\n")).collect();
        let text = lines.concat();
        let (mut edn, mut back) = (Vec::new(), Vec::new());
        jsonl_to_edn(Cursor::new(&text), "jsonl", &mut edn).expect("a history");
        edn_to_jsonl(Cursor::new(&edn), "edn", &mut back).expect("a history");
        let parsed = |text: &str| -> Vec<Json> {
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
        };
        let back = String::from_utf8(back).expect("text");
        prop_assert_eq!(parsed(&back), parsed(&text));
        let mut again = Vec::new();
        jsonl_to_edn(Cursor::new(&back), "jsonl", &mut again).expect("a history");
        prop_assert_eq!(String::from_utf8(again), String::from_utf8(edn));
    }

    #[test]
    fn a_history_in_memory_is_written_as_it_was(
        events in proptest::collection::vec(an_event(), 0..10)
    ) {
        let lines: Vec<String> = events.iter().map(|event| format!("{event}\n")).collect();
        let history = read_from(Cursor::new(lines.concat()), "random").expect("a history");
        let mut written = Vec::new();
        history.write_to(&mut written).expect("memory");
        let text = String::from_utf8(written.clone()).expect("text");
        let again = read_from(Cursor::new(&written), "written")
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut twice = Vec::new();
        again.write_to(&mut twice).expect("memory");
        prop_assert_eq!(again.ops().len(), history.ops().iter().filter(|op| {
            op.function != checker::history::Function::Nemesis
        }).count(), "{}", text);
    }
}

fn written(folder: &Path, name: &str, blocks: usize, block: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    let mut output = Output::create(&path).expect("a file");
    for _ in 0..blocks {
        output.write_all(block).expect("written");
    }
    output.finish().expect("finished");
    path
}

#[test]
fn a_small_file_that_unpacks_to_a_huge_one_is_read_piece_by_piece() {
    let folder = tempfile::tempdir().expect("a folder");
    let before = peak_kib();
    // Blank lines, 600 MB of them, out of less than a megabyte.
    let lines = b"\n".repeat(1 << 20);
    for name in [
        "bomb.jsonl.gz",
        "bomb.jsonl.zst",
        "bomb.edn.gz",
        "bomb.edn.zst",
    ] {
        let path = written(folder.path(), name, 600, &lines);
        assert!(
            fs::metadata(&path).expect("there").len() < 4 << 20,
            "{name}"
        );
        let history = read_path(&path).expect("blank lines are no error");
        assert_eq!(history.events, 0, "{name}");
    }
    let grown = peak_kib().saturating_sub(before);
    assert!(grown < 200 << 10, "{grown} KiB");
}

/// The most memory that this process has had, in KiB; 0 where the system does not say.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok());
    number.unwrap_or(0)
}

#[test]
fn damaged_archives_are_errors_with_the_file_and_no_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["h.jsonl.gz", "h.jsonl.zst", "h.edn.gz"] {
        let path = written(folder.path(), name, 50, GOOD.as_bytes());
        let good = fs::read(&path).expect("there");
        for at in (0..good.len()).step_by(7) {
            let mut damaged = good.clone();
            damaged[at] ^= 0x5a;
            fs::write(&path, &damaged).expect("written");
            if let Err(error) = read_path(&path) {
                assert_eq!(error.exit_code(), 65, "{error}");
                assert!(error.to_string().contains(name), "{error}");
            }
        }
        fs::write(&path, &good[..good.len() / 2]).expect("written");
        assert_eq!(read_path(&path).expect_err("cut").exit_code(), 65);
    }
}

#[test]
fn deep_nesting_huge_keys_and_huge_offsets() {
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        let text = format!(
            "{{\"type\":\"ok\",\"f\":\"txn\",\"value\":{}",
            open.repeat(200_000)
        );
        for whole in [text.clone(), format!("{text}\n")] {
            let _ = read_from(Cursor::new(&whole), "deep");
            let _ = jsonl_to_edn(Cursor::new(&whole), "deep", &mut Vec::new());
        }
    }
    for open in ["[", "{:a ", "#{", "#tag ", "#_ ", "("] {
        let text = open.repeat(200_000);
        let _ = read_edn(Cursor::new(&text), "deep");
        let _ = edn_to_jsonl(Cursor::new(&text), "deep", &mut Vec::new());
    }
    let key = "k".repeat(3 << 20);
    let send = json!({"process": 0, "type": "ok", "f": "send", "value": [
        ["send", key, [i64::MAX, 1]], ["send", key, [i64::MIN, 2]], ["send", key, [1_i64 << 40, 3]],
    ]});
    let history = read_from(Cursor::new(send.to_string()), "huge").expect("a history");
    judge(&history);
}
