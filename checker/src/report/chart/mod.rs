//! The pictures of the report. All share one time axis with the faults as labelled bands, so
//! that what happened at one moment stands in one column of the page.

pub mod availability;
pub mod bands;
pub mod lanes;
pub mod latency;
pub mod leaders;
pub mod overview;
pub mod rate;
pub mod scale;
pub mod story;
pub mod unseen;
pub mod watermark;

use super::data::faults::Fault;
use super::scene::{Anchor, Dash, Fill, Frame, Ink, Mark, Scene, Shape, Words, font};
use super::text::moment;
use scale::Scale;

/// Width of every picture, in CSS pixels.
pub const WIDTH: f64 = 1080.0;
/// Room left of the plot, for the labels of the y axis and of rows.
pub const LEFT: f64 = 104.0;
/// Room right of the plot.
pub const RIGHT: f64 = 18.0;

/// A picture with what goes along with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Identifier within the page, and the name of the PNG without its ending.
    pub id: &'static str,
    /// Heading.
    pub title: String,
    /// The drawing.
    pub scene: Scene,
    /// What a script may read out at the cursor, and the table beside the drawing.
    pub readout: Option<Readout>,
}

/// Values by bin, as a script and the table beside a picture show them.
#[derive(Clone, Debug, PartialEq)]
pub struct Readout {
    /// Width of a bin in ns.
    pub bin: i64,
    /// Unit of the values.
    pub unit: &'static str,
    /// Name and values of each series.
    pub series: Vec<(String, Vec<Option<f64>>)>,
}

/// What every picture knows of the run's time.
#[derive(Clone, Copy, Debug)]
pub struct Timeline<'a> {
    /// End of the run in ns.
    pub end: i64,
    /// Faults, in order.
    pub faults: &'a [Fault],
    /// Beginnings of phases, in order.
    pub phases: &'a [(i64, String)],
}

impl Timeline<'_> {
    /// Where a moment lies.
    #[must_use]
    pub fn x(&self, ns: i64) -> f64 {
        let share = ns.clamp(0, self.end) as f64 / self.end.max(1) as f64;
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }
}

/// How a legend shows a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// A line.
    Line(Ink, Dash),
    /// A mark.
    Mark(Ink, Mark),
    /// A surface.
    Surface(Fill),
}

/// One entry of a legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// How it looks.
    pub sample: Sample,
    /// What it is.
    pub word: String,
}

impl Key {
    /// An entry.
    #[must_use]
    pub fn new(sample: Sample, word: impl Into<String>) -> Key {
        Key {
            sample,
            word: word.into(),
        }
    }
}

/// What a picture is framed by.
pub struct Head<'a> {
    /// Title, with the unit.
    pub title: &'a str,
    /// What to look for, in a few words.
    pub hint: &'a str,
    /// Legend.
    pub legend: Vec<Key>,
    /// Height of the plot.
    pub height: f64,
    /// Values of the y axis; none where the plot has rows.
    pub scale: Option<Scale>,
}

/// A picture being drawn.
pub struct Chart<'a> {
    /// The drawing so far.
    pub scene: Scene,
    /// The run's time.
    pub time: Timeline<'a>,
    scale: Option<Scale>,
}

