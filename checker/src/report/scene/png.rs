//! A picture as PNG. Drawn twice as large as it is written and averaged down, which gives smooth
//! edges whatever the rasteriser does with them.

use std::path::Path;

use plotters::backend::{BitMapBackend, DrawingBackend, RGBPixel};
use plotters::style::{Color, RGBAColor, ShapeStyle};

use super::{Anchor, Dash, Fill, Frame, Hatch, Ink, Mark, Point, Scene, Shape, Theme, font};

/// Pixels of the file per CSS pixel.
const SCALE: f64 = 1.5;
/// Pixels drawn per pixel written, along each axis.
const OVERSAMPLE: u32 = 2;
/// Pixels drawn per CSS pixel.
const ZOOM: f64 = SCALE * OVERSAMPLE as f64;

type Buffer<'a> = BitMapBackend<'a, RGBPixel>;
type BackendCoord = (i32, i32);

/// Paints the picture in the colours of a theme and writes it.
///
/// # Errors
/// When the file cannot be written.
pub fn write(scene: &Scene, theme: Theme, path: &Path) -> std::io::Result<()> {
    let size = (
        (scene.size.0 * SCALE).ceil().max(1.0) as u32,
        (scene.size.1 * SCALE).ceil().max(1.0) as u32,
    );
    let small = paint(scene, theme, size);
    let mut file = BitMapBackend::new(path, size);
    file.blit_bitmap((0, 0), size, &small)
        .and_then(|()| file.present())
        .map_err(|error| std::io::Error::other(error.to_string()))
}

/// The picture's pixels, three bytes each.
fn paint(scene: &Scene, theme: Theme, size: (u32, u32)) -> Vec<u8> {
    let large = (size.0 * OVERSAMPLE, size.1 * OVERSAMPLE);
    let (r, g, b) = Ink::Ground.rgb(theme);
    let mut pixels: Vec<u8> = [r, g, b].repeat(large.0 as usize * large.1 as usize);
    {
        let mut canvas = Canvas {
            backend: Buffer::with_buffer(&mut pixels, large),
            theme,
        };
        for item in &scene.items {
            canvas.shape(&item.shape);
        }
    }
    average(&pixels, size)
}

fn average(large: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let n = OVERSAMPLE as usize;
    let (width, height) = (width as usize, height as usize);
    let stride = width * n * 3;
    let mut small = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        let rows: [&[u8]; OVERSAMPLE as usize] =
            std::array::from_fn(|row| &large[(y * n + row) * stride..][..stride]);
        for x in 0..width {
            for channel in 0..3 {
                let mut sum = 0u32;
                for row in rows {
                    for column in 0..n {
                        sum += u32::from(row[(x * n + column) * 3 + channel]);
                    }
                }
                small.push((sum / (n * n) as u32) as u8);
            }
        }
    }
    small
}

struct Canvas<'a> {
    backend: Buffer<'a>,
    theme: Theme,
}

/// Drawing into memory has no way to fail; the backend's signature allows for files.
fn drawn<E>(_: Result<(), E>) {}

fn pixel((x, y): Point) -> BackendCoord {
    ((x * ZOOM).round() as i32, (y * ZOOM).round() as i32)
}

