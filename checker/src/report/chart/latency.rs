//! Latency of writes: quantiles over time, and every operation as a mark.

use rustc_hash::FxHashSet;

use super::scale::Scale;
use super::{Chart, Head, Key, Picture, Readout, Sample, Timeline};
use crate::history::Outcome;
use crate::report::data::Bins;
use crate::report::data::latency::{Latency, Quantiles};
use crate::report::scene::{Dash, Fill, Ink, Mark, Point, Shape};
use crate::report::text::{count, duration};

/// A quantile: its name, how it is drawn, and how it is read.
type Line = (&'static str, Ink, Dash, fn(&Quantiles) -> i64);

const LINES: [Line; 4] = [
    ("median", Ink::Series(2), Dash::Solid, |q| q.p50),
    ("p95", Ink::Series(0), Dash::Long, |q| q.p95),
    ("p99", Ink::Series(1), Dash::Short, |q| q.p99),
    ("max", Ink::Muted, Dash::Dots, |q| q.max),
];

/// Quantiles by bin.
#[must_use]
pub fn quantiles(time: Timeline<'_>, bins: &Bins, latency: &Latency) -> Picture {
    let known = || latency.bins.iter().flatten();
    let low = known().map(|q| q.p50).min().unwrap_or(1_000_000);
    let high = known().map(|q| q.max).max().unwrap_or(1_000_000_000);
    let legend = LINES.iter();
    let head = Head {
        title: "Latency of acknowledged writes",
        hint: match latency.by_message {
            true => "per message, by powers of ten",
            false => "per batch, by powers of ten",
        },
        legend: legend
            .map(|(word, ink, dash, _)| Key::new(Sample::Line(*ink, *dash), *word))
            .collect(),
        height: 150.0,
        scale: Some(Scale::log(low, high)),
    };
    let mut chart = Chart::begin(time, head);
    if latency.whole.is_none() {
        chart.empty("nothing was acknowledged");
    }
    spread(&mut chart, bins, latency);
    for (_, ink, dash, of) in LINES.iter().rev() {
        let parts = parts(&chart, bins, latency, *of);
        let single = |part: &&Vec<Point>| part.len() == 1;
        let points: Vec<Point> = parts.iter().filter(single).flatten().copied().collect();
        chart.scene.timed(Shape::Path {
            parts: parts.into_iter().filter(|part| part.len() > 1).collect(),
            ink: *ink,
            width: 1.6,
            dash: *dash,
        });
        if !points.is_empty() {
            chart.scene.timed(Shape::Marks {
                points,
                mark: Mark::Dot,
                ink: *ink,
                radius: 2.0,
            });
        }
    }
    let summary = match latency.whole {
        None => "Latency of writes: nothing was acknowledged.".to_owned(),
        Some(q) => format!(
            "Latency of acknowledged writes over time: median {}, p95 {}, p99 {}, at most {} over \
             {} acknowledgements.",
            duration(q.p50),
            duration(q.p95),
            duration(q.p99),
            duration(q.max),
            count(q.count as u64)
        ),
    };
    let mut picture = chart.finish("latency-quantiles", "Latency", summary);
    let series = |(word, _, _, of): &Line| {
        let values = latency.bins.iter();
        let ms = |q: &Quantiles| (of(q) as f64 / 1e4).round() / 100.0;
        let values = values.map(|q| q.as_ref().map(ms)).collect();
        ((*word).to_owned(), values)
    };
    picture.readout = Some(Readout {
        bin: bins.width,
        unit: "ms",
        series: LINES.iter().map(series).collect(),
    });
    picture
}

/// Bins without a value between two with one, across which a line is drawn all the same.
const BRIDGE: usize = 2;

/// The line of one quantile, broken where nothing was acknowledged for long.
fn parts(
    chart: &Chart<'_>,
    bins: &Bins,
    latency: &Latency,
    of: fn(&Quantiles) -> i64,
) -> Vec<Vec<Point>> {
    let mut parts: Vec<Vec<Point>> = Vec::new();
    let mut last = None;
    for (bin, quantiles) in latency.bins.iter().enumerate() {
        let Some(quantiles) = quantiles else {
            continue;
        };
        let middle = i64::midpoint(bins.start(bin), bins.stop(bin));
        let point = (chart.x(middle), chart.y(of(quantiles) as f64));
        match parts.last_mut() {
            Some(part) if last.is_some_and(|last| bin - last <= BRIDGE) => part.push(point),
            _ => parts.push(vec![point]),
        }
        last = Some(bin);
    }
    parts
}

/// The surface between the median and the 99th percentile.
fn spread(chart: &mut Chart<'_>, bins: &Bins, latency: &Latency) {
    let low = parts(chart, bins, latency, |q| q.p50);
    let high = parts(chart, bins, latency, |q| q.p99);
    let join = |(mut low, high): (Vec<Point>, Vec<Point>)| {
        low.extend(high.into_iter().rev());
        low
    };
    let joined = low.into_iter().zip(high).map(join);
    chart.scene.timed(Shape::Area {
        parts: joined.filter(|part| part.len() > 2).collect(),
        fill: Fill::plain(Ink::Series(0), 0.13),
    });
}

/// Marks closer than this to one of their kind are not drawn again, in CSS pixels.
const CELL: f64 = 2.5;

/// Every operation as a mark whose shape is its outcome.
#[must_use]
pub fn raw(time: Timeline<'_>, latency: &Latency) -> Picture {
    let low = latency.points.iter().map(|p| p.took).filter(|t| *t > 0);
    let high = latency.points.iter().map(|p| p.took).max();
    let kinds = [
        ("ok", Ink::Ok, Mark::Dot, 1.7),
        ("uncertain", Ink::Info, Mark::Triangle, 4.0),
        ("failed", Ink::Fail, Mark::Cross, 3.6),
    ];
    let legend = kinds.iter();
    let head = Head {
        title: "Every write",
        hint: "one mark per operation, at its beginning, by how long it took",
        legend: legend
            .map(|(word, ink, mark, _)| Key::new(Sample::Mark(*ink, *mark), *word))
            .collect(),
        height: 170.0,
        scale: Some(Scale::log(
            low.min().unwrap_or(1_000_000),
            high.unwrap_or(1_000_000_000),
        )),
    };
    let mut chart = Chart::begin(time, head);
    if latency.points.is_empty() {
        chart.empty("no write was tried");
    }
    let mut drawn = 0;
    for (at, (_, ink, mark, radius)) in kinds.iter().enumerate() {
        let mut cells: FxHashSet<(i32, i32)> = FxHashSet::default();
        let mut points = Vec::new();
        let of_kind = latency.points.iter().filter(|p| kind(p.outcome) == at);
        for point in of_kind {
            let (x, y) = (chart.x(point.invoked), chart.y(point.took as f64));
            if cells.insert(((x / CELL) as i32, (y / CELL) as i32)) {
                points.push((x, y));
            }
        }
        drawn += points.len();
        chart.scene.timed(Shape::Marks {
            points,
            mark: *mark,
            ink: *ink,
            radius: *radius,
        });
    }
    let counted = |at: usize| {
        let points = latency.points.iter();
        points.filter(|p| kind(p.outcome) == at).count() as u64
    };
    let mut summary = format!(
        "Every write as a mark: {} ok, {} uncertain, {} failed.",
        count(counted(0)),
        count(counted(1)),
        count(counted(2))
    );
    if drawn < latency.points.len() {
        summary.push_str(&format!(
            " {} of {} marks are drawn; the others would cover one of the same kind.",
            count(drawn as u64),
            count(latency.points.len() as u64)
        ));
    }
    chart.finish("latency-raw", "Every write", summary)
}

fn kind(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Ok => 0,
        Outcome::Info | Outcome::Open => 1,
        Outcome::Fail => 2,
    }
}
