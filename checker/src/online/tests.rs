//! Alarms come with the operation that shows what is wrong, and never for a correct cluster.

use super::*;
use crate::simulate::{Injection, Plan, generate};
use crate::verdict::Conclusion;

fn lines(plan: &Plan) -> String {
    let mut bytes = Vec::new();
    generate(plan, &mut bytes).expect("writing to memory cannot fail");
    String::from_utf8(bytes).expect("histories are text")
}

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        operations: 1500,
        transactions: [0.0, 0.4][(seed % 2) as usize],
        failover: 0.02,
        ..Plan::default()
    }
}

#[test]
fn a_correct_cluster_never_alarms_and_the_verdict_is_that_of_a_check() {
    for seed in 0..6 {
        let mut session = Session::new(Options::default());
        for line in lines(&plan(seed)).lines() {
            let alarms = session.feed(line).expect("a good line");
            assert!(alarms.is_empty(), "seed {seed}: {alarms:?}");
        }
        let verdict = session
            .verdict()
            .expect("good options")
            .expect("it keeps all");
        assert_eq!(verdict.verdict, Conclusion::Valid, "{}", verdict.sentence);
        assert_eq!(session.unchecked(), None);
    }
}

#[test]
fn the_verdict_so_far_knows_what_is_in_flight() {
    let text = lines(&plan(1));
    let mut session = Session::new(Options::default());
    for (at, line) in text.lines().enumerate() {
        session.feed(line).expect("a good line");
        if at % 500 == 499 {
            let verdict = session
                .verdict()
                .expect("good options")
                .expect("it keeps all");
            let harmless = |kind: &String| kind == "unseen" || kind == "empty-transaction-graph";
            assert!(
                verdict.anomalies.keys().all(harmless),
                "{}",
                verdict.sentence
            );
        }
    }
}

#[test]
fn what_is_wrong_alarms_at_once() {
    for injection in [
        Injection::AbortedRead,
        Injection::UnwrittenRead,
        Injection::InconsistentOffsets,
        Injection::Duplicate,
        Injection::NonmonotonicPoll,
    ] {
        let plan = Plan {
            inject: vec![(injection, 0.01)],
            transactions: 0.0,
            ..plan(4)
        };
        let mut session = Session::new(Options::default());
        let mut kinds = Vec::new();
        for line in lines(&plan).lines() {
            let alarms = session.feed(line).expect("a good line");
            kinds.extend(alarms.iter().map(|alarm| alarm.kind.name()));
        }
        assert!(
            kinds.contains(&injection.name()),
            "{injection:?}: {kinds:?}"
        );
        assert!(session.violation().is_some(), "{injection:?}");
    }
}

#[test]
fn a_small_window_is_never_passed_over_in_silence() {
    let mut session = Session::watching(Options::default(), 20);
    for line in lines(&plan(2)).lines() {
        let alarms = session.feed(line).expect("a good line");
        assert!(alarms.is_empty(), "{alarms:?}");
    }
    assert!(session.violation().is_none());
    let says = session
        .unchecked()
        .expect("the drains read what was forgotten");
    assert!(says.contains("window of 20 messages"), "{says}");
    assert!(session.verdict().expect("good options").is_none());
    assert!(session.builder.history.ops().is_empty(), "nothing is kept");
}

#[test]
fn a_line_that_is_no_event_is_named() {
    let mut session = Session::new(Options::default());
    session.feed("").expect("empty lines are passed over");
    let error = session
        .feed("{\"type\":\"ok\"}")
        .expect_err("it has no function");
    assert!(error.to_string().contains("line 2"), "{error}");
}
