//! A table as a picture: a row for each operation, in the order of time; words in cells.
//!
//! Columns and heads are as wide as their words need, within bounds, so that nothing is cut off
//! that a person has to read; what is longer still ends in dots.

use std::collections::BTreeMap;

use super::cycle::{ground, outline};
use crate::report::scene::{Anchor, Fill, Frame, Ink, Scene, Shape, Words, font};

const MARGIN: f64 = 24.0;
const ROW: f64 = 24.0;
const TOP: f64 = 96.0;
/// Widths of a column, and of the heads of rows.
const COLUMN: (f64, f64) = (58.0, 150.0);
const HEAD: (f64, f64) = (150.0, 460.0);
const WIDTH_MIN: f64 = 640.0;

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    /// What stands above it.
    pub label: String,
    /// It is what the finding is about.
    pub asked: bool,
}

/// One cell.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Its words.
    pub text: String,
    /// Role of its colour.
    pub ink: Ink,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who, and what it did.
    pub head: String,
    /// The finding names it.
    pub named: bool,
    /// How it ended; nothing for rows that are no operation.
    pub outcome: Option<Ink>,
    /// Columns that the row as a whole covers, from and to (exclusive).
    pub span: Option<(usize, usize)>,
    /// By column.
    pub cells: BTreeMap<usize, Cell>,
}

/// The whole.
#[derive(Clone, Debug)]
pub struct Table {
    /// Above it.
    pub title: String,
    /// What the words in the cells mean.
    pub hint: String,
    /// For those who cannot see it.
    pub summary: String,
    /// Columns, from the left.
    pub columns: Vec<Column>,
    /// Rows, from the top.
    pub rows: Vec<Row>,
    /// What the colours mean.
    pub legend: Vec<(Ink, &'static str)>,
}

const TITLE: Words = Words {
    size: 16.0,
    ..Words::TITLE
};
const HINT: Words = Words {
    size: 11.5,
    ..Words::SMALL
};
const ROW_HEAD: Words = Words {
    ink: Ink::Text,
    size: 11.5,
    ..Words::SMALL
};

impl Table {
    /// Draws it.
    #[must_use]
    pub fn draw(&self) -> Scene {
        let heads = self.rows.iter().map(|row| self.head(row).width(&row.head));
        let head = heads.fold(HEAD.0, f64::max).min(HEAD.1);
        let left = MARGIN + head + 18.0;
        let label = |column: &Column| Words::SMALL.bold().width(&column.label);
        let labels = self.columns.iter().map(label);
        let cells = self.rows.iter().flat_map(|row| row.cells.values());
        let cells = cells.map(|cell| Words::SMALL.width(&cell.text));
        let column = labels.chain(cells).fold(COLUMN.0 - 12.0, f64::max) + 12.0;
        let column = column.min(COLUMN.1);
        let table = left + self.columns.len() as f64 * column + MARGIN;
        let title = MARGIN * 2.0 + TITLE.width(&self.title).max(HINT.width(&self.hint));
        let width = table.max(title).max(WIDTH_MIN);
        let bottom = TOP + self.rows.len().max(1) as f64 * ROW;
        let mut scene = Scene {
            size: (width, 0.0),
            summary: self.summary.clone(),
            ..Scene::default()
        };
        let mut content = Scene::default();
        content.words((MARGIN, 34.0), self.title.as_str(), TITLE);
        content.words((MARGIN, 54.0), self.hint.as_str(), HINT);
        self.draw_columns(&mut content, left, column);
        for (at, row) in self.rows.iter().enumerate() {
            let y = TOP + at as f64 * ROW;
            self.draw_row(&mut content, row, (left, y), head, column);
        }
        let end = legend(&mut content, &self.legend, width, bottom + 30.0);
        scene.size.1 = end + 20.0;
        ground(&mut scene);
        scene.items.extend(content.items);
        scene
    }

    fn head(&self, row: &Row) -> Words {
        match row.named {
            true => ROW_HEAD.bold(),
            false => ROW_HEAD,
        }
    }

    fn draw_columns(&self, scene: &mut Scene, left: f64, width: f64) {
        for (at, column) in self.columns.iter().enumerate() {
            let x = left + at as f64 * width;
            let mut words = Words::SMALL.anchored(Anchor::Middle);
            if column.asked {
                let frame = Frame {
                    x,
                    y: TOP,
                    w: width,
                    h: self.rows.len() as f64 * ROW,
                };
                scene.fixed(Shape::Rect(frame, Fill::plain(Ink::Alarm, 0.08)));
                words = words.inked(Ink::Alarm).bold();
            }
            let label = font::fit(&column.label, words.size, words.bold, width - 4.0);
            scene.words((x + width / 2.0, TOP - 8.0), label, words);
        }
        scene.words((MARGIN, TOP - 8.0), "operation", Words::SMALL);
    }

    fn draw_row(&self, scene: &mut Scene, row: &Row, at: (f64, f64), head: f64, column: f64) {
        let (left, y) = at;
        let words = self.head(row);
        let text = font::fit(&row.head, words.size, words.bold, head);
        scene.words((MARGIN, y + 16.0), text, words);
        if let Some(ink) = row.outcome {
            let bar = Frame {
                x: left - 10.0,
                y: y + 3.0,
                w: 4.0,
                h: ROW - 6.0,
            };
            scene.fixed(Shape::Rect(bar, Fill::plain(ink, 1.0)));
        }
        if let Some((from, to)) = row.span.filter(|(from, to)| from < to) {
            let band = Frame {
                x: left + from as f64 * column + 1.0,
                y: y + 7.0,
                w: (to - from) as f64 * column - 2.0,
                h: ROW - 14.0,
            };
            scene.fixed(Shape::Rect(band, Fill::plain(Ink::Muted, 0.22)));
        }
        for (&at, cell) in &row.cells {
            let frame = Frame {
                x: left + at as f64 * column + 2.0,
                y: y + 2.0,
                w: column - 4.0,
                h: ROW - 4.0,
            };
            scene.fixed(Shape::Rect(frame, Fill::plain(Ink::Ground, 1.0)));
            scene.fixed(Shape::Rect(frame, Fill::plain(cell.ink, 0.16)));
            scene.fixed(outline(&frame, cell.ink));
            let words = Words::SMALL.inked(Ink::Text).anchored(Anchor::Middle);
            let text = font::fit(&cell.text, words.size, false, column - 6.0);
            scene.words((frame.x + frame.w / 2.0, y + 16.0), text, words);
        }
    }
}

/// The colours and their meaning, in as many lines as it takes; returns the last line's place.
fn legend(scene: &mut Scene, entries: &[(Ink, &'static str)], width: f64, top: f64) -> f64 {
    let (mut x, mut y) = (MARGIN, top);
    for &(ink, word) in entries {
        let room = 34.0 + Words::SMALL.width(word);
        if x + room > width && x > MARGIN {
            (x, y) = (MARGIN, y + 18.0);
        }
        let frame = Frame {
            x,
            y: y - 9.0,
            w: 11.0,
            h: 11.0,
        };
        scene.fixed(Shape::Rect(frame, Fill::plain(ink, 0.9)));
        scene.words((x + 16.0, y), word, Words::SMALL);
        x += room;
    }
    y
}
