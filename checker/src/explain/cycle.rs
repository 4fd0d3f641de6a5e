//! A cycle as a picture: operations on a circle, an arrow for each step, the steps below in words.

use serde_json::Value as Json;

use super::Step;
use super::operations::{Operations, function, outcome, process};
use super::steps::{numbers, short};
use crate::analysis::Kind;
use crate::report::data::faults::people;
use crate::report::scene::{Anchor, Dash, Fill, Frame, Ink, Point, Scene, Shape, Words, font};
use crate::report::text::clip;

const WIDTH: f64 = 1000.0;
const MARGIN: f64 = 28.0;
/// Size of an operation's box.
const BOX: (f64, f64) = (210.0, 48.0);
/// Operations drawn; a longer cycle is told in words.
const DRAWN: usize = 12;
const LINE: f64 = 17.0;

/// Draws the cycle.
pub fn picture(kind: Kind, operations: &Operations, detail: &Json, steps: &[Step]) -> Scene {
    let cycle = numbers(detail.get("cycle"));
    let nodes: Vec<i64> = cycle.iter().take(steps.len().min(DRAWN)).copied().collect();
    let radius = (nodes.len() as f64 * 46.0).clamp(105.0, 300.0);
    let wide = (radius * 1.5).min(WIDTH / 2.0 - BOX.0 / 2.0 - MARGIN - 50.0);
    let centre = (WIDTH / 2.0, 64.0 + BOX.1 + radius);
    let place = |at: usize| -> Point {
        // The first stands on top.
        let turn = std::f64::consts::TAU * at as f64 / nodes.len() as f64;
        let angle = turn - std::f64::consts::FRAC_PI_2;
        (
            centre.0 + wide * angle.cos(),
            centre.1 + radius * angle.sin(),
        )
    };
    let told = centre.1 + radius + BOX.1 + 22.0;
    let wrapped: Vec<Vec<String>> = steps.iter().map(|step| wrap(&step.says)).collect();
    let lines: usize = wrapped.iter().map(Vec::len).sum();
    let mut scene = Scene {
        size: (WIDTH, told + lines as f64 * LINE + MARGIN),
        summary: format!("{}: a cycle of {} operations", kind.name(), steps.len()),
        ..Scene::default()
    };
    ground(&mut scene);
    let title = format!("{}: orders that contradict each other", kind.name());
    scene.words((MARGIN, 34.0), title, Words::TITLE.sized(16.0));
    let labels = detail.get("steps").and_then(Json::as_array);
    for (at, _) in nodes.iter().enumerate() {
        let to = (at + 1) % nodes.len();
        let label = labels.and_then(|steps| steps.get(at));
        let bow = if nodes.len() == 2 { 70.0 } else { 24.0 };
        arrow(&mut scene, (place(at), place(to)), centre, bow, label);
    }
    for (at, &index) in nodes.iter().enumerate() {
        node(&mut scene, operations, index, at, place(at));
    }
    if steps.len() > nodes.len() {
        let more = format!("and {} operations more", steps.len() - nodes.len());
        scene.words(centre, more, Words::SMALL.anchored(Anchor::Middle));
    }
    let mut y = told;
    for line in wrapped.iter().flatten() {
        scene.words(
            (MARGIN, y),
            line.as_str(),
            Words::SMALL.inked(Ink::Text).sized(12.5),
        );
        y += LINE;
    }
    scene
}

/// The ground behind everything, so that a picture is the same on any page.
pub fn ground(scene: &mut Scene) {
    let all = Frame {
        x: 0.0,
        y: 0.0,
        w: scene.size.0,
        h: scene.size.1,
    };
    scene.plot = all;
    scene.fixed(Shape::Rect(all, Fill::plain(Ink::Ground, 1.0)));
}

fn node(scene: &mut Scene, operations: &Operations, index: i64, at: usize, (x, y): Point) {
    let frame = Frame {
        x: x - BOX.0 / 2.0,
        y: y - BOX.1 / 2.0,
        w: BOX.0,
        h: BOX.1,
    };
    scene.fixed(Shape::Rect(frame, Fill::plain(Ink::Ground, 1.0)));
    scene.fixed(Shape::Rect(frame, Fill::plain(Ink::Series(0), 0.12)));
    scene.fixed(outline(&frame, Ink::Series(0)));
    let who = match operations.op(index) {
        Some(op) => {
            let process = process(operations.history.process(op.process));
            format!("{process}, {}, {}", function(op), outcome(op))
        }
        None => String::new(),
    };
    let name = format!("{}: operation {index}", short(at));
    let middle = Words::TITLE.anchored(Anchor::Middle);
    scene.words((x, y - 4.0), name, middle);
    let small = Words::SMALL.anchored(Anchor::Middle);
    let who = font::fit(&who, small.size, false, BOX.0 - 12.0);
    scene.words((x, y + 14.0), who, small);
}

