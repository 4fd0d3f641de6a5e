//! Gaps: when somebody waited for an acknowledgement and none came, by partition.

use super::{Chart, Head, Key, Picture, Sample, Timeline, span};
use crate::history::KeyId;
use crate::report::data::availability::{Availability, Gap};
use crate::report::data::names::Names;
use crate::report::scene::{Anchor, Dash, Fill, Frame, Ink, Shape, Words, font};
use crate::report::text::{clip, duration, plural};

/// Rows drawn; with more partitions, those with the longest gaps.
const MOST_ROWS: usize = 16;
const ROW: f64 = 19.0;
/// Narrowest bar worth drawing beside another, in CSS pixels.
const SLIVER: f64 = 1.5;

/// Draws the gaps.
#[must_use]
pub fn availability(time: Timeline<'_>, names: &Names<'_>, available: &Availability) -> Picture {
    let (rows, hidden) = rows(names, available);
    let floor = duration(available.floor);
    let hint = match hidden {
        0 => format!("gaps of {floor} and more, by partition"),
        n => format!("gaps of {floor} and more; {n} partitions with shorter gaps are not drawn"),
    };
    let head = Head {
        title: "Waiting for an acknowledgement",
        hint: &hint,
        legend: vec![
            Key::new(
                Sample::Line(Ink::Read, Dash::Solid),
                "writes are acknowledged",
            ),
            Key::new(
                Sample::Surface(Fill::plain(Ink::Alarm, 0.75)),
                "none, though wanted",
            ),
        ],
        height: rows.len().max(2) as f64 * ROW,
        scale: None,
    };
    let mut chart = Chart::begin(time, head);
    if rows.is_empty() {
        chart.empty("no write was tried");
    }
    for (at, key) in rows.iter().enumerate() {
        let top = chart.plot().y + at as f64 * ROW;
        let name = font::fit(
            names.short(*key),
            Words::SMALL.size,
            false,
            super::LEFT - 14.0,
        );
        let words = Words::SMALL.anchored(Anchor::End);
        let middle = top + ROW / 2.0;
        chart
            .scene
            .words((super::LEFT - 7.0, middle + 3.5), name, words);
        if let Some((first, last)) = available.span(*key) {
            chart.scene.timed(Shape::Path {
                parts: vec![vec![(chart.x(first), middle), (chart.x(last), middle)]],
                ink: Ink::Read,
                width: 2.0,
                dash: Dash::Solid,
            });
        }
        let mut drawn_to = f64::MIN;
        for gap in &available.keys[key.at()] {
            let (x0, x1) = (chart.x(gap.from), chart.x(gap.until));
            if x1 - x0 < SLIVER && x0 - drawn_to < SLIVER {
                continue;
            }
            drawn_to = x1;
            bar(&mut chart, names.full(*key), gap, top);
        }
    }
    let summary = summary(names, available);
    chart.finish("availability", "Availability", summary)
}

fn summary(names: &Names<'_>, available: &Availability) -> String {
    let floor = duration(available.floor);
    match available.worst() {
        None => format!("Availability for writes: no partition waited {floor} or longer."),
        Some((key, gap)) => format!(
            "Availability for writes: {} of {floor} or more; the longest lasted {} on {}.",
            plural(
                available.keys.iter().map(Vec::len).sum::<usize>() as u64,
                "gap",
                "gaps"
            ),
            duration(gap.length()),
            names.full(key)
        ),
    }
}

fn rows(names: &Names<'_>, available: &Availability) -> (Vec<KeyId>, usize) {
    let written = names.keys.iter().filter(|key| available.wanted(*key));
    let mut rows = names.sorted(written.collect());
    rows.sort_by_key(|key| {
        let longest = available.keys[key.at()].iter().map(Gap::length).max();
        std::cmp::Reverse(longest)
    });
    let hidden = rows.len().saturating_sub(MOST_ROWS);
    rows.truncate(MOST_ROWS);
    (names.sorted(rows), hidden)
}

fn bar(chart: &mut Chart<'_>, key: &str, gap: &Gap, top: f64) {
    let (x0, x1) = (chart.x(gap.from), chart.x(gap.until));
    let frame = Frame {
        x: x0,
        y: top + 3.0,
        w: (x1 - x0).max(1.5),
        h: ROW - 6.0,
    };
    let length = duration(gap.length());
    let end = match gap.ended {
        true => "",
        false => ", not ended by an acknowledgement",
    };
    let note = format!(
        "{}: no acknowledgement for {length}, {}{end}",
        clip(key, 100),
        span(gap.from, gap.until)
    );
    chart.scene.noted(
        Shape::Rect(frame, Fill::plain(Ink::Alarm, 0.75)),
        note,
        None,
    );
    let words = Words::SMALL.inked(Ink::Ground).sized(10.0).bold();
    if words.width(&length) + 6.0 <= x1 - x0 {
        let at = (f64::midpoint(x0, x1), top + ROW / 2.0 + 3.5);
        chart
            .scene
            .timed(words.anchored(Anchor::Middle).at(at, length));
    }
}
