//! Who led which partition when: one row per partition, one block per leader epoch.

use super::{Chart, Head, Key, Picture, Sample, Timeline, span};
use crate::history::KeyId;
use crate::report::data::leaders::{Leaders, Reign};
use crate::report::data::names::Names;
use crate::report::scene::{Anchor, Dash, Fill, Frame, Ink, Shape, Words, font};
use crate::report::text::{clip, plural};

/// Rows drawn; with more partitions, those with the most changes.
const MOST_ROWS: usize = 16;
const ROW: f64 = 19.0;
/// Narrowest block worth drawing beside another, in CSS pixels.
const SLIVER: f64 = 2.0;

/// Draws the strips.
#[must_use]
pub fn leaders(time: Timeline<'_>, names: &Names<'_>, leaders: &Leaders) -> Picture {
    let (rows, hidden) = rows(names, leaders);
    let brokers = brokers(leaders);
    let legend = brokers.iter().take(8);
    let hint = match hidden {
        0 => "one block per leader epoch: broker · epoch".to_owned(),
        n => format!("broker · epoch; {n} partitions with fewer changes are not drawn"),
    };
    let head = Head {
        title: "Leaders",
        hint: &hint,
        legend: legend
            .map(|broker| {
                let fill = Fill::plain(ink(&brokers, Some(*broker)), 0.38);
                Key::new(Sample::Surface(fill), format!("broker {broker}"))
            })
            .collect(),
        height: rows.len().max(2) as f64 * ROW,
        scale: None,
    };
    let mut chart = Chart::begin(time, head);
    if rows.is_empty() {
        chart.empty("nobody was asked who leads");
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
        chart
            .scene
            .words((super::LEFT - 7.0, top + ROW / 2.0 + 3.5), name, words);
        let mut drawn_to = f64::MIN;
        for reign in &leaders.keys[key.at()] {
            // Blocks that would be slivers on slivers are left out: one stands for all of them.
            let (x0, x1) = (chart.x(reign.from), chart.x(reign.until));
            if x1 - x0 >= SLIVER || x0 - drawn_to >= SLIVER {
                block(&mut chart, names.full(*key), reign, top, &brokers);
                drawn_to = x0;
            }
        }
    }
    let summary = format!(
        "Leaders over time, one row per partition: {} after the first leader was known.",
        plural(
            leaders.changes_in_all(),
            "change of leader epoch",
            "changes of leader epoch"
        )
    );
    chart.finish("leaders", "Leaders", summary)
}

fn rows(names: &Names<'_>, leaders: &Leaders) -> (Vec<KeyId>, usize) {
    let mut rows: Vec<KeyId> = names
        .keys
        .iter()
        .filter(|key| !leaders.keys[key.at()].is_empty())
        .collect();
    rows = names.sorted(rows);
    rows.sort_by_key(|key| std::cmp::Reverse(leaders.changes(*key)));
    let hidden = rows.len().saturating_sub(MOST_ROWS);
    rows.truncate(MOST_ROWS);
    (names.sorted(rows), hidden)
}

fn brokers(leaders: &Leaders) -> Vec<i64> {
    let reigns = leaders.keys.iter().flatten();
    let mut brokers: Vec<i64> = reigns.filter_map(|reign| reign.leader).collect();
    brokers.sort_unstable();
    brokers.dedup();
    brokers
}

fn ink(brokers: &[i64], leader: Option<i64>) -> Ink {
    let at = leader.and_then(|leader| brokers.iter().position(|broker| *broker == leader));
    at.map_or(Ink::Alarm, Ink::Series)
}

fn block(chart: &mut Chart<'_>, key: &str, reign: &Reign, top: f64, brokers: &[i64]) {
    let (x0, x1) = (chart.x(reign.from), chart.x(reign.until));
    let frame = Frame {
        x: x0,
        y: top + 1.5,
        w: (x1 - x0).max(1.0),
        h: ROW - 3.0,
    };
    let ink = ink(brokers, reign.leader);
    let epoch = reign
        .epoch
        .map_or_else(|| "?".to_owned(), |epoch| epoch.to_string());
    let leader = reign.leader.map_or_else(
        || "no leader".to_owned(),
        |leader| format!("broker {leader}"),
    );
    let note = format!(
        "{}: {leader}, epoch {epoch}, {}",
        clip(key, 100),
        span(reign.from, reign.until)
    );
    let alpha = if reign.leader.is_some() { 0.38 } else { 0.15 };
    let ground = Shape::Rect(frame, Fill::plain(Ink::Ground, 1.0));
    chart.scene.timed(ground);
    chart
        .scene
        .noted(Shape::Rect(frame, Fill::plain(ink, alpha)), note, None);
    chart.scene.timed(Shape::Path {
        parts: vec![vec![(x0, top + 1.5), (x0, top + ROW - 1.5)]],
        ink,
        width: 2.0,
        dash: Dash::Solid,
    });
    let words = Words::SMALL.inked(Ink::Text).sized(10.0);
    let short = reign.leader.map_or_else(
        || "none".to_owned(),
        |leader| format!("{leader} · e{epoch}"),
    );
    let long = format!("{leader} · epoch {epoch}");
    let room = x1 - x0 - 8.0;
    let fitting = [long, short]
        .into_iter()
        .find(|text| words.width(text) <= room);
    if let Some(text) = fitting {
        let at = (x0 + 5.0, top + ROW / 2.0 + 3.5);
        chart.scene.timed(words.at(at, text));
    }
}
