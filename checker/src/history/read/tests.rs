//! What the reader makes of good, odd, damaged and arbitrary lines.

use std::io::{Cursor, Write};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::compression::Output;
use crate::history::{Function, Outcome, Process, RunKind, Step, Value};
use crate::simulate::{Plan, generate};

fn read(text: &str) -> Result<History, CheckError> {
    read_from(Cursor::new(text), "test.jsonl")
}

const SEND: &str = r#"
{"index":0,"time":5,"process":0,"type":"invoke","f":"send","value":[["send","x",1],["send","x",2],["send",7,3]]}
{"index":1,"time":9,"process":0,"type":"ok","f":"send","value":[["send","x",[0,1]],["send","x",[1,2]],["send","7",[null,3]]]}
"#;

#[test]
fn an_operation_is_its_invocation_and_its_completion() {
    let history = read(SEND).expect("a good history");
    let [op] = history.ops() else {
        panic!("one operation: {:?}", history.ops())
    };
    assert_eq!(
        (op.index, op.outcome, op.function),
        (1, Outcome::Ok, Function::Send)
    );
    assert_eq!((op.invoked.seq, op.invoked.time), (0, 5));
    assert_eq!((op.completed.seq, op.completed.time), (1, 9));
    let runs = history.runs(op);
    assert_eq!(runs.len(), 2, "neighbouring sends to one key share a run");
    assert_eq!(history.records(&runs[0]).len(), 2);
    assert_eq!(
        history.keys().name(runs[1].key),
        "7",
        "key 7 and key \"7\" are one key"
    );
    assert_eq!(runs[1].micro_op(), 2);
    assert_eq!(history.records(&runs[1])[0].offset(), None);
    assert_eq!(
        history.records.stored(),
        3,
        "an invocation's micro-ops are not kept"
    );
}

#[test]
fn fields_may_stand_in_any_order() {
    let history = read(
        r#"{"value":[["poll",{"x":[[4,"a"],[5,null,{"corrupt":"crc"}]],"y":[]}]],"error":"e","f":"poll","type":"info","process":3}"#,
    )
    .expect("a good history");
    let op = &history.ops()[0];
    assert_eq!(
        (op.index, op.completed.time),
        (0, -1),
        "absent: position, and no time"
    );
    assert_eq!(
        op.invoked.seq, 0,
        "without an invocation nothing precedes it"
    );
    let runs = history.runs(op);
    assert_eq!((runs[0].kind, runs.len()), (RunKind::Poll, 2));
    assert!(history.records(&runs[0])[1].value.is_null());
    let detail = history.detail(op).expect("an error stands beside it");
    assert_eq!(detail.error, Some(json!("e")));
    assert_eq!(detail.corrupt, vec![(1, "crc".to_owned())]);
}

#[test]
fn a_drain_stays_open_around_its_polls() {
    let history = read(
        r#"{"process":4,"type":"invoke","f":"drain","value":null}
{"process":4,"type":"invoke","f":"poll","value":[["poll"]]}
{"process":4,"type":"ok","f":"poll","value":[["poll",{"x":[[0,1]]}]]}
{"process":4,"type":"ok","f":"drain","value":{"x":[0,1]}}"#,
    )
    .expect("a good history");
    let drain = history.drains[0];
    assert_eq!((drain.from, drain.to), (0, 1));
    assert_eq!(history.op(drain.op).invoked.seq, 0);
    assert_eq!(history.ops()[0].invoked.seq, 1);
}

#[test]
fn what_never_completed_comes_last_and_keeps_its_messages() {
    let history = read(
        r#"{"process":0,"type":"invoke","f":"send","value":[["send","x",1]]}
{"process":1,"type":"invoke","f":"poll","value":[["poll"]]}
{"process":0,"type":"invoke","f":"send","value":[["send","x",2]]}
{"process":1,"type":"info","f":"poll"}
{"process":0,"type":"info","f":"send","value":null}"#,
    )
    .expect("a good history");
    let outcomes: Vec<_> = history.ops().iter().map(|op| op.outcome).collect();
    assert_eq!(outcomes, [Outcome::Info, Outcome::Info, Outcome::Open]);
    let inherited = history.runs(&history.ops()[1]);
    assert_eq!(
        history.records(&inherited[0])[0].value.as_integer(),
        Some(2)
    );
    let open = history.runs(&history.ops()[2]);
    assert_eq!(history.records(&open[0])[0].value.as_integer(), Some(1));
}

#[test]
fn control_operations_land_in_their_tables() {
    let history = read(
        r#"{"process":"sampler","type":"ok","f":"config","value":{"acks":"all"}}
{"process":"sampler","type":"ok","f":"phase","value":"main"}
{"process":"sampler","type":"invoke","f":"list-offsets","value":null}
{"process":"sampler","type":"ok","f":"list-offsets","value":{"x":{"log-start":0,"lso":7,"high-watermark":8,"leader":1,"epoch":3,"asked":1}}}
{"process":"nemesis","type":"info","f":"kill","value":{"fault":"kill","id":"f-1","step":"effective","targets":[{"broker":1,"role":"leader"}]}}
{"process":"nemesis","type":"info","f":"start","value":"whatever"}
{"process":9,"type":"ok","f":"audit","value":{"x":{"broker":2,"high-watermark":4,"records":[[0,1,10],[1,1,11]]}}}
{"process":9,"type":"ok","f":"dance","value":{"x":[]}}"#,
    )
    .expect("a good history");
    assert_eq!(history.config["acks"], json!("all"));
    assert_eq!(history.phases[0].name, "main");
    let sample = history.samples[0];
    assert_eq!(
        (sample.high_watermark, sample.epoch, sample.asked),
        (Some(8), Some(3), Some(1))
    );
    let [step] = &history.nemesis[..] else {
        panic!("one step: {:?}", history.nemesis)
    };
    assert_eq!((step.fault.as_str(), step.step), ("kill", Step::Effective));
    assert_eq!(step.targets[0]["role"], json!("leader"));
    assert_eq!(
        history.audits[0].records[1].value,
        Value::inline(11).expect("small")
    );
    assert_eq!(history.unknown_functions["dance"], 1);
    assert_eq!(history.process(history.ops()[0].process), Process::Sampler);
}

