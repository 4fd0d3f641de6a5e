//! Watermark lag over time: what was acknowledged, and not below the high watermark that a
//! broker answered; and how far followers are behind, by the brokers' own metrics.

use super::scale::Scale;
use super::{Chart, Head, Key, Picture, Readout, Sample, Timeline};
use crate::report::data::Bins;
use crate::report::data::names::Names;
use crate::report::data::watermark::WatermarkLag;
use crate::report::scene::{Dash, Ink, Mark, Point, Shape, font};
use crate::report::text::{count, plural};

/// A named series: values by bin.
pub type Series = (String, Vec<Option<f64>>);

/// Partitions or followers with a line of their own: those with the highest values.
const APART: usize = 8;
const DASHES: [Dash; 4] = [Dash::Solid, Dash::Long, Dash::Short, Dash::Dots];

/// Lag behind acknowledgements, as answered to `list-offsets`.
#[must_use]
pub fn by_partition(
    time: Timeline<'_>,
    bins: &Bins,
    names: &Names<'_>,
    lag: &WatermarkLag,
) -> Picture {
    let asked = names
        .keys
        .iter()
        .filter(|key| lag.keys[key.at()].iter().any(Option::is_some));
    let series = asked.map(|key| {
        let values = lag.keys[key.at()].iter();
        let values = values
            .map(|value| value.map(|value| value as f64))
            .collect();
        (names.short(key).to_owned(), values)
    });
    let series = worst_first(series.collect());
    let summary = match lag.answers {
        0 => "Watermark lag: no broker was asked for its watermark.".to_owned(),
        answers => format!(
            "Watermark lag over time, by partition: of {} answers {} did not cover a message \
             acknowledged before; at worst {} were missing.",
            count(answers),
            count(lag.behind),
            plural(lag.worst, "message", "messages")
        ),
    };
    let empty = match (lag.answers, lag.behind) {
        (0, _) => Some("no watermark was asked for"),
        (_, 0) => Some("every answer covered every message acknowledged before it"),
        _ => None,
    };
    let title = "Acknowledged, but not below the answered high watermark";
    let hint = match lag.deposed {
        0 => "messages; zero for acks=all, whatever the faults".to_owned(),
        n => format!("messages; zero for acks=all ({n} answers of deposed leaders left out)"),
    };
    let mut picture = lines(time, bins, (title, &hint), series, empty);
    picture.scene.summary = summary;
    picture
}

/// Watermark lag of followers, by the brokers' metrics.
#[must_use]
pub fn by_follower(time: Timeline<'_>, bins: &Bins, series: Vec<Series>) -> Picture {
    let series = worst_first(series);
    let worst = series
        .iter()
        .flat_map(|(_, values)| values.iter().flatten())
        .copied()
        .fold(0.0, f64::max);
    let title = "Watermark lag by follower";
    let hint = "messages, from the brokers' metrics; grows while a follower is cut off";
    let mut picture = lines(time, bins, (title, hint), series, None);
    picture.id = "watermark-lag-followers";
    picture.scene.summary = format!(
        "Watermark lag by follower over time, from the brokers' metrics: at worst {} messages.",
        count(worst as u64)
    );
    picture
}

fn worst_first(mut series: Vec<Series>) -> Vec<Series> {
    let worst = |series: &Series| {
        let values = series.1.iter().flatten().copied();
        values.fold(0.0, f64::max) as u64
    };
    series.sort_by(|a, b| worst(b).cmp(&worst(a)).then_with(|| a.0.cmp(&b.0)));
    series
}

fn lines(
    time: Timeline<'_>,
    bins: &Bins,
    (title, hint): (&str, &str),
    mut series: Vec<Series>,
    empty: Option<&str>,
) -> Picture {
    let hidden = series.len().saturating_sub(APART);
    series.truncate(APART);
    series.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)));
    let values = || {
        series
            .iter()
            .flat_map(|(_, values)| values.iter().flatten())
    };
    let high = values().copied().fold(0.0, f64::max);
    let style = |at: usize| (Ink::Series(at), DASHES[at % DASHES.len()]);
    let mut legend: Vec<Key> = Vec::new();
    for (at, (name, _)) in series.iter().enumerate() {
        let (ink, dash) = style(at);
        let name = font::fit(name, 10.5, false, 170.0);
        legend.push(Key::new(Sample::Line(ink, dash), name));
    }
    let hint = match hidden {
        0 => hint.to_owned(),
        hidden => format!("{hint}; {hidden} lines with less are not drawn"),
    };
    let head = Head {
        title,
        hint: &hint,
        legend: if empty.is_some() { Vec::new() } else { legend },
        height: if empty.is_some() { 60.0 } else { 110.0 },
        scale: Some(Scale::linear(0.0, high)),
    };
    let mut chart = Chart::begin(time, head);
    for (at, (_, values)) in series.iter().enumerate() {
        let (ink, dash) = style(at);
        draw(&mut chart, bins, values, ink, dash);
    }
    if let Some(why) = empty {
        chart.empty(why);
    }
    let mut picture = chart.finish("watermark-lag", "Watermark lag", String::new());
    picture.readout = Some(Readout {
        bin: bins.width,
        unit: "messages",
        series,
    });
    picture
}

/// A line goes on across a time without an answer of at most this many ns.
const BRIDGE: i64 = 2_500_000_000;

fn draw(chart: &mut Chart<'_>, bins: &Bins, values: &[Option<f64>], ink: Ink, dash: Dash) {
    let mut parts: Vec<Vec<Point>> = Vec::new();
    let mut last: Option<usize> = None;
    let bridge = (BRIDGE / bins.width).max(1) as usize;
    for (bin, value) in values.iter().enumerate() {
        let Some(value) = value else {
            continue;
        };
        let middle = i64::midpoint(bins.start(bin), bins.stop(bin));
        let point = (chart.x(middle), chart.y(*value));
        match parts.last_mut() {
            Some(part) if last.is_some_and(|last| bin - last <= bridge) => part.push(point),
            _ => parts.push(vec![point]),
        }
        last = Some(bin);
    }
    let (lines, single): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.len() > 1);
    chart.scene.timed(Shape::Path {
        parts: lines,
        ink,
        width: 1.5,
        dash,
    });
    if !single.is_empty() {
        chart.scene.timed(Shape::Marks {
            points: single.into_iter().flatten().collect(),
            mark: Mark::Dot,
            ink,
            radius: 1.8,
        });
    }
}