impl<'a> Chart<'a> {
    /// Draws title, legend, bands, grid and axes.
    #[must_use]
    pub fn begin(time: Timeline<'a>, head: Head<'_>) -> Chart<'a> {
        let mut scene = Scene::default();
        scene.words((4.0, 17.0), head.title, Words::TITLE);
        let title = Words::TITLE.width(head.title);
        let mut below = 26.0;
        let legend = legend_width(&head.legend);
        let hint_from = 4.0 + title + 12.0;
        let mut hint_room = WIDTH - RIGHT - hint_from;
        if !head.legend.is_empty() {
            let beside = WIDTH - RIGHT - legend;
            if beside > hint_from + Words::SMALL.width(head.hint) + 16.0 {
                draw_legend(&mut scene, &head.legend, (beside, 17.0));
                hint_room = beside - hint_from - 16.0;
            } else {
                below = draw_legend(&mut scene, &head.legend, (LEFT, 35.0)) + 9.0;
            }
        }
        let hint = font::fit(head.hint, Words::SMALL.size, false, hint_room);
        scene.words((hint_from, 17.0), hint, Words::SMALL);
        let strips = bands::rows(&time);
        let plot = Frame {
            x: LEFT,
            y: below + bands::height(&strips),
            w: WIDTH - LEFT - RIGHT,
            h: head.height,
        };
        scene.plot = Frame {
            y: below,
            h: plot.bottom() - below,
            ..plot
        };
        bands::draw(&mut scene, &time, &plot, &strips, below);
        let mut chart = Chart {
            scene,
            time,
            scale: head.scale,
        };
        chart.scene.size = (WIDTH, plot.bottom() + 20.0);
        chart.axes(&plot);
        chart.scene.plot = plot;
        chart
    }

    /// The part of the picture below the labels of the bands.
    #[must_use]
    pub fn plot(&self) -> Frame {
        self.scene.plot
    }

    /// Where a moment lies.
    #[must_use]
    pub fn x(&self, ns: i64) -> f64 {
        self.time.x(ns)
    }

    /// Where a value lies.
    #[must_use]
    pub fn y(&self, value: f64) -> f64 {
        let share = self.scale.map_or(0.0, |scale| scale.share(value));
        let plot = self.plot();
        plot.bottom() - share * plot.h
    }

    /// Finishes the picture. The clip covers the bands' labels too: they move with the time.
    #[must_use]
    pub fn finish(mut self, id: &'static str, title: &str, summary: String) -> Picture {
        let plot = self.scene.plot;
        let top = plot.y - bands::height(&bands::rows(&self.time));
        self.scene.plot = Frame {
            y: top,
            h: plot.bottom() - top,
            ..plot
        };
        self.scene.summary = summary;
        Picture {
            id,
            title: title.to_owned(),
            scene: self.scene,
            readout: None,
        }
    }

    /// Words in the middle of an empty plot.
    pub fn empty(&mut self, why: &str) {
        let plot = self.plot();
        let at = (plot.x + plot.w / 2.0, plot.y + plot.h / 2.0 + 4.0);
        let words = Words::SMALL.sized(12.0).anchored(Anchor::Middle);
        self.scene.words(at, why, words.haloed());
    }

    fn axes(&mut self, plot: &Frame) {
        if let Some(scale) = self.scale {
            for tick in scale.ticks() {
                let y = plot.bottom() - scale.share(tick) * plot.h;
                self.scene
                    .fixed(line(&[(plot.x, y), (plot.right(), y)], Ink::Grid, 1.0));
                let words = Words::SMALL.anchored(Anchor::End);
                self.scene
                    .words((plot.x - 7.0, y + 3.5), scale.label(tick), words);
            }
        }
        let foot = plot.bottom();
        self.scene.fixed(line(
            &[(plot.x, foot), (plot.right(), foot)],
            Ink::Axis,
            1.0,
        ));
        for (from, _) in self.time.phases.iter().filter(|(from, _)| *from > 0) {
            let x = self.time.x(*from);
            self.scene.timed(Shape::Path {
                parts: vec![vec![(x, plot.y), (x, foot)]],
                ink: Ink::Axis,
                width: 1.0,
                dash: Dash::Dots,
            });
        }
        for tick in scale::time_ticks(self.time.end) {
            let x = self.time.x(tick);
            self.scene
                .tick(line(&[(x, foot), (x, foot + 4.0)], Ink::Axis, 1.0));
            let anchor = match x > WIDTH - RIGHT - 14.0 {
                true => Anchor::End,
                false => Anchor::Middle,
            };
            let words = Words::SMALL.anchored(anchor);
            let label = words.at((x, foot + 15.0), scale::time_label(tick));
            self.scene.tick(label);
        }
    }
}

/// An unbroken line.
#[must_use]
pub fn line(points: &[super::scene::Point], ink: Ink, width: f64) -> Shape {
    Shape::Path {
        parts: vec![points.to_vec()],
        ink,
        width,
        dash: Dash::Solid,
    }
}

const SAMPLE: f64 = 20.0;
const BETWEEN: f64 = 16.0;

fn legend_width(legend: &[Key]) -> f64 {
    let keys = legend.iter();
    keys.map(|key| SAMPLE + 5.0 + Words::SMALL.width(&key.word) + BETWEEN)
        .sum::<f64>()
        - BETWEEN
}

/// Draws a legend, in several lines if need be; the baseline of the last one.
fn draw_legend(scene: &mut Scene, legend: &[Key], from: (f64, f64)) -> f64 {
    let (mut x, mut y) = from;
    for key in legend {
        let width = SAMPLE + 5.0 + Words::SMALL.width(&key.word);
        if x + width > WIDTH - RIGHT + 1.0 && x > from.0 {
            x = from.0;
            y += 16.0;
        }
        let middle = y - 3.5;
        match key.sample {
            Sample::Line(ink, dash) => scene.fixed(Shape::Path {
                parts: vec![vec![(x, middle), (x + SAMPLE, middle)]],
                ink,
                width: 2.0,
                dash,
            }),
            Sample::Mark(ink, mark) => scene.fixed(Shape::Marks {
                points: vec![(x + SAMPLE / 2.0, middle)],
                mark,
                ink,
                radius: 3.6,
            }),
            Sample::Surface(fill) => {
                let frame = Frame {
                    x,
                    y: middle - 5.0,
                    w: SAMPLE,
                    h: 10.0,
                };
                scene.fixed(Shape::Rect(frame, fill));
            }
        }
        let words = Words::SMALL.inked(Ink::Text);
        scene.words((x + SAMPLE + 5.0, y), key.word.clone(), words);
        x += width + BETWEEN;
    }
    y
}

/// `from 12.30 s to 14.10 s`
#[must_use]
pub fn span(from: i64, until: i64) -> String {
    format!("from {} to {}", moment(from), moment(until))
}
