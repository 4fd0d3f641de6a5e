//! Explanations: their names, their steps, and what they say where there is none.

use serde_json::json;

use super::*;
use crate::analysis::testing::script;

const LOST: &str = "
    0 ok send x=1@0 x=2@1 x=3@2
    1 ok poll x:1@0,3@2
";

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn explained(text: &str, finding: &str, options: &Options) -> Explanation {
    explain(&script(text), options, &name(finding)).expect("a finding")
}

#[test]
fn a_lost_write_step_by_step() {
    let told = explained(LOST, "lost-write/1", &Options::default());
    assert_eq!((told.number, told.total, told.allowed), (1, 1, false));
    assert!(told.clause.contains("never lost"), "{}", told.clause);
    assert!(
        told.sentence
            .starts_with("Message 2 of x was acknowledged at offset 1")
    );
    let says: Vec<_> = told.steps.iter().map(|step| step.says.as_str()).collect();
    assert_eq!(
        says,
        [
            "It was sent by operation 1 (process 0, send, ok): it sent 1 at 0, 2 at 1, 3 at 2 of x.",
            "Its place was passed by operation 3 (process 1, poll, ok): it was given 1 at 0, 3 at 2 \
             of x.",
        ]
    );
    assert_eq!(
        told.operations[1].value,
        json!([["poll", {"x": [[0, 1], [2, 3]]}]])
    );
    assert!(told.picture.items.len() > 10);
}

#[test]
fn a_cycle_says_why_each_came_before_the_next() {
    let text = "
        0> txn
        1> txn
        0< ok txn x=1@7 y:2@0
        1< ok txn y=2 x:1@7
    ";
    let told = explained(text, "G1c", &Options::default());
    assert_eq!(
        told.steps[0].says,
        "T1 came before T2, because T2 read 1, which T1 sent to x at offset 7."
    );
    assert_eq!(
        told.steps[1].says,
        "T2 came before T1, because T1 read 2, which T2 sent to y at offset 0."
    );
}

#[test]
fn what_there_is_not_is_said_clearly() {
    let history = script(LOST);
    let error = |finding: &str| {
        let error = finding
            .parse::<Name>()
            .and_then(|name| explain(&history, &Options::default(), &name).map(|_| ()))
            .expect_err("no such finding");
        assert_eq!(error.exit_code(), 64);
        error.to_string()
    };
    assert!(error("lost-wirte/1").contains("did you mean `lost-write`?"));
    assert_eq!(
        error("lost-write/9"),
        "there is one lost-write: give lost-write/1"
    );
    assert!(error("lost-write/0").contains("lost-write/1 for the first"));
    assert_eq!(
        error("duplicate/1"),
        "the history shows no duplicate; it shows lost-write (1), int-poll-skip (1)"
    );
}

#[test]
fn a_message_from_end_to_end() {
    let told = trace(&script(LOST), &Options::default(), "x", "2").expect("a message");
    assert_eq!(told.findings, ["lost-write/1", "int-poll-skip/1"]);
    let kinds: Vec<_> = told
        .story
        .evidence
        .iter()
        .map(|piece| piece.kind.as_str())
        .collect();
    assert_eq!(kinds, ["sent", "acknowledged", "fetch"]);
    let told = trace(&script(LOST), &Options::default(), "x", "3").expect("a message");
    assert!(
        told.story
            .sentence
            .ends_with("every poll that went over its place was given it.")
    );
    let error = trace(&script(LOST), &Options::default(), "x", "9").expect_err("no message");
    assert_eq!(error.to_string(), "x has no message 9 (3 messages)");
    let error = trace(&script(LOST), &Options::default(), "y", "9").expect_err("no key");
    assert!(error.to_string().contains("there is no key `y`"), "{error}");
}
