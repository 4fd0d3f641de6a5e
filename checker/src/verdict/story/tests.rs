//! Stories of messages: their evidence in order, and where they are in the end.

use serde_json::json;

use crate::analysis::testing::script;
use crate::verdict::{Story, Whereabouts};
use crate::{Options, check};

fn stories(text: &str) -> Vec<Story> {
    check(&script(text), &Options::default())
        .expect("a verdict")
        .stories
}

const LOST: &str = r#"
    sample x hw=0 epoch=0 asked=1
    0 ok send x=1@0 x=2@1 x=3@2
    sample x hw=3 epoch=0 asked=1
    5 ok poll x:1@0,2@1
    {"process":"nemesis","type":"info","f":"kill","value":{"fault":"kill","id":1,"step":"effective"}}
    sample x hw=1 epoch=1 asked=2
    0 ok send x=4@1 x=5@2
    1> drain
    1 ok poll x:1@0,4@1,5@2
    1< ok drain x=0..3
"#;

#[test]
fn the_story_of_a_vanished_message() {
    let stories = stories(LOST);
    let story = stories
        .iter()
        .find(|story| story.value == json!(2))
        .expect("a story");
    assert_eq!((story.key.as_str(), story.offset), ("x", Some(1)));
    assert_eq!(story.whereabouts, Whereabouts::Replaced);
    let told: Vec<_> = story
        .evidence
        .iter()
        .map(|piece| (piece.kind.as_str(), piece.present))
        .collect();
    assert_eq!(
        told,
        [
            ("watermark", None),
            ("sent", None),
            ("acknowledged", Some(true)),
            ("watermark", Some(true)),
            ("fetch", Some(true)),
            ("watermark", Some(false)),
            ("fetch", Some(false)),
            ("drain", Some(false)),
        ]
    );
    assert!(
        story
            .sentence
            .starts_with("Message 2 of x was acknowledged at offset 1")
    );
    assert!(
        story
            .sentence
            .ends_with("another message stands in its place."),
        "{}",
        story.sentence
    );
}

fn audit(broker: i64, records: &str) -> String {
    format!(
        r#"{{"process":9,"type":"ok","f":"audit","value":{{"x":{{"broker":{broker},"high-watermark":9,"records":{records}}}}}}}"#
    )
}

#[test]
fn replicas_tell_where_a_message_is() {
    let config =
        r#"{"process":"sampler","type":"ok","f":"config","value":{"replication-factor":2}}"#;
    let history = |second: &str| {
        format!(
            "{config}
            0 ok send x=1@0 x=2@1 x=3@2
            1 ok poll x:1@0,3@2
            {}
            {second}",
            audit(1, "[[0,0,1],[2,0,3]]")
        )
    };
    let at = |second: &str| stories(&history(second))[0].whereabouts;
    assert_eq!(at(&audit(2, "[[0,0,1],[2,0,3]]")), Whereabouts::OnNoReplica);
    assert_eq!(
        at(&audit(2, "[[0,0,1],[1,0,2],[2,0,3]]")),
        Whereabouts::ServedElsewhere
    );
    assert_eq!(
        at(""),
        Whereabouts::Unknown,
        "the second replica was not read"
    );
}

#[test]
fn slow_is_told_from_lost() {
    let stories = stories(
        "
        0 ok send x=1@0 x=2@1
        sample x hw=1 epoch=0 asked=1
        sample x hw=1 epoch=1 asked=2
        1 ok poll x:1@0
    ",
    );
    assert_eq!(stories[0].anomaly, "unseen");
    assert_eq!(stories[0].whereabouts, Whereabouts::NotYetVisible);
}
