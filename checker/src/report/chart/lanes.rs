//! The run at a glance: its phases, its faults in lanes by kind, and where anomalies lie.

use super::{Chart, Head, Key, Picture, Sample, Timeline, bands};
use crate::report::data::faults::Fault;
use crate::report::scene::{Anchor, Dash, Fill, Frame, Ink, Mark, Shape, Words, font};
use crate::report::text::{moment, plural};

const ROW: f64 = 20.0;
/// Faults of one kind that overlap get rows of their own, up to this many.
const MOST_ROWS: usize = 4;

/// One anomaly in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When.
    pub time: i64,
    /// What.
    pub anomaly: String,
}

/// A lane: faults of one kind.
struct Lane<'a> {
    kind: &'a str,
    rows: Vec<Vec<&'a Fault>>,
}

/// Draws phases, lanes and sightings.
#[must_use]
pub fn lanes(time: Timeline<'_>, sightings: &[Sighting]) -> Picture {
    let lanes = sort(&time);
    let rows: usize = lanes.iter().map(|lane| lane.rows.len()).sum();
    let extra = 1 + usize::from(!sightings.is_empty());
    let bitten = time.faults.iter().filter(|fault| fault.bit()).count();
    let head = Head {
        title: "The run",
        hint: "phases, faults, and what was found",
        legend: legend(&time),
        height: (rows + extra) as f64 * ROW,
        scale: None,
    };
    // No bands behind the lanes: the lanes are the bands.
    let bare = Timeline {
        faults: &[],
        ..time
    };
    let mut chart = Chart::begin(bare, head);
    let mut top = chart.plot().y;
    phases(&mut chart, top);
    top += ROW;
    for lane in &lanes {
        for (at, row) in lane.rows.iter().enumerate() {
            if at == 0 {
                name(&mut chart, lane.kind, top);
            }
            for fault in row {
                bar(&mut chart, fault, top, time.end);
            }
            top += ROW;
        }
    }
    if !sightings.is_empty() {
        name(&mut chart, "anomalies", top);
        for (time, note) in gathered(&chart, sightings) {
            let mark = Shape::Marks {
                points: vec![(chart.x(time), top + ROW / 2.0)],
                mark: Mark::Diamond,
                ink: Ink::Alarm,
                radius: 4.5,
            };
            chart.scene.noted(mark, note, None);
        }
    }
    let summary = format!(
        "The run of {}: {}, of which {bitten} took effect.",
        moment(time.end),
        plural(time.faults.len() as u64, "fault", "faults")
    );
    chart.finish("faults", "The run", summary)
}

fn sort<'a>(time: &Timeline<'a>) -> Vec<Lane<'a>> {
    let mut lanes: Vec<Lane<'a>> = Vec::new();
    for fault in time.faults.iter().filter(|fault| !fault.skipped) {
        let Some(from) = fault.asked.or(fault.effective) else {
            continue;
        };
        let found = lanes.iter().position(|lane| lane.kind == fault.kind);
        let at = found.unwrap_or_else(|| {
            lanes.push(Lane {
                kind: &fault.kind,
                rows: Vec::new(),
            });
            lanes.len() - 1
        });
        let rows = &mut lanes[at].rows;
        let free = rows
            .iter()
            .position(|row| row.last().is_none_or(|last| last.over(time.end) <= from));
        match free {
            Some(row) => rows[row].push(fault),
            None if rows.len() < MOST_ROWS => rows.push(vec![fault]),
            None => rows[MOST_ROWS - 1].push(fault),
        }
    }
    lanes
}

fn legend(time: &Timeline<'_>) -> Vec<Key> {
    let Some(first) = time.faults.first() else {
        return Vec::new();
    };
    let ink = Ink::Fault(first.ink());
    let hatched = Fill {
        ink,
        alpha: 0.30,
        hatch: Some(first.ink().hatch()),
    };
    vec![
        Key::new(Sample::Surface(Fill::plain(ink, 0.10)), "asked for"),
        Key::new(Sample::Surface(hatched), "effective"),
        Key::new(Sample::Surface(Fill::plain(ink, 0.18)), "healing"),
    ]
}

