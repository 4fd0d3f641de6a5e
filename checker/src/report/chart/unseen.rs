//! Unseen messages over time, stacked by partition: it must come back to zero.

use super::scale::Scale;
use super::{Chart, Head, Key, Picture, Readout, Sample, Timeline};
use crate::report::data::Bins;
use crate::report::data::names::Names;
use crate::report::data::unseen::Unseen;
use crate::report::scene::{Anchor, Dash, Fill, Ink, Mark, Point, Shape, Words, font};
use crate::report::text::{count, plural};

/// Partitions with a surface of their own; the others are summed up in one.
const APART: usize = 7;

/// One surface of the stack.
struct Layer {
    name: String,
    ink: Ink,
    values: Vec<u64>,
}

/// Draws the stack.
#[must_use]
pub fn unseen(time: Timeline<'_>, bins: &Bins, names: &Names<'_>, unseen: &Unseen) -> Picture {
    let layers = layers(bins, names, unseen);
    let total: Vec<u64> = (0..bins.count)
        .map(|bin| layers.iter().map(|layer| layer.values[bin]).sum())
        .collect();
    let high = total.iter().copied().max().unwrap_or(0);
    let legend = layers.iter();
    let head = Head {
        title: "Unseen messages",
        hint: "acknowledged, not read yet; must come back to zero",
        legend: legend
            .map(|layer| {
                let fill = Fill::plain(layer.ink, 0.55);
                Key::new(
                    Sample::Surface(fill),
                    font::fit(&layer.name, 10.5, false, 120.0),
                )
            })
            .collect(),
        height: 140.0,
        scale: Some(Scale::linear(0.0, high as f64)),
    };
    let mut chart = Chart::begin(time, head);
    if unseen.acknowledged_in_all() == 0 {
        chart.empty("no message was acknowledged");
    }
    draw(&mut chart, bins, &layers, &total);
    let never = unseen.never_in_all();
    verdict(&mut chart, never, unseen.acknowledged_in_all());
    let summary = format!(
        "Unseen messages over time, by partition: at most {} at once; at the end {} of {} \
         acknowledged messages had never been read.",
        count(high),
        count(never),
        count(unseen.acknowledged_in_all())
    );
    let mut picture = chart.finish("unseen", "Unseen", summary);
    let series = layers.into_iter().map(|layer| {
        let values = layer.values.iter().map(|value| Some(*value as f64));
        (layer.name, values.collect())
    });
    picture.readout = Some(Readout {
        bin: bins.width,
        unit: "messages",
        series: series.collect(),
    });
    picture
}

fn layers(bins: &Bins, names: &Names<'_>, unseen: &Unseen) -> Vec<Layer> {
    let written = names
        .keys
        .iter()
        .filter(|key| unseen.acknowledged[key.at()] > 0);
    let written = names.sorted(written.collect());
    let apart = match written.len() {
        few if few <= APART + 1 => few,
        _ => APART,
    };
    let mut layers: Vec<Layer> = written[..apart]
        .iter()
        .enumerate()
        .map(|(at, key)| Layer {
            name: names.short(*key).to_owned(),
            ink: Ink::Series(at),
            values: unseen.keys[key.at()].clone(),
        })
        .collect();
    if let rest @ [_, ..] = &written[apart..] {
        let sum = |bin: usize| rest.iter().map(|key| unseen.keys[key.at()][bin]).sum();
        layers.push(Layer {
            name: format!("{} other partitions", rest.len()),
            ink: Ink::Muted,
            values: (0..bins.count).map(sum).collect(),
        });
    }
    layers
}

fn draw(chart: &mut Chart<'_>, bins: &Bins, layers: &[Layer], total: &[u64]) {
    let mut floor = vec![0u64; bins.count];
    for layer in layers {
        let mut top: Vec<Point> = Vec::with_capacity(2 * bins.count);
        let mut foot: Vec<Point> = Vec::with_capacity(2 * bins.count);
        for (bin, (floor, value)) in floor.iter_mut().zip(&layer.values).enumerate() {
            let x = chart.x(bins.stop(bin));
            foot.push((x, chart.y(*floor as f64)));
            *floor += value;
            top.push((x, chart.y(*floor as f64)));
        }
        let line = thinned(&top);
        foot.reverse();
        let foot = thinned(&foot);
        chart.scene.timed(Shape::Area {
            parts: vec![line.iter().chain(&foot).copied().collect()],
            fill: Fill::plain(layer.ink, 0.55),
        });
        chart.scene.timed(Shape::Path {
            parts: vec![line],
            ink: layer.ink,
            width: 0.8,
            dash: Dash::Solid,
        });
    }
    let top: Vec<Point> = (0..bins.count)
        .map(|bin| (chart.x(bins.stop(bin)), chart.y(total[bin] as f64)))
        .collect();
    chart.scene.timed(Shape::Path {
        parts: vec![thinned(&top)],
        ink: Ink::Text,
        width: 1.2,
        dash: Dash::Solid,
    });
}

/// The same line without the points in the middle of a level piece.
fn thinned(points: &[Point]) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::with_capacity(points.len());
    for point in points {
        let level = |a: &Point, b: &Point| (a.1 - b.1).abs() < 0.05;
        if let [.., before, last] = kept.as_slice()
            && level(before, last)
            && level(last, point)
        {
            kept.pop();
        }
        kept.push(*point);
    }
    kept
}

/// How it ended, in words at the right end.
fn verdict(chart: &mut Chart<'_>, never: u64, acknowledged: u64) {
    if acknowledged == 0 {
        return;
    }
    let plot = chart.plot();
    let (text, ink, mark) = match never {
        0 => ("✔ all read in the end".to_owned(), Ink::Read, None),
        n => (
            format!("✖ {} never read", plural(n, "message", "messages")),
            Ink::Alarm,
            Some(Mark::Diamond),
        ),
    };
    let words = Words::SMALL.sized(11.5).bold().inked(ink);
    let at = (plot.right() - 8.0, plot.y + 17.5);
    chart
        .scene
        .words(at, text, words.anchored(Anchor::End).haloed());
    if let Some(mark) = mark {
        let end = (plot.right(), chart.y(never as f64));
        chart.scene.timed(Shape::Marks {
            points: vec![end],
            mark,
            ink,
            radius: 4.5,
        });
    }
}
