//! A picture, described once: rectangles, paths, marks and words in roles instead of colours.
//!
//! [`svg`] writes it for the page, where style sheets choose the colours of the theme; [`png`]
//! paints it with the colours of one theme. Both draw the same items in the same order, so what
//! a README shows is what the page shows.
//!
//! Invariants: coordinates are finite (builders clamp to the picture); the y axis points down;
//! sizes are in CSS pixels.

pub mod font;
pub mod ink;
pub mod png;
pub mod svg;

pub use ink::{Hatch, Ink, Theme};

/// A point, in CSS pixels from the top left corner.
pub type Point = (f64, f64);

/// An upright rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Frame {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
}

impl Frame {
    /// Right edge.
    #[must_use]
    pub fn right(&self) -> f64 {
        self.x + self.w
    }

    /// Bottom edge.
    #[must_use]
    pub fn bottom(&self) -> f64 {
        self.y + self.h
    }
}

/// How a surface is filled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// Role of the colour.
    pub ink: Ink,
    /// Opacity of the colour, 0 to 1.
    pub alpha: f64,
    /// Lines over the colour, so that it is told apart without it.
    pub hatch: Option<Hatch>,
}

impl Fill {
    /// A plain fill.
    #[must_use]
    pub fn plain(ink: Ink, alpha: f64) -> Fill {
        Fill {
            ink,
            alpha,
            hatch: None,
        }
    }
}

/// How a line is broken, so that lines are told apart without colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dash {
    /// Not at all.
    Solid,
    /// Long dashes.
    Long,
    /// Short dashes.
    Short,
    /// Dots.
    Dots,
}

impl Dash {
    /// Lengths of line and gap, in CSS pixels; none for a solid line.
    #[must_use]
    pub fn lengths(self) -> Option<(f64, f64)> {
        match self {
            Dash::Solid => None,
            Dash::Long => Some((7.0, 3.0)),
            Dash::Short => Some((4.0, 2.5)),
            Dash::Dots => Some((1.5, 2.5)),
        }
    }
}

/// The shape of a mark; shapes carry meaning, colours only repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Filled circle.
    Dot,
    /// Two crossed lines.
    Cross,
    /// Triangle that points up, as an outline.
    Triangle,
    /// Filled square on its corner.
    Diamond,
    /// Filled square.
    Square,
    /// Upright stroke.
    Tick,
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Begins there.
    Start,
    /// Is centred there.
    Middle,
    /// Ends there.
    End,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A filled rectangle.
    Rect(Frame, Fill),
    /// Lines through points; each part is one unbroken line.
    Path {
        /// The parts.
        parts: Vec<Vec<Point>>,
        /// Role of the colour.
        ink: Ink,
        /// Line width.
        width: f64,
        /// How the line is broken.
        dash: Dash,
    },
    /// Closed surfaces.
    Area {
        /// Corners of each surface.
        parts: Vec<Vec<Point>>,
        /// Fill.
        fill: Fill,
    },
    /// The same mark at many points.
    Marks {
        /// Where.
        points: Vec<Point>,
        /// Shape.
        mark: Mark,
        /// Role of the colour.
        ink: Ink,
        /// Half of the mark's width.
        radius: f64,
    },
    /// Words on one line.
    Text {
        /// Point on the baseline.
        at: Point,
        /// The words.
        text: String,
        /// Role of the colour.
        ink: Ink,
        /// Size of the em square.
        size: f64,
        /// Whether bold.
        bold: bool,
        /// Where the words stand relative to the point.
        anchor: Anchor,
        /// Whether the ground shows around them, so that lines behind do not cross them out.
        halo: bool,
    },
}

/// What an item does when a reader zooms into a part of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Fixed,
    /// Its x coordinates are times: it is clipped to the plot, and moves.
    Timed,
    /// It belongs to the ticks of the time axis, which are drawn anew.
    Ticks,
}

/// One thing drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What is drawn.
    pub shape: Shape,
    /// Whether it moves with the time.
    pub place: Place,
    /// Text that appears when a reader points at it.
    pub note: Option<String>,
    /// Group for highlighting: the number of the fault it belongs to.
    pub fault: Option<usize>,
}

/// One picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    /// Width and height.
    pub size: (f64, f64),
    /// The part whose x axis is time.
    pub plot: Frame,
    /// Items, back to front.
    pub items: Vec<Item>,
    /// What the picture shows, in one sentence, for those who cannot see it.
    pub summary: String,
}

