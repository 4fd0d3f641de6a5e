//! Faults as bands behind a plot, with a labelled strip above it.
//!
//! Three shades tell how far a fault had come: asked for (faint), effective (tinted and hatched),
//! healing (faint again, dotted edge). The strip repeats kind and number in words, as far as
//! there is room; faults that overlap in time get strips of their own.

use super::{Timeline, span};
use crate::report::data::faults::Fault;
use crate::report::scene::{Anchor, Dash, Fill, Frame, Ink, Scene, Shape, Words};
use crate::report::text::clip;

const STRIP: f64 = 15.0;
/// Faults that overlap deeper than this share the last strip.
const MOST_STRIPS: usize = 3;
/// With more faults than this, bands have no words of their own.
const APART: usize = 80;

/// The strip of each fault (index by fault), as few as possible.
#[must_use]
pub fn rows(time: &Timeline<'_>) -> Vec<usize> {
    let mut busy_until = [i64::MIN; MOST_STRIPS];
    let mut rows = Vec::with_capacity(time.faults.len());
    for fault in time.faults {
        let Some(from) = fault.asked.or(fault.effective) else {
            rows.push(0);
            continue;
        };
        let free = busy_until.iter().position(|until| *until <= from);
        let row = free.unwrap_or(MOST_STRIPS - 1);
        busy_until[row] = busy_until[row].max(fault.over(time.end));
        rows.push(row);
    }
    rows
}

/// Height of all strips.
#[must_use]
pub fn height(rows: &[usize]) -> f64 {
    match rows.iter().max() {
        None => 4.0,
        Some(highest) => (highest + 1) as f64 * STRIP + 1.0,
    }
}

/// What a fault was, in one line.
#[must_use]
pub fn note(fault: &Fault, end: i64) -> String {
    let mut note = clip(&fault.label(), 80);
    if let Some(role) = &fault.role {
        note.push_str(&format!(", aimed at the {}", clip(role, 80)));
    }
    if !fault.targets.is_empty() {
        note.push_str(&format!(" ({})", clip(&fault.targets, 120)));
    }
    match fault.from() {
        Some(from) => note.push_str(&format!(": {}", span(from, fault.until(end)))),
        None => note.push_str(": not applied"),
    }
    if let Some(trouble) = &fault.trouble {
        note.push_str(&format!(" [{}]", clip(trouble, 200)));
    }
    note
}

/// Draws all bands behind the plot, and their strips from `top` on.
pub fn draw(scene: &mut Scene, time: &Timeline<'_>, plot: &Frame, rows: &[usize], top: f64) {
    if time.faults.len() > APART {
        plain(scene, time, plot, rows, top);
        return;
    }
    let drawn = time
        .faults
        .iter()
        .zip(rows)
        .filter(|(fault, _)| !fault.skipped);
    for (fault, row) in drawn {
        let ink = Ink::Fault(fault.ink());
        for (from, until, alpha, hatched) in stages(fault, time.end) {
            let (x0, x1) = (time.x(from), time.x(until));
            let frame = Frame {
                x: x0,
                y: plot.y,
                w: (x1 - x0).max(0.5),
                h: plot.h,
            };
            let fill = Fill {
                ink,
                alpha: alpha * 0.42,
                hatch: None,
            };
            scene.banded(Shape::Rect(frame, fill), fault.number);
            let strip = Frame {
                y: top + *row as f64 * STRIP,
                h: STRIP - 1.0,
                ..frame
            };
            let fill = Fill {
                ink,
                alpha,
                hatch: hatched.then(|| fault.ink().hatch()),
            };
            scene.noted(
                Shape::Rect(strip, fill),
                note(fault, time.end),
                Some(fault.number),
            );
        }
        edge(scene, time, fault, plot, top + *row as f64 * STRIP);
        label(scene, time, fault, top + *row as f64 * STRIP);
    }
}

/// Many faults: their effect as one tint, without words; the lanes have the details.
fn plain(scene: &mut Scene, time: &Timeline<'_>, plot: &Frame, rows: &[usize], top: f64) {
    for (fault, row) in time.faults.iter().zip(rows) {
        let Some(from) = fault.from() else {
            continue;
        };
        let (x0, x1) = (time.x(from), time.x(fault.until(time.end)));
        let ink = Ink::Fault(fault.ink());
        let width = (x1 - x0).max(0.5);
        let band = Frame {
            x: x0,
            w: width,
            ..*plot
        };
        scene.timed(Shape::Rect(band, Fill::plain(ink, 0.13)));
        let strip = Frame {
            x: x0,
            y: top + *row as f64 * STRIP,
            w: width,
            h: STRIP - 1.0,
        };
        scene.timed(Shape::Rect(strip, Fill::plain(ink, 0.45)));
    }
}

/// From, until, strength, hatched: the stages of a fault.
#[must_use]
pub fn stages(fault: &Fault, end: i64) -> Vec<(i64, i64, f64, bool)> {
    let mut stages = Vec::new();
    if fault.skipped {
        return stages;
    }
    let healed = fault.until(end);
    match (fault.asked, fault.effective) {
        (Some(asked), Some(effective)) => {
            stages.push((asked, effective, 0.10, false));
            stages.push((effective, healed, 0.30, true));
        }
        (Some(asked), None) => stages.push((asked, healed, 0.10, false)),
        (None, Some(effective)) => stages.push((effective, healed, 0.30, true)),
        (None, None) => {}
    }
    if let (Some(healed), Some(verified)) = (fault.healed, fault.verified) {
        stages.push((healed, verified, 0.15, false));
    }
    stages.retain(|(from, until, ..)| until >= from);
    stages
}

/// Upright lines where a fault takes effect and where it is healed.
fn edge(scene: &mut Scene, time: &Timeline<'_>, fault: &Fault, plot: &Frame, top: f64) {
    let ink = Ink::Fault(fault.ink());
    let edges = [(fault.from(), Dash::Solid), (fault.healed, Dash::Short)];
    for (at, dash) in edges {
        if let Some(at) = at {
            let x = time.x(at);
            scene.timed(Shape::Path {
                parts: vec![vec![(x, top), (x, plot.bottom())]],
                ink,
                width: 0.8,
                dash,
            });
        }
    }
}

fn label(scene: &mut Scene, time: &Timeline<'_>, fault: &Fault, top: f64) {
    let Some(from) = fault.from() else {
        return;
    };
    let (x0, x1) = (time.x(from), time.x(fault.until(time.end)));
    let room = x1 - x0 - 4.0;
    let number = format!("#{}", fault.number);
    let words = Words::SMALL.sized(10.0).inked(Ink::Text).bold();
    let full = fault.label();
    let first = fault.kind.split('-').next().unwrap_or_default();
    let candidates = [full, format!("{number} {first}"), number];
    let mut fitting = candidates.into_iter();
    let Some(text) = fitting.find(|text| words.width(text) <= room) else {
        return;
    };
    let middle = f64::midpoint(x0, x1);
    let at = (middle, top + STRIP - 4.5);
    scene.timed(words.anchored(Anchor::Middle).haloed().at(at, text));
}
