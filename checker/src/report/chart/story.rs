//! One message's story as a strip: what wrote it, what the watermark said, who read it and who
//! did not, which replica holds it; against the faults.

use super::{Chart, Head, Key, Sample, Timeline};
use crate::report::scene::{Anchor, Ink, Mark, Scene, Shape, Words};
use crate::report::text::{clip, moment};
use crate::verdict::{Evidence, Story};

const ROW: f64 = 18.0;
const ROWS: [(&str, &[&str]); 4] = [
    ("written", &["sent", "acknowledged"]),
    ("watermark", &["watermark", "end-offset"]),
    ("read", &["fetch", "drain"]),
    ("on disk", &["audit"]),
];

/// Draws the strip.
#[must_use]
pub fn strip(time: Timeline<'_>, story: &Story) -> Scene {
    let present = Sample::Mark(Ink::Read, Mark::Dot);
    let absent = Sample::Mark(Ink::Alarm, Mark::Cross);
    let claim = Sample::Mark(Ink::Read, Mark::Triangle);
    let neutral = Sample::Mark(Ink::Muted, Mark::Tick);
    let head = Head {
        title: "Where it was, and where not",
        hint: "",
        legend: vec![
            Key::new(present, "proves it was there"),
            Key::new(absent, "proves it was not"),
            Key::new(claim, "says it should be"),
            Key::new(neutral, "neither"),
        ],
        height: ROWS.len() as f64 * ROW,
        scale: None,
    };
    let mut chart = Chart::begin(time, head);
    let top = chart.plot().y;
    for (at, (name, kinds)) in ROWS.iter().enumerate() {
        let middle = top + (at as f64 + 0.5) * ROW;
        let words = Words::SMALL.anchored(Anchor::End);
        chart
            .scene
            .words((super::LEFT - 7.0, middle + 3.5), *name, words);
        let of_row =
            |evidence: &&Evidence| evidence.time >= 0 && kinds.contains(&evidence.kind.as_str());
        for evidence in story.evidence.iter().filter(of_row).take(120) {
            mark(&mut chart, evidence, middle);
        }
    }
    let summary = format!("Evidence over time. {}", clip(&story.sentence, 300));
    chart.finish("story", "", summary).scene
}

fn mark(chart: &mut Chart<'_>, evidence: &Evidence, y: f64) {
    let (mark, ink, radius) = match evidence.present {
        Some(true) if evidence.kind == "watermark" => (Mark::Triangle, Ink::Read, 4.0),
        Some(true) => (Mark::Dot, Ink::Read, 4.0),
        Some(false) => (Mark::Cross, Ink::Alarm, 4.0),
        None => (Mark::Tick, Ink::Muted, 5.0),
    };
    let note = format!(
        "{}, {}: {}",
        moment(evidence.time),
        clip(&evidence.actor, 80),
        clip(&evidence.says, 200)
    );
    let shape = Shape::Marks {
        points: vec![(chart.x(evidence.time), y)],
        mark,
        ink,
        radius,
    };
    chart.scene.noted(shape, note, None);
}