/// A frame's edges.
pub fn outline(frame: &Frame, ink: Ink) -> Shape {
    let (left, top, right, bottom) = (frame.x, frame.y, frame.right(), frame.bottom());
    let corners = vec![
        (left, top),
        (right, top),
        (right, bottom),
        (left, bottom),
        (left, top),
    ];
    Shape::Path {
        parts: vec![corners],
        ink,
        width: 1.4,
        dash: Dash::Solid,
    }
}

/// An arrow that bows away from the centre, with its relation in the middle.
fn arrow(scene: &mut Scene, ends: (Point, Point), centre: Point, bow: f64, step: Option<&Json>) {
    let ((ax, ay), (bx, by)) = ends;
    let (dx, dy) = (bx - ax, by - ay);
    let length = dx.hypot(dy).max(1.0);
    // To the left of the way, which is outside where one goes round with the clock.
    let (nx, ny) = (dy / length, -dx / length);
    let middle = ((ax + bx) / 2.0 + nx * bow, (ay + by) / 2.0 + ny * bow);
    let curve = |t: f64| -> Point {
        let (u, control) = (
            1.0 - t,
            (
                2.0 * middle.0 - (ax + bx) / 2.0,
                2.0 * middle.1 - (ay + by) / 2.0,
            ),
        );
        (
            u * u * ax + 2.0 * u * t * control.0 + t * t * bx,
            u * u * ay + 2.0 * u * t * control.1 + t * t * by,
        )
    };
    let outside = |(x, y): Point, (cx, cy): Point| {
        (x - cx).abs() > BOX.0 / 2.0 + 3.0 || (y - cy).abs() > BOX.1 / 2.0 + 3.0
    };
    let points: Vec<Point> = (0..=60)
        .map(|at| curve(f64::from(at) / 60.0))
        .filter(|&point| outside(point, (ax, ay)) && outside(point, (bx, by)))
        .collect();
    let relation = step
        .and_then(|step| step.get("type"))
        .and_then(Json::as_str)
        .unwrap_or("");
    let (ink, dash) = match relation {
        "ww" => (Ink::Series(1), Dash::Solid),
        "wr" => (Ink::Series(2), Dash::Solid),
        "rw" => (Ink::Series(3), Dash::Long),
        _ => (Ink::Muted, Dash::Dots),
    };
    if let [.., before, tip] = points[..] {
        scene.fixed(head(before, tip, ink));
    }
    scene.fixed(Shape::Path {
        parts: vec![points],
        ink,
        width: 2.0,
        dash,
    });
    let label = font::fit(&label(relation, step), 12.0, true, 260.0);
    let anchor = match middle.0 - centre.0 {
        off if off > 60.0 => Anchor::Start,
        off if off < -60.0 => Anchor::End,
        _ => Anchor::Middle,
    };
    let words = Words::SMALL.inked(ink).sized(12.0).bold().haloed();
    scene.words(
        (middle.0 + nx * 8.0, middle.1 + ny * 8.0 + 4.0),
        label,
        words.anchored(anchor),
    );
}

fn label(relation: &str, step: Option<&Json>) -> String {
    let field = |name: &str| {
        let value = step.and_then(|step| step.get(name));
        value.map_or_else(String::new, |value| clip(&people(value), 16))
    };
    match relation {
        "wr" => format!("wr: {} of {}", field("value"), field("key")),
        "ww" | "rw" => {
            let before = field("value");
            let before = if before.is_empty() {
                "nothing".to_owned()
            } else {
                before
            };
            format!(
                "{relation}: {before}, then {} of {}",
                field("value'"),
                field("key")
            )
        }
        "realtime" => "real time".to_owned(),
        other => other.to_owned(),
    }
}

fn head((fx, fy): Point, (x, y): Point, ink: Ink) -> Shape {
    let length = (x - fx).hypot(y - fy).max(0.1);
    let (ux, uy) = ((x - fx) / length, (y - fy) / length);
    let back = (x - 11.0 * ux, y - 11.0 * uy);
    let corners = vec![
        (x, y),
        (back.0 - 5.5 * uy, back.1 + 5.5 * ux),
        (back.0 + 5.5 * uy, back.1 - 5.5 * ux),
    ];
    Shape::Area {
        parts: vec![corners],
        fill: Fill::plain(ink, 1.0),
    }
}

/// A sentence in lines that fit.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is always a line");
        let longer = format!("{last} {word}");
        if last.is_empty() {
            last.push_str(word);
        } else if font::width(&longer, 12.5, false) < WIDTH - 2.0 * MARGIN {
            *last = longer;
        } else {
            lines.push(format!("    {word}"));
        }
    }
    lines
}