impl Canvas<'_> {
    fn colour(&self, ink: Ink, alpha: f64) -> RGBAColor {
        let (r, g, b) = ink.rgb(self.theme);
        RGBAColor(r, g, b, alpha)
    }

    fn shape(&mut self, shape: &Shape) {
        match shape {
            Shape::Rect(frame, fill) => self.rect(frame, fill),
            Shape::Area { parts, fill } => self.area(parts, fill),
            Shape::Path {
                parts,
                ink,
                width,
                dash,
            } => {
                let colour = self.colour(*ink, 1.0);
                for part in parts {
                    self.line(part, colour, *width, *dash);
                }
            }
            Shape::Marks {
                points,
                mark,
                ink,
                radius,
            } => {
                let colour = self.colour(*ink, 1.0);
                for point in points {
                    self.mark(*point, *mark, colour, *radius);
                }
            }
            Shape::Text {
                at,
                text,
                ink,
                size,
                bold,
                anchor,
                halo,
            } => {
                let width = font::width(text, *size, *bold);
                let x = match anchor {
                    Anchor::Start => at.0,
                    Anchor::Middle => at.0 - width / 2.0,
                    Anchor::End => at.0 - width,
                };
                if *halo {
                    let patch = Frame {
                        x: x - 2.5,
                        y: at.1 - size * 0.92,
                        w: width + 5.0,
                        h: size * 1.2,
                    };
                    self.rect(&patch, &Fill::plain(Ink::Ground, 0.78));
                }
                self.text((x, at.1), text, *ink, (*size, *bold));
            }
        }
    }

    fn rect(&mut self, frame: &Frame, fill: &Fill) {
        let (from, to) = (
            pixel((frame.x, frame.y)),
            pixel((frame.right(), frame.bottom())),
        );
        if fill.alpha > 0.0 && to.0 > from.0 && to.1 > from.1 {
            let colour = self.colour(fill.ink, fill.alpha);
            let corner = (to.0 - 1, to.1 - 1);
            drawn(self.backend.draw_rect(from, corner, &colour, true));
        }
        if let Some(hatch) = fill.hatch {
            for (a, b) in hatch_lines(frame, hatch) {
                let colour = self.colour(hatch.ink(), 0.42);
                self.line(&[a, b], colour, 0.8, Dash::Solid);
            }
        }
    }

    fn area(&mut self, parts: &[Vec<Point>], fill: &Fill) {
        let colour = self.colour(fill.ink, fill.alpha);
        for part in parts {
            let corners: Vec<BackendCoord> = part.iter().copied().map(pixel).collect();
            drawn(self.backend.fill_polygon(corners, &colour));
        }
    }

    fn line(&mut self, points: &[Point], colour: RGBAColor, width: f64, dash: Dash) {
        let style = ShapeStyle {
            color: colour,
            filled: false,
            stroke_width: (width * ZOOM).round().max(1.0) as u32,
        };
        match dash.lengths() {
            None => {
                let mut path: Vec<BackendCoord> = points.iter().copied().map(pixel).collect();
                path.dedup();
                if path.len() > 1 {
                    drawn(self.backend.draw_path(path, &style));
                }
            }
            Some(lengths) => {
                for (a, b) in dashes(points, lengths) {
                    drawn(self.backend.draw_path([pixel(a), pixel(b)], &style));
                }
            }
        }
    }

    fn mark(&mut self, (x, y): Point, mark: Mark, colour: RGBAColor, r: f64) {
        match mark {
            Mark::Dot => {
                let radius = (r * ZOOM).round().max(1.0) as u32;
                let fill = colour.filled();
                drawn(self.backend.draw_circle(pixel((x, y)), radius, &fill, true));
            }
            Mark::Square => {
                let (from, to) = (pixel((x - r, y - r)), pixel((x + r, y + r)));
                drawn(self.backend.draw_rect(from, to, &colour, true));
            }
            Mark::Cross => {
                self.line(&[(x - r, y - r), (x + r, y + r)], colour, 1.6, Dash::Solid);
                self.line(&[(x - r, y + r), (x + r, y - r)], colour, 1.6, Dash::Solid);
            }
            Mark::Triangle => {
                let (top, side, foot) = (y - 1.2 * r, 1.1 * r, y + 0.8 * r);
                let corners = [(x, top), (x + side, foot), (x - side, foot), (x, top)];
                self.line(&corners, colour, 1.4, Dash::Solid);
            }
            Mark::Diamond => {
                let d = 1.3 * r;
                let corners = [(x, y - d), (x + d, y), (x, y + d), (x - d, y)];
                drawn(self.backend.fill_polygon(corners.map(pixel), &colour));
            }
            Mark::Tick => self.line(&[(x, y - r), (x, y + r)], colour, 1.6, Dash::Solid),
        }
    }

    fn text(&mut self, (x, y): Point, text: &str, ink: Ink, (size, bold): (f64, bool)) {
        let (r, g, b) = ink.rgb(self.theme);
        let backend = &mut self.backend;
        let origin = (x * ZOOM, y * ZOOM);
        font::draw(text, size * ZOOM, bold, origin, |x, y, cover| {
            let colour = RGBAColor(r, g, b, f64::from(cover.min(1.0)));
            drawn(backend.draw_pixel((x, y), colour.to_backend_color()));
        });
    }
}

