//! A picture as SVG inside a page. Colours are classes, so that the page's theme chooses them;
//! there is not one `style` attribute, because the page's policy forbids them.
//!
//! Data coordinates are absolute path commands and shapes of marks relative ones: a script can
//! stretch the time axis by rewriting the absolute x coordinates and nothing else.

use std::fmt::Write as _;

use super::ink::{FaultInk, Hatch};
use super::{Anchor, Fill, Frame, Item, Mark, Place, Point, Scene, Shape, Theme, ink};
use crate::report::text::escape;

/// Writes the picture. `id` must be unique within the page: the clip path is named after it.
#[must_use]
pub fn draw(scene: &Scene, id: &str) -> String {
    let (width, height) = scene.size;
    let mut out = String::with_capacity(16 * 1024);
    let _ = write!(
        out,
        "<svg id=\"{id}\" viewBox=\"0 0 {} {}\" width=\"{}\" height=\"{}\" role=\"img\" \
         aria-label=\"{}\"><clipPath id=\"{id}-clip\">{}</clipPath>",
        Short(width),
        Short(height),
        Short(width),
        Short(height),
        escape(&scene.summary),
        plain_rect(&scene.plot),
    );
    let mut place = Place::Fixed;
    for item in &scene.items {
        if item.place != place {
            if place != Place::Fixed {
                out.push_str("</g>");
            }
            let _ = match item.place {
                Place::Fixed => Ok(()),
                Place::Timed => write!(out, "<g class=\"t\" clip-path=\"url(#{id}-clip)\">"),
                Place::Ticks => write!(out, "<g class=\"x\">"),
            };
            place = item.place;
        }
        draw_item(&mut out, item);
    }
    if place != Place::Fixed {
        out.push_str("</g>");
    }
    out.push_str("</svg>");
    out
}

/// The picture as a file of its own, in the colours of a theme.
#[must_use]
pub fn document(scene: &Scene, theme: Theme) -> String {
    let drawn = draw(scene, "picture");
    let style = format!(
        "<style>svg{{{}font-family:'DejaVu Sans',sans-serif}}{}\
         .halo{{paint-order:stroke;stroke:var(--ground);stroke-width:3px}}</style>",
        ink::variables(theme),
        ink::classes()
    );
    let body = drawn.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1);
    body.replacen('>', &format!(">{style}"), 1) + "\n"
}

/// The patterns that hatches refer to; once per page.
#[must_use]
pub fn patterns() -> String {
    let mut out = String::from(
        "<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\" focusable=\"false\"><defs>",
    );
    for ink in FaultInk::ALL {
        let hatch = ink.hatch();
        let step = Hatch::STEP;
        let (half, over) = (step / 2.0, step + 1.0);
        let [rising, falling, upright, level] = hatch.lines();
        let mut lines = String::new();
        if rising {
            let _ = write!(
                lines,
                "M-1 1L1-1M0 {step}L{step} 0M{half} {over}L{over} {half}"
            );
            let _ = write!(lines, "M{} {over}L{over} {}", step - 1.0, step - 1.0);
        }
        if falling {
            let _ = write!(lines, "M-1 {}L1 {over}M0 0L{step} {step}", step - 1.0);
            let _ = write!(lines, "M{}-1L{over} 1", step - 1.0);
        }
        if upright {
            let _ = write!(lines, "M{half} 0V{step}");
        }
        if level {
            let _ = write!(lines, "M0 {half}H{step}");
        }
        let _ = write!(
            out,
            "<pattern id=\"h-{0}\" width=\"{step}\" height=\"{step}\" \
             patternUnits=\"userSpaceOnUse\"><path class=\"l-{0}\" d=\"{lines}\"/></pattern>",
            hatch.ink().name(),
        );
    }
    out.push_str("</defs></svg>");
    out
}

fn draw_item(out: &mut String, item: &Item) {
    let group = item.note.is_some() || item.fault.is_some();
    if group {
        match item.fault {
            Some(fault) => {
                let _ = write!(out, "<g data-fault=\"{fault}\">");
            }
            None => out.push_str("<g>"),
        }
        if let Some(note) = &item.note {
            let _ = write!(out, "<title>{}</title>", escape(note));
        }
    }
    draw_shape(out, &item.shape);
    if group {
        out.push_str("</g>");
    }
}

fn draw_shape(out: &mut String, shape: &Shape) {
    match shape {
        Shape::Rect(frame, fill) => {
            let corners = [
                (frame.x, frame.y),
                (frame.right(), frame.y),
                (frame.right(), frame.bottom()),
                (frame.x, frame.bottom()),
            ];
            surface(out, &[corners.to_vec()], fill);
        }
        Shape::Area { parts, fill } => surface(out, parts, fill),
        Shape::Path {
            parts,
            ink,
            width,
            dash,
        } => {
            let _ = write!(out, "<path class=\"l-{}\"", ink.name());
            if let Some((line, gap)) = dash.lengths() {
                let _ = write!(out, " stroke-dasharray=\"{line} {gap}\"");
            }
            let _ = write!(
                out,
                " stroke-width=\"{}\" stroke-linejoin=\"round\" d=\"",
                Short(*width)
            );
            for part in parts {
                polyline(out, part);
            }
            out.push_str("\"/>");
        }
        Shape::Marks {
            points,
            mark,
            ink,
            radius,
        } => marks(out, points, *mark, ink.name(), *radius),
        Shape::Text {
            at,
            text,
            ink,
            size,
            bold,
            anchor,
            halo,
        } => {
            let _ = write!(
                out,
                "<text class=\"f-{}{}\" x=\"{}\" y=\"{}\" font-size=\"{}\"{}{}>{}</text>",
                ink.name(),
                if *halo { " halo" } else { "" },
                Short(at.0),
                Short(at.1),
                Short(*size),
                if *bold { " font-weight=\"700\"" } else { "" },
                match anchor {
                    Anchor::Start => "",
                    Anchor::Middle => " text-anchor=\"middle\"",
                    Anchor::End => " text-anchor=\"end\"",
                },
                escape(text)
            );
        }
    }
}

