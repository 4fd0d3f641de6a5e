//! Where the definition of jepsen.tests.kafka crashes or is blind, and what is said here instead: a
//! test for each item of that list (anomalies.md, section 7), in its order.

use std::io::Cursor;
use std::time::Instant;

use checker::history::read::read_from;
use checker::{CheckError, History, Options, Verdict, check};
use serde_json::{Value as Json, json};

/// A history of operations, each `process type f value`, one after the other; lines that begin with
/// a brace are events as they stand.
fn history(text: &str) -> History {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let events = lines.map(|line| {
        if line.starts_with('{') {
            return format!("{line}\n");
        }
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or("null");
        let (process, kind, f, value) = (word(), word(), word(), word());
        let invoke = format!(r#"{{"process":{process},"type":"invoke","f":"{f}"}}"#);
        let complete =
            format!(r#"{{"process":{process},"type":"{kind}","f":"{f}","value":{value}}}"#);
        format!("{invoke}\n{complete}\n")
    });
    let text: String = events.collect();
    read_from(Cursor::new(text), "test").expect("a good history")
}

fn by(text: &str, profile: &str) -> Verdict {
    let options = Options {
        profile: profile.to_owned(),
        ..Options::default()
    };
    check(&history(text), &options).expect("a verdict")
}

fn own(text: &str) -> Verdict {
    by(text, "")
}

fn forbidden(verdict: &Verdict) -> Vec<&str> {
    verdict.anomalies.keys().map(String::as_str).collect()
}

const SENT: &str = r#"0 ok send [["send","x",[0,1]],["send","x",[1,2]],["send","x",[2,3]]]"#;

#[test]
fn item_1_a_poll_that_names_a_key_without_records_is_no_crash() {
    let text = format!(
        r#"{SENT}
        1 ok poll [["poll",{{"x":[],"y":[]}}]]
        1 ok poll [["poll",{{"x":[[0,1],[1,2],[2,3]]}}]]
        1 ok poll [["poll",{{"x":[]}}]]"#
    );
    for profile in ["safe", "jepsen"] {
        assert!(forbidden(&by(&text, profile)).is_empty(), "{profile}");
    }
    // Commands that nobody knows, and nothing else: no data, and no exception.
    let verdict = own("0 ok dance 7\n1 info dance [1]");
    assert_eq!(verdict.verdict.word(), "unknown");
    let remarks = verdict.notes.join(" ");
    assert!(remarks.contains("dance"), "{remarks}");
}

#[test]
fn item_2_what_nobody_sent_is_a_finding() {
    let text = format!(
        r#"{SENT}
        1 ok poll [["poll",{{"x":[[0,1],[1,2],[2,3],[3,99]]}}]]"#
    );
    for profile in ["safe", "jepsen"] {
        let verdict = by(&text, profile);
        assert_eq!(forbidden(&verdict), ["unwritten-read"], "{profile}");
        assert_eq!(verdict.anomalies["unwritten-read"][0]["value"], json!(99));
    }
}

#[test]
fn item_3_a_bogus_offset_costs_no_memory() {
    let text = format!(
        r#"{SENT}
        1 ok poll [["poll",{{"x":[[0,1],[1,2],[2,3]]}}]]
        2 ok send [["send","x",[9223372036854775806,4]]]"#
    );
    let begun = Instant::now();
    let verdict = own(&text);
    assert!(forbidden(&verdict).contains(&"invalid-offset"));
    // A table of every offset up to it would not fit into any memory.
    assert!(begun.elapsed().as_secs() < 20);
    assert_eq!(by(&text, "jepsen").counts.polled, 3);
}

#[test]
fn item_4_a_torn_transaction_of_which_the_offset_is_not_known() {
    let verdict = own(
        r#"0 info txn [["send","x",[null,1]],["send","y",[null,1]]]
        1 ok poll [["poll",{"x":[[0,1]]}]]
        {"process":2,"type":"invoke","f":"drain"}
        2 ok poll [["poll",{"x":[[0,1]],"y":[]}]]
        {"process":2,"type":"ok","f":"drain","value":{"x":[0,2],"y":[0,1]}}
        s ok phase "x"
        {"process":"sampler","type":"invoke","f":"list-offsets"}
        {"process":"sampler","type":"ok","f":"list-offsets","value":{"x":{"high-watermark":2,"epoch":0},"y":{"high-watermark":1,"epoch":0}}}"#
            .replace("s ok phase \"x\"", "")
            .as_str(),
    );
    assert_eq!(forbidden(&verdict), ["torn-transaction"]);
    let found = &verdict.anomalies["torn-transaction"][0];
    assert_eq!(found["missing"], json!([["y", 1]]));
}

#[test]
fn item_5_one_record_consumed_by_two_transactions_of_a_group() {
    let txn = |process: i64, out: i64| {
        format!(
            r#"{{"process":{process},"type":"ok","f":"txn","group":"g","value":[["poll",{{"x":[[0,1]]}}],["send","y",[{out},{out}]],["offsets","g",{{"x":1}}]]}}"#
        )
    };
    let text = format!(
        r#"0 ok send [["send","x",[0,1]]]
        {}
        {}
        4 ok poll [["poll",{{"y":[[0,0],[1,1]]}}]]"#,
        txn(1, 0),
        txn(2, 1)
    );
    assert_eq!(forbidden(&own(&text)), ["double-consume"]);
    assert!(
        forbidden(&by(&text, "jepsen")).is_empty(),
        "which cannot see it"
    );
}

#[test]
fn item_6_seeks_repeated_values_and_negative_offsets() {
    let again = |seek: bool| {
        format!(
            r#"{SENT}
            1 ok poll [["poll",{{"x":[[0,1],[1,2],[2,3]]}}]]
            {{"process":1,"type":"ok","f":"assign","value":["x"],"seek-to-beginning?":{seek}}}
            1 ok poll [["poll",{{"x":[[0,1],[1,2],[2,3]]}}]]"#
        )
    };
    assert!(forbidden(&own(&again(true))).is_empty());
    assert_eq!(forbidden(&own(&again(false))), ["nonmonotonic-poll"]);
    assert_eq!(
        forbidden(&by(&again(true), "jepsen")),
        ["nonmonotonic-poll"]
    );
    let twice = r#"0 fail send [["send","x",1]]
        1 ok send [["send","x",[0,1]]]
        2 ok poll [["poll",{"x":[[0,1]]}]]"#;
    let verdict = own(twice);
    assert_eq!(
        forbidden(&verdict),
        ["non-unique-write"],
        "and no aborted read"
    );
    assert_eq!(verdict.verdict.word(), "unknown", "refuse, do not guess");
    assert_eq!(forbidden(&by(twice, "jepsen")), ["G1a"]);
    let negative = r#"0 ok send [["send","x",[-1,1]]]
        2 ok poll [["poll",{"x":[[0,1]]}]]"#;
    assert_eq!(forbidden(&own(negative)), ["invalid-offset"]);
}

#[test]
fn item_7_a_value_that_an_aborted_poll_returned_was_not_lost() {
    let text = format!(
        r#"{SENT}
        1 ok poll [["poll",{{"x":[[0,1]]}}]]
        1 fail poll [["poll",{{"x":[[1,2]]}}]]
        2 ok assign ["x"]
        2 ok poll [["poll",{{"x":[[2,3]]}}]]"#
    );
    assert!(!forbidden(&own(&text)).contains(&"lost-write"));
    assert!(forbidden(&by(&text, "jepsen")).contains(&"lost-write"));
}

#[test]
fn item_8_a_subscription_excuses_only_what_a_rebalance_explains() {
    let skips = |log: &str| {
        format!(
            r#"{SENT}
            {{"process":1,"type":"ok","f":"subscribe","value":["x"]}}
            {{"process":1,"type":"ok","f":"poll","value":[["poll",{{"x":[[0,1]]}}]],"rebalance-log":[{{"keys":["x"]}}]}}
            {{"process":1,"type":"ok","f":"poll","value":[["poll",{{"x":[[2,3]]}}]]{log}}}
            2 ok poll [["poll",{{"x":[[0,1],[1,2],[2,3]]}}]]"#
        )
    };
    let rebalanced = r#","rebalance-log":[{"keys":["x"]}]"#;
    assert_eq!(forbidden(&own(&skips(""))), ["poll-skip"]);
    let verdict = own(&skips(rebalanced));
    assert!(forbidden(&verdict).is_empty() && verdict.allowed.contains_key("poll-skip"));
    assert!(
        forbidden(&by(&skips(""), "jepsen")).is_empty(),
        "excused wholesale"
    );
}

#[test]
fn item_9_a_lost_tail_is_told_from_a_slow_one() {
    let ends_at = |end: i64| {
        format!(
            r#"{SENT}
            {{"process":2,"type":"invoke","f":"drain"}}
            2 ok poll [["poll",{{"x":[[0,1]]}}]]
            {{"process":2,"type":"ok","f":"drain","value":{{"x":[0,1]}}}}
            {{"process":"sampler","type":"invoke","f":"list-offsets"}}
            {{"process":"sampler","type":"ok","f":"list-offsets","value":{{"x":{{"high-watermark":{end},"epoch":4,"asked":1}}}}}}"#
        )
    };
    let lost = own(&ends_at(1));
    assert!(forbidden(&lost).contains(&"lost-tail"));
    assert_eq!(lost.verdict.word(), "invalid");
    let slow = own(&ends_at(3));
    assert_eq!(forbidden(&slow), ["unseen"]);
    assert_eq!(slow.verdict.word(), "stalled");
}

#[test]
fn item_10_replicas_retention_batches_and_damage() {
    let held = |value: i64| format!(r#"[[0,1,1],[1,1,{value}],[2,1,3]]"#);
    let audits = |other: i64| {
        format!(
            r#"{SENT}
            1 ok poll [["poll",{{"x":[[0,1],[1,2],[2,3]]}}]]
            8 ok audit {{"x":{{"broker":1,"high-watermark":3,"records":{}}}}}
            8 ok audit {{"x":{{"broker":2,"high-watermark":3,"records":{}}}}}"#,
            held(2),
            held(other)
        )
    };
    assert!(forbidden(&own(&audits(2))).is_empty());
    assert_eq!(forbidden(&own(&audits(7))), ["replica-divergence"]);
    // What retention or DeleteRecords took away is not lost.
    let start = |start: i64| {
        format!(
            r#"{SENT}
            1 ok poll [["poll",{{"x":[[1,2],[2,3]]}}]]
            {{"process":"sampler","type":"ok","f":"list-offsets","value":{{"x":{{"log-start":{start},"high-watermark":3,"epoch":0,"asked":1}}}}}}"#
        )
    };
    assert!(forbidden(&own(&start(1))).is_empty());
    assert_eq!(forbidden(&own(&start(0))), ["lost-write"]);
    // One message of a batch that was not acknowledged hides no other one.
    let batch = r#"0 info send [["send","x",[0,1]],["send","x",[null,2]]]
        1 ok send [["send","x",[2,3]]]
        2 ok poll [["poll",{"x":[[2,3]]}]]"#;
    assert_eq!(forbidden(&own(batch)), ["lost-write"]);
    let damaged = format!(
        r#"{SENT}
        1 ok poll [["poll",{{"x":[[0,1],[1,2],[2,3],[3,null,{{"corrupt":"crc"}}]]}}]]"#
    );
    assert_eq!(forbidden(&own(&damaged)), ["unwritten-read"]);
}

#[test]
fn item_11_a_final_consumer_that_is_stuck_does_not_make_a_run_valid() {
    let text = format!(
        r#"{SENT}
        {{"process":2,"type":"invoke","f":"drain"}}
        2 ok poll [["poll",{{"x":[[0,1]]}}]]
        {{"process":2,"type":"info","f":"drain","error":"timeout"}}"#
    );
    let verdict = own(&text);
    assert_eq!(
        (verdict.verdict.word(), forbidden(&verdict)),
        ("stalled", vec!["unseen"])
    );
}

#[test]
fn item_12_every_name_that_an_option_lists_can_be_given() {
    for profile in checker::verdict::profile::PROFILES {
        let options = Options {
            profile: profile.name.to_owned(),
            ..Options::default()
        };
        check(&history(SENT), &options).expect("its own name");
    }
    for kind in checker::analysis::Kind::ALL {
        let options = Options {
            anomalies: vec![kind.name().to_owned()],
            ..Options::default()
        };
        check(&history(SENT), &options).expect("its own name");
    }
    for model in checker::analysis::list_append::models::names() {
        let options = Options {
            model: checker::Model::ListAppend,
            consistency_models: vec![model.to_owned()],
            ..Options::default()
        };
        check(&history(SENT), &options).expect("its own name");
    }
    let options = Options {
        profile: "majority".to_owned(),
        ..Options::default()
    };
    let error = check(&history(SENT), &options).expect_err("no such profile");
    assert!(matches!(error, CheckError::Usage(_)));
}

#[test]
fn item_13_what_is_proven_outranks_what_is_not_known() {
    let unknown = r#"0 fail send [["send","x",1]]
        1 ok send [["send","x",[0,1]]]"#;
    let both = format!(
        r#"{unknown}
        0 ok send [["send","x",[1,2]],["send","x",[2,3]]]
        2 ok poll [["poll",{{"x":[[0,1],[2,3]]}}]]"#
    );
    let verdict = own(&both);
    assert!(forbidden(&verdict).contains(&"non-unique-write"));
    assert_eq!(
        (verdict.verdict.word(), verdict.verdict.exit_code()),
        ("invalid", 1)
    );
}

#[test]
fn item_14_an_error_that_may_follow_a_success_is_no_failure() {
    let told = |kind: &str| {
        format!(
            r#"0 ok send [["send","x",[0,1]]]
            {{"process":1,"type":"{kind}","f":"send","value":[["send","x",[null,2]]],"error":{{"code":"OUT_OF_ORDER_SEQUENCE_NUMBER","message":""}}}}
            2 ok poll [["poll",{{"x":[[0,1],[1,2]]}}]]"#
        )
    };
    assert!(forbidden(&own(&told("info"))).is_empty());
    let verdict = own(&told("fail"));
    assert_eq!(forbidden(&verdict), ["G1a"]);
    let writer: &Json = &verdict.anomalies["G1a"][0]["writer"];
    assert_eq!(writer, &json!(2), "which leads to the error that was told");
}

#[test]
fn item_15_aborts_auto_commits_fenced_producers_and_early_reads() {
    // After an abort a consumer may read again what it had read; or not.
    let aborted = |from: i64| {
        format!(
            r#"{SENT}
            1 ok poll [["poll",{{"x":[[0,1]]}}]]
            1 fail txn [["poll",{{"x":[[1,2]]}}],["send","y",1]]
            1 ok txn [["poll",{{"x":{}}}]]
            2 ok poll [["poll",{{"x":[[0,1],[1,2],[2,3]]}}]]"#,
            ["[[1,2],[2,3]]", "[[0,1],[1,2],[2,3]]"][from as usize]
        )
    };
    assert!(forbidden(&own(&aborted(0))).is_empty());
    assert_eq!(forbidden(&own(&aborted(1))), ["nonmonotonic-poll"]);
    let committed = |offset: i64| {
        format!(
            r#"{SENT}
            {{"process":1,"type":"ok","f":"poll","group":"g","value":[["poll",{{"x":[[0,1]]}}]]}}
            1 ok commit-offsets {{"group":"g","offsets":{{"x":{offset}}}}}
            2 ok poll [["poll",{{"x":[[0,1],[1,2],[2,3]]}}]]"#
        )
    };
    assert!(forbidden(&own(&committed(1))).is_empty());
    assert_eq!(forbidden(&own(&committed(2))), ["committed-offset-overrun"]);
    let fenced = r#"{"process":1,"type":"invoke","f":"send","producer":[7,4],"value":[["send","x",1]]}
        {"process":1,"type":"ok","f":"send","producer":[7,4],"value":[["send","x",[0,1]]]}
        {"process":0,"type":"invoke","f":"send","producer":[7,3],"value":[["send","x",2]]}
        {"process":0,"type":"ok","f":"send","producer":[7,3],"value":[["send","x",[1,2]]]}
        2 ok poll [["poll",{"x":[[0,1],[1,2]]}]]"#;
    assert_eq!(forbidden(&own(fenced)), ["zombie-write"]);
    let early = r#"{"process":0,"type":"invoke","f":"txn"}
        {"process":1,"type":"invoke","f":"txn"}
        {"process":0,"type":"ok","f":"txn","value":[["send","x",[0,1]],["poll",{"y":[[0,1]]}]]}
        {"process":1,"type":"ok","f":"txn","value":[["send","y",[0,1]],["poll",{"x":[[0,1]]}]]}"#;
    assert_eq!(forbidden(&own(early)), ["G1c"]);
}
