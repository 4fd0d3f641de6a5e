//! Throughput: written upwards, failed and uncertain downwards; and read.

use super::scale::Scale;
use super::{Chart, Head, Key, Picture, Readout, Sample, Timeline};
use crate::report::data::Bins;
use crate::report::data::rate::Rates;
use crate::report::scene::{Fill, Frame, Ink, Point, Shape};
use crate::report::text::count;

/// Messages acknowledged per second, and below the axis those that were not.
#[must_use]
pub fn written(time: Timeline<'_>, bins: &Bins, rates: &Rates) -> Picture {
    let per_second = |values: &[u64]| per_second(bins, values);
    let (ok, info, fail) = (
        per_second(&rates.ok),
        per_second(&rates.info),
        per_second(&rates.fail),
    );
    let high = ok.iter().copied().fold(0.0, f64::max);
    let below = info.iter().zip(&fail).map(|(a, b)| a + b);
    let low = below.fold(0.0, f64::max);
    let solid = Fill::plain(Ink::Ok, 0.6);
    let mut legend = vec![Key::new(Sample::Surface(solid), "acknowledged")];
    if low > 0.0 {
        let info = Fill::plain(Ink::Info, 0.85);
        let fail = Fill::plain(Ink::Fail, 0.85);
        legend.push(Key::new(Sample::Surface(info), "uncertain (below)"));
        legend.push(Key::new(Sample::Surface(fail), "failed (below, narrow)"));
    }
    let head = Head {
        title: "Messages written per second",
        hint: "should dip in a fault and come back after it",
        legend,
        height: 130.0,
        scale: Some(Scale::linear(0.0, high.max(low)).reaching(if low > 0.0 {
            -low.max(0.14 * high)
        } else {
            0.0
        })),
    };
    let mut chart = Chart::begin(time, head);
    if rates.totals()[..3] == [0, 0, 0] {
        chart.empty("no message was sent");
    }
    steps(&mut chart, bins, &ok, Ink::Ok);
    for bin in 0..bins.count {
        let (from, until) = (bins.start(bin), bins.stop(bin));
        bar(&mut chart, (from, until), (0.0, -info[bin]), Ink::Info);
        let third = (until - from) / 3;
        let foot = -info[bin];
        let narrow = (from + third, until - third);
        bar(&mut chart, narrow, (foot, foot - fail[bin]), Ink::Fail);
    }
    let [acknowledged, uncertain, failed, _] = rates.totals();
    let summary = format!(
        "Messages written per second: {} acknowledged, {} uncertain, {} failed in the run; at \
         most {} a second.",
        count(acknowledged),
        count(uncertain),
        count(failed),
        count(high as u64)
    );
    let mut picture = chart.finish("rate", "Throughput", summary);
    picture.readout = Some(Readout {
        bin: bins.width,
        unit: "msg/s",
        series: vec![
            ("acknowledged".to_owned(), some(&ok)),
            ("uncertain".to_owned(), some(&info)),
            ("failed".to_owned(), some(&fail)),
        ],
    });
    picture
}

/// Messages returned by polls per second.
#[must_use]
pub fn read(time: Timeline<'_>, bins: &Bins, rates: &Rates) -> Picture {
    let values = per_second(bins, &rates.read);
    let high = values.iter().copied().fold(0.0, f64::max);
    let head = Head {
        title: "Messages read per second",
        hint: "all consumers together; drains read everything again",
        legend: Vec::new(),
        height: 80.0,
        scale: Some(Scale::linear(0.0, high)),
    };
    let mut chart = Chart::begin(time, head);
    if high == 0.0 {
        chart.empty("nothing was read");
    }
    steps(&mut chart, bins, &values, Ink::Read);
    let [.., total] = rates.totals();
    let summary = format!(
        "Messages read per second: {} deliveries in the run, at most {} a second.",
        count(total),
        count(high as u64)
    );
    let mut picture = chart.finish("read", "Reads", summary);
    picture.readout = Some(Readout {
        bin: bins.width,
        unit: "msg/s",
        series: vec![("read".to_owned(), some(&values))],
    });
    picture
}

fn per_second(bins: &Bins, values: &[u64]) -> Vec<f64> {
    let rate = |(bin, n): (usize, &u64)| {
        let width = (bins.stop(bin) - bins.start(bin)).max(1);
        // The last bin may be a sliver, in which one message would be a peak.
        let width = width.max(bins.width / 2);
        *n as f64 * 1e9 / width as f64
    };
    values.iter().enumerate().map(rate).collect()
}

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().map(|value| Some(value.round())).collect()
}

/// A surface in steps from zero, with a line on top where there is something.
fn steps(chart: &mut Chart<'_>, bins: &Bins, values: &[f64], ink: Ink) {
    let mut surfaces: Vec<Vec<Point>> = Vec::new();
    let mut lines: Vec<Vec<Point>> = Vec::new();
    let zero = chart.y(0.0);
    for run in runs(values) {
        let mut top: Vec<Point> = Vec::new();
        for bin in run.clone() {
            let y = chart.y(values[bin]);
            top.push((chart.x(bins.start(bin)), y));
            top.push((chart.x(bins.stop(bin)), y));
        }
        let mut surface = vec![(top[0].0, zero)];
        surface.extend_from_slice(&top);
        surface.push((top[top.len() - 1].0, zero));
        surfaces.push(surface);
        lines.push(top);
    }
    chart.scene.timed(Shape::Area {
        parts: surfaces,
        fill: Fill::plain(ink, 0.45),
    });
    chart.scene.timed(Shape::Path {
        parts: lines,
        ink,
        width: 1.2,
        dash: crate::report::scene::Dash::Solid,
    });
}

/// Maximal ranges of bins with a value.
fn runs(values: &[f64]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (bin, value) in values.iter().enumerate() {
        match runs.last_mut() {
            _ if *value <= 0.0 => {}
            Some(run) if run.end == bin => run.end = bin + 1,
            _ => runs.push(bin..bin + 1),
        }
    }
    runs
}

fn bar(chart: &mut Chart<'_>, (from, until): (i64, i64), (a, b): (f64, f64), ink: Ink) {
    if a == b {
        return;
    }
    let (x0, x1) = (chart.x(from), chart.x(until));
    let (top, foot) = (chart.y(a.max(b)), chart.y(a.min(b)));
    let frame = Frame {
        x: x0,
        y: top,
        w: (x1 - x0).max(1.0),
        h: (foot - top).max(2.5),
    };
    chart
        .scene
        .timed(Shape::Rect(frame, Fill::plain(ink, 0.85)));
}