/// The lines of a hatch within a frame. Their phase depends on the page, not on the frame, so
/// that neighbouring frames continue each other's lines.
fn hatch_lines(frame: &Frame, hatch: Hatch) -> Vec<(Point, Point)> {
    let step = Hatch::STEP;
    let [rising, falling, upright, level] = hatch.lines();
    let mut lines = Vec::new();
    let (left, right, top, bottom) = (frame.x, frame.right(), frame.y, frame.bottom());
    let multiples = |from: f64, to: f64| {
        let (first, last) = ((from / step).ceil() as i64, (to / step).floor() as i64);
        (first..=last).map(move |n| n as f64 * step)
    };
    if rising {
        for sum in multiples(left + top, right + bottom) {
            let (x0, x1) = ((sum - bottom).max(left), (sum - top).min(right));
            lines.push(((x0, sum - x0), (x1, sum - x1)));
        }
    }
    if falling {
        for difference in multiples(left - bottom, right - top) {
            let (x0, x1) = (
                (difference + top).max(left),
                (difference + bottom).min(right),
            );
            lines.push(((x0, x0 - difference), (x1, x1 - difference)));
        }
    }
    if upright {
        lines.extend(multiples(left, right).map(|x| ((x, top), (x, bottom))));
    }
    if level {
        lines.extend(multiples(top, bottom).map(|y| ((left, y), (right, y))));
    }
    lines
}

/// The visible pieces of a broken line.
fn dashes(points: &[Point], (line, gap): (f64, f64)) -> Vec<(Point, Point)> {
    let mut pieces = Vec::new();
    let mut travelled = 0.0;
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let length = (x1 - x0).hypot(y1 - y0);
        if length == 0.0 {
            continue;
        }
        let along = |d: f64| (x0 + (x1 - x0) * d / length, y0 + (y1 - y0) * d / length);
        let mut done = 0.0;
        while done < length {
            let phase = (travelled + done) % (line + gap);
            let visible = phase < line;
            let rest = if visible { line } else { line + gap } - phase;
            let next = (done + rest.max(1e-6)).min(length);
            if visible {
                pieces.push((along(done), along(next)));
            }
            done = next;
        }
        travelled += length;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::scene::ink::FaultInk;

    #[test]
    fn hatches_stay_within_their_frame_and_are_never_empty() {
        let frame = Frame {
            x: 3.0,
            y: 5.0,
            w: 40.0,
            h: 20.0,
        };
        for ink in FaultInk::ALL {
            let lines = hatch_lines(&frame, ink.hatch());
            assert!(!lines.is_empty(), "{ink:?}");
            for (x, y) in lines.into_iter().flat_map(|(a, b)| [a, b]) {
                assert!((2.99..=43.01).contains(&x), "{ink:?} x {x}");
                assert!((4.99..=25.01).contains(&y), "{ink:?} y {y}");
            }
        }
    }

    #[test]
    fn dashes_cover_their_share_of_a_line() {
        let pieces = dashes(&[(0.0, 0.0), (50.0, 0.0), (50.0, 50.0)], (4.0, 4.0));
        let length: f64 = pieces
            .iter()
            .map(|((x0, y0), (x1, y1))| (x1 - x0).hypot(y1 - y0))
            .sum();
        assert!((length - 52.0).abs() < 4.0, "{length}");
    }
}