fn name(chart: &mut Chart<'_>, text: &str, top: f64) {
    let text = font::fit(text, Words::SMALL.size, false, super::LEFT - 14.0);
    let words = Words::SMALL.anchored(Anchor::End).inked(Ink::Text);
    let at = (super::LEFT - 7.0, top + ROW / 2.0 + 3.5);
    chart.scene.words(at, text, words);
}

fn phases(chart: &mut Chart<'_>, top: f64) {
    name(chart, "phase", top);
    let phases = chart.time.phases;
    for (at, (from, word)) in phases.iter().enumerate() {
        let until = phases.get(at + 1).map_or(chart.time.end, |(next, _)| *next);
        let (x0, x1) = (chart.x(*from), chart.x(until));
        let frame = Frame {
            x: x0,
            y: top + 2.0,
            w: (x1 - x0 - 1.0).max(0.5),
            h: ROW - 4.0,
        };
        let note = format!("phase {word}: {}", super::span(*from, until));
        let fill = Fill::plain(Ink::Axis, if at % 2 == 0 { 0.22 } else { 0.36 });
        chart.scene.noted(Shape::Rect(frame, fill), note, None);
        let words = Words::SMALL.inked(Ink::Text).sized(10.0);
        if words.width(word) + 6.0 <= frame.w {
            let at = (x0 + 4.0, top + ROW / 2.0 + 3.5);
            chart.scene.timed(words.at(at, word.clone()));
        }
    }
}

fn bar(chart: &mut Chart<'_>, fault: &Fault, top: f64, end: i64) {
    let ink = Ink::Fault(fault.ink());
    for (from, until, alpha, hatched) in bands::stages(fault, end) {
        let (x0, x1) = (chart.x(from), chart.x(until));
        let frame = Frame {
            x: x0,
            y: top + 2.0,
            w: (x1 - x0).max(1.0),
            h: ROW - 4.0,
        };
        let fill = Fill {
            ink,
            alpha,
            hatch: hatched.then(|| fault.ink().hatch()),
        };
        let shape = Shape::Rect(frame, fill);
        let note = bands::note(fault, end);
        chart.scene.noted(shape, note, Some(fault.number));
    }
    let Some(from) = fault.from() else {
        return;
    };
    for at in [Some(from), fault.healed].into_iter().flatten() {
        let x = chart.x(at);
        chart.scene.timed(Shape::Path {
            parts: vec![vec![(x, top + 2.0), (x, top + ROW - 2.0)]],
            ink,
            width: 1.4,
            dash: Dash::Solid,
        });
    }
    let (x0, x1) = (chart.x(from), chart.x(fault.until(end)));
    let words = Words::SMALL.inked(Ink::Text).sized(10.0).bold();
    let room = x1 - x0 - 8.0;
    let number = format!("#{}", fault.number);
    let whom = fault.role.as_deref().unwrap_or(&fault.targets);
    let candidates = [
        format!("{number} {whom} → {}", fault.targets),
        format!("{number} {whom}"),
        format!("{number} → {}", fault.targets),
        number,
    ];
    let skip = usize::from(fault.role.is_none() || fault.targets.is_empty());
    let fitting = candidates.iter().skip(skip);
    let Some(text) = fitting.clone().find(|text| words.width(text) <= room) else {
        return;
    };
    let middle = f64::midpoint(x0, x1);
    let at = (middle, top + ROW / 2.0 + 3.5);
    let label = words.anchored(Anchor::Middle).haloed().at(at, text.clone());
    chart.scene.timed(label);
}

/// Sightings within 6 pixels of each other share one mark, which says how many they are.
fn gathered(chart: &Chart<'_>, sightings: &[Sighting]) -> Vec<(i64, String)> {
    let mut sorted: Vec<&Sighting> = sightings.iter().collect();
    sorted.sort_by_key(|sighting| (sighting.time, sighting.anomaly.clone()));
    let near = |a: &&Sighting, b: &&Sighting| chart.x(b.time) - chart.x(a.time) < 2.0;
    let groups = sorted.chunk_by(near);
    groups
        .map(|group| {
            let mut words: Vec<&str> = group.iter().map(|s| s.anomaly.as_str()).collect();
            words.sort_unstable();
            words.dedup();
            let first = group[0].time;
            let count = plural(group.len() as u64, "sighting", "sightings");
            let note = format!("{} at {}: {count}", words.join(", "), moment(first));
            (first, note)
        })
        .collect()
}
