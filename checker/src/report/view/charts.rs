//! Pictures with their captions, the tables beside them, and the numbers that the script reads.

use std::fmt::Write as _;

use serde_json::json;

use crate::report::chart::{LEFT, Picture, RIGHT, Readout, WIDTH};
use crate::report::facts::{DRAWN, Facts};
use crate::report::scene::svg;
use crate::report::text::{axis_number, clip, moment, visible};

/// One picture on the page.
pub struct ChartView {
    /// Identifier.
    pub id: &'static str,
    /// Heading.
    pub title: String,
    /// The drawing.
    pub svg: String,
    /// What it shows.
    pub summary: String,
    /// The table's columns.
    pub columns: Vec<String>,
    /// The table's rows: time, then values.
    pub rows: Vec<(String, Vec<String>)>,
    /// Unit of the values.
    pub unit: &'static str,
}

/// All pictures.
pub struct Charts {
    /// In order.
    pub all: Vec<ChartView>,
    /// What the script reads, as JSON without any `<`.
    pub data: String,
}

/// Rows of the table beside a picture.
const ROWS: usize = 40;

/// Builds the section.
#[must_use]
pub fn charts(facts: &Facts<'_>, pictures: &[Picture]) -> Charts {
    Charts {
        all: pictures.iter().map(view).collect(),
        data: data(facts, pictures),
    }
}

fn view(picture: &Picture) -> ChartView {
    let (columns, rows) = picture.readout.as_ref().map(table).unwrap_or_default();
    ChartView {
        id: picture.id,
        title: picture.title.clone(),
        svg: svg::draw(&picture.scene, &format!("c-{}", picture.id)),
        summary: picture.scene.summary.clone(),
        columns,
        rows,
        unit: picture.readout.as_ref().map_or("", |readout| readout.unit),
    }
}

type Table = (Vec<String>, Vec<(String, Vec<String>)>);

/// The values, in at most [`ROWS`] rows: the largest of each.
fn table(readout: &Readout) -> Table {
    let columns = readout
        .series
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    let bins = readout.series.first().map_or(0, |(_, values)| values.len());
    let step = bins.div_ceil(ROWS).max(1);
    let row = |from: usize| {
        let until = (from + step).min(bins);
        let cells = readout.series.iter().map(|(_, values)| {
            let values = values[from..until].iter().flatten().copied();
            let largest = values.reduce(f64::max);
            largest.map_or_else(|| "—".to_owned(), axis_number)
        });
        (moment(from as i64 * readout.bin), cells.collect())
    };
    (columns, (0..bins).step_by(step).map(row).collect())
}

fn data(facts: &Facts<'_>, pictures: &[Picture]) -> String {
    let faults: Vec<_> = facts
        .faults
        .iter()
        .take(DRAWN)
        .map(|fault| {
            json!({
                "n": fault.number,
                "label": visible(&clip(&fault.label(), 80)),
                "from": fault.from(),
                "until": fault.until(facts.end),
            })
        })
        .collect();
    let mut text = format!(
        "{{\"end\":{},\"left\":{LEFT},\"width\":{},\"faults\":{},\"charts\":{{",
        facts.end,
        WIDTH - LEFT - RIGHT,
        json!(faults)
    );
    let mut first = true;
    for picture in pictures {
        let Some(readout) = &picture.readout else {
            continue;
        };
        if !first {
            text.push(',');
        }
        first = false;
        let _ = write!(
            text,
            "\"{}\":{{\"bin\":{},\"unit\":{},\"series\":[",
            picture.id,
            readout.bin,
            json!(readout.unit)
        );
        for (at, (name, values)) in readout.series.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(text, "{comma}[{},[", json!(visible(name)));
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                match value {
                    // Zeros are the most frequent value by far, absence the second.
                    Some(value) if *value == 0.0 => text.push('0'),
                    Some(value) => {
                        let _ = write!(text, "{value}");
                    }
                    None => text.push_str("null"),
                }
            }
            text.push_str("]]");
        }
        text.push_str("]}");
    }
    text.push_str("}}");
    // Inside a script element only `<` could end it.
    text.replace('<', "\\u003c")
}