impl Scene {
    /// Adds a shape that stays where it is.
    pub fn fixed(&mut self, shape: Shape) {
        self.push(shape, Place::Fixed);
    }

    /// Adds a shape whose x coordinates are times.
    pub fn timed(&mut self, shape: Shape) {
        self.push(shape, Place::Timed);
    }

    /// Adds a part of the time axis.
    pub fn tick(&mut self, shape: Shape) {
        self.push(shape, Place::Ticks);
    }

    fn push(&mut self, shape: Shape, place: Place) {
        self.items.push(Item {
            shape,
            place,
            note: None,
            fault: None,
        });
    }

    /// Adds a shape whose x coordinates are times, with words for who points at it.
    pub fn noted(&mut self, shape: Shape, note: String, fault: Option<usize>) {
        self.items.push(Item {
            shape,
            place: Place::Timed,
            note: Some(note),
            fault,
        });
    }

    /// Adds a shape whose x coordinates are times, as part of a fault.
    pub fn banded(&mut self, shape: Shape, fault: usize) {
        self.items.push(Item {
            shape,
            place: Place::Timed,
            note: None,
            fault: Some(fault),
        });
    }

    /// Adds words that stay where they are.
    pub fn words(&mut self, at: Point, text: impl Into<String>, style: Words) {
        self.fixed(style.at(at, text));
    }

    /// Puts another picture below what is there; only its items move.
    pub fn stack(&mut self, below: &Scene) {
        let shift = self.size.1;
        for item in &below.items {
            let mut item = item.clone();
            item.shape.shift_down(shift);
            self.items.push(item);
        }
        self.size = (self.size.0.max(below.size.0), shift + below.size.1);
    }
}

impl Shape {
    fn shift_down(&mut self, by: f64) {
        let points: Vec<&mut Point> = match self {
            Shape::Rect(frame, _) => {
                frame.y += by;
                return;
            }
            Shape::Path { parts, .. } | Shape::Area { parts, .. } => {
                parts.iter_mut().flatten().collect()
            }
            Shape::Marks { points, .. } => points.iter_mut().collect(),
            Shape::Text { at, .. } => vec![at],
        };
        for point in points {
            point.1 += by;
        }
    }
}

/// How words look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Words {
    /// Role of the colour.
    pub ink: Ink,
    /// Size of the em square.
    pub size: f64,
    /// Whether bold.
    pub bold: bool,
    /// Where the words stand relative to their point.
    pub anchor: Anchor,
    /// Whether the ground shows around them.
    pub halo: bool,
}

impl Words {
    /// Labels of axes and bands.
    pub const SMALL: Words = Words {
        ink: Ink::Muted,
        size: 10.5,
        bold: false,
        anchor: Anchor::Start,
        halo: false,
    };
    /// Titles of pictures.
    pub const TITLE: Words = Words {
        ink: Ink::Text,
        size: 13.0,
        bold: true,
        anchor: Anchor::Start,
        halo: false,
    };

    /// The same, placed differently.
    #[must_use]
    pub fn anchored(self, anchor: Anchor) -> Words {
        Words { anchor, ..self }
    }

    /// The same in another colour.
    #[must_use]
    pub fn inked(self, ink: Ink) -> Words {
        Words { ink, ..self }
    }

    /// The same in another size.
    #[must_use]
    pub fn sized(self, size: f64) -> Words {
        Words { size, ..self }
    }

    /// The same on a patch of the ground.
    #[must_use]
    pub fn haloed(self) -> Words {
        Words { halo: true, ..self }
    }

    /// The same in bold.
    #[must_use]
    pub fn bold(self) -> Words {
        Words { bold: true, ..self }
    }

    /// The words at a point of the baseline.
    #[must_use]
    pub fn at(self, at: Point, text: impl Into<String>) -> Shape {
        Shape::Text {
            at,
            text: text.into(),
            ink: self.ink,
            size: self.size,
            bold: self.bold,
            anchor: self.anchor,
            halo: self.halo,
        }
    }

    /// Width of the words, by the widest of the fonts that will draw them.
    #[must_use]
    pub fn width(self, text: &str) -> f64 {
        font::width(text, self.size, self.bold)
    }
}