#[test]
fn a_cut_off_history_counts_up_to_there() {
    let good = SEND.trim().len();
    for cut in 1..SEND.trim().len() - SEND.trim().find('\n').expect("two lines") - 1 {
        let history = read(&SEND.trim()[..good - cut]).expect("a cut is no error");
        assert!(history.truncated, "{cut}");
        assert_eq!(history.events, 1);
        assert_eq!(history.ops()[0].outcome, Outcome::Open);
        assert_eq!(history.records.stored(), 3);
    }
    assert!(
        !read(SEND.trim()).expect("whole").truncated,
        "only the newline is missing"
    );
}

#[test]
fn errors_name_line_column_and_field() {
    let bad = SEND.replace("[1,2]", "[true,2]");
    let text = read(&bad).expect_err("an offset is an integer").to_string();
    assert_eq!(
        text,
        "test.jsonl, line 3, column 97: field `value[1].offset`: expected an integer within 64 \
         bits, found `true,2]],[\"send\",\"7\",[nu`"
    );
    for (bad, says) in [
        ("{\"type\":\"ok\"}\n", "field `f`"),
        ("{\"f\":\"send\"}\n", "field `type`"),
        (
            "{\"f\":\"send\",\"type\":\"okay\"}\n",
            "\"invoke\", \"ok\", \"fail\" or \"info\"",
        ),
        (
            "{\"f\":\"send\",\"type\":\"ok\",\"value\":[[\"sned\",1,2]]}\n",
            "field `value[0]`",
        ),
        (
            "{\"f\":\"send\",\"type\":\"ok\",\"value\":[]} x\n",
            "one event a line",
        ),
        ("[]\n", "an object"),
        (
            "{\"f\":\"drain\",\"type\":\"ok\",\"value\":{\"x\":[0]}}\n",
            "field `value.x`",
        ),
    ] {
        let error = read(bad).expect_err(bad);
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.exit_code(), 65);
    }
}

#[test]
fn a_broken_line_in_the_middle_is_an_error_even_without_its_end() {
    let text = format!("{}\n{}", &SEND.trim()[..40], SEND.trim());
    assert!(read(&text).is_err());
}

#[test]
fn huge_offsets_cost_nothing() {
    let history = read(
        r#"{"process":0,"type":"ok","f":"poll","value":[["poll",{"x":[[9223372036854775807,1],[-5,2]]}]]}"#,
    )
    .expect("absurd offsets are findings, not errors");
    assert_eq!(history.records.stored(), 2);
}

/// A history of several pieces, in a file, as it is and compressed.
#[test]
fn pieces_parsed_on_all_cores_are_put_together_in_order() {
    let plan = Plan {
        operations: 9000,
        drains: false,
        transactions: 0.2,
        ..Plan::default()
    };
    let mut bytes = Vec::new();
    generate(&plan, &mut bytes).expect("writing to memory cannot fail");
    assert!(bytes.len() > 3 << 20, "several pieces: {}", bytes.len());
    let whole = read_from(&bytes[..], "memory").expect("a good history");
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["h.jsonl", "h.jsonl.gz", "h.jsonl.zst"] {
        let path = dir.path().join(name);
        let mut output = Output::create(&path).expect("a file");
        output.write_all(&bytes).expect("written");
        output.finish().expect("finished");
        let history = read_path(&path).expect("a good history");
        assert_eq!(history.events, whole.events, "{name}");
        for (a, b) in history.ops().iter().zip(whole.ops()) {
            assert_eq!((a.index, a.invoked, a.runs), (b.index, b.invoked, b.runs));
            for (a, b) in history.runs(a).iter().zip(whole.runs(b)) {
                assert_eq!(history.records(a), whole.records(b), "{name}");
            }
        }
    }
    // Damage in the last piece is found at its line; a cut there is a cut.
    let path = dir.path().join("damaged.jsonl");
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
    let damaged = [&bytes[..], b"{\"type\":\"ok\"}\n"].concat();
    std::fs::write(&path, damaged).expect("written");
    let error = read_path(&path)
        .expect_err("it has no function")
        .to_string();
    assert!(error.contains(&format!("line {}, ", lines + 1)), "{error}");
    std::fs::write(&path, &bytes[..bytes.len() - 3]).expect("written");
    let cut = read_path(&path).expect("a cut is no error");
    assert!(cut.truncated);
    assert_eq!(cut.events, whole.events - 1);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_from(Cursor::new(bytes), "fuzz");
    }

    #[test]
    fn a_damaged_history_never_panics(at in 0usize..SEND.len(), byte in any::<u8>()) {
        let mut bytes = SEND.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = read_from(Cursor::new(bytes), "fuzz");
    }
}