fn surface(out: &mut String, parts: &[Vec<Point>], fill: &Fill) {
    let mut path = String::new();
    for part in parts {
        polyline(&mut path, part);
        path.push('z');
    }
    if fill.alpha > 0.0 {
        let _ = write!(out, "<path class=\"f-{}\"", fill.ink.name());
        if fill.alpha < 1.0 {
            let _ = write!(out, " fill-opacity=\"{}\"", Short2(fill.alpha));
        }
        let _ = write!(out, " d=\"{path}\"/>");
    }
    if let Some(hatch) = fill.hatch {
        let name = hatch.ink().name();
        let _ = write!(
            out,
            "<path class=\"hatch\" fill=\"url(#h-{name})\" d=\"{path}\"/>"
        );
    }
}

fn marks(out: &mut String, points: &[Point], mark: Mark, ink: &str, radius: f64) {
    let r = radius;
    let (shape, attributes) = match mark {
        Mark::Dot => (
            "h0".to_owned(),
            format!(
                " stroke-linecap=\"round\" stroke-width=\"{}\"",
                Short(2.0 * r)
            ),
        ),
        Mark::Square => (
            format!("m{} 0h{}", Short(-r), Short(2.0 * r)),
            format!(" stroke-width=\"{}\"", Short(2.0 * r)),
        ),
        Mark::Cross => (
            format!(
                "m{0} {0}l{1} {1}m{2} 0l{1} {2}",
                Short(-r),
                Short(2.0 * r),
                Short(-2.0 * r)
            ),
            " stroke-width=\"1.6\"".to_owned(),
        ),
        Mark::Triangle => (
            format!(
                "m0 {0}l{1} {2}h{3}z",
                Short(-1.2 * r),
                Short(1.1 * r),
                Short(2.0 * r),
                Short(-2.2 * r)
            ),
            " stroke-width=\"1.4\"".to_owned(),
        ),
        Mark::Diamond => (
            format!(
                "m0 {0}l{1} {1}l{0} {1}l{0} {0}z",
                Short(-1.3 * r),
                Short(1.3 * r)
            ),
            String::new(),
        ),
        Mark::Tick => (
            format!("m0 {}v{}", Short(-r), Short(2.0 * r)),
            " stroke-width=\"1.6\"".to_owned(),
        ),
    };
    let class = if mark == Mark::Diamond { "f" } else { "l" };
    let _ = write!(out, "<path class=\"{class}-{ink}\"{attributes} d=\"");
    for (x, y) in points {
        let _ = write!(out, "M{} {}{shape}", Short(*x), Short(*y));
    }
    out.push_str("\"/>");
}

fn polyline(out: &mut String, points: &[Point]) {
    for (at, (x, y)) in points.iter().enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        let _ = write!(out, "{command}{} {}", Short(*x), Short(*y));
    }
}

fn plain_rect(frame: &Frame) -> String {
    format!(
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
        Short(frame.x),
        Short(frame.y),
        Short(frame.w),
        Short(frame.h)
    )
}

/// A number with one decimal, without a needless `.0`.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = (self.0 * 10.0).round() as i64;
        if tenths % 10 == 0 {
            write!(f, "{}", tenths / 10)
        } else {
            let sign = if tenths < 0 { "-" } else { "" };
            write!(f, "{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
        }
    }
}

/// A number with two decimals.
struct Short2(f64);

impl std::fmt::Display for Short2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::scene::{Ink, Words};

    #[test]
    fn numbers_are_short_and_keep_their_sign() {
        let all = [-0.25, -3.0, 0.0, 12.04, 12.06].map(|x| Short(x).to_string());
        assert_eq!(all, ["-0.3", "-3", "0", "12", "12.1"]);
    }

    #[test]
    fn words_are_escaped_and_no_style_attribute_is_written() {
        let mut scene = Scene {
            summary: "\"><script>".to_owned(),
            ..Scene::default()
        };
        scene.words((1.0, 2.0), "<img src=x>", Words::SMALL);
        scene.noted(
            Shape::Rect(Frame::default(), Fill::plain(Ink::Ok, 0.5)),
            "</title><b>".to_owned(),
            Some(3),
        );
        let svg = draw(&scene, "a");
        assert!(!svg.contains("<img") && !svg.contains("<script") && !svg.contains("<b>"));
        assert!(!svg.contains("style="));
        assert!(svg.contains("data-fault=\"3\""));
    }
}
