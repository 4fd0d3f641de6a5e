//! The overview for a README: verdict, numbers, and the pictures that matter most, in one.

use super::{Picture, RIGHT, WIDTH};
use crate::report::scene::{Fill, Frame, Ink, Scene, Shape, Words, font};
use crate::report::view::{Head, Tile};

/// Pictures of the overview, in order.
const CHOSEN: [&str; 5] = ["faults", "rate", "latency-quantiles", "unseen", "leaders"];
/// Lines of the verdict's sentence.
const MOST_LINES: usize = 4;

/// Draws the overview out of finished pictures.
#[must_use]
pub fn overview(head: &Head, pictures: &[Picture]) -> Scene {
    let mut scene = Scene {
        size: (WIDTH, 0.0),
        summary: head.sentence.clone(),
        ..Scene::default()
    };
    let mut y = verdict(&mut scene, head);
    y = tiles(&mut scene, &head.tiles, y + 14.0);
    scene.size.1 = y + 16.0;
    for id in CHOSEN {
        if let Some(picture) = pictures.iter().find(|picture| picture.id == id) {
            scene.stack(&picture.scene);
            scene.size.1 += 8.0;
        }
    }
    scene
}

/// Pill, sentence and settings; the lowest line.
fn verdict(scene: &mut Scene, head: &Head) -> f64 {
    let ink = match head.class {
        "valid" => Ink::Read,
        "invalid" => Ink::Alarm,
        _ => Ink::Info,
    };
    let pill = format!("{} {}", head.sign, head.word.to_uppercase());
    let words = Words::TITLE.sized(17.0).inked(Ink::Ground);
    let width = words.width(&pill) + 26.0;
    let frame = Frame {
        x: 14.0,
        y: 14.0,
        w: width,
        h: 32.0,
    };
    scene.fixed(Shape::Rect(frame, Fill::plain(ink, 1.0)));
    scene.words((27.0, 36.0), pill, words);
    let settings: Vec<String> = head
        .settings
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let room = WIDTH - RIGHT - width - 32.0;
    let settings = font::fit(&settings.join("  ·  "), 11.5, false, room);
    scene.words((28.0 + width, 34.0), settings, Words::SMALL.sized(11.5));
    let mut y = 50.0;
    let style = Words::TITLE.sized(15.0);
    for line in wrapped(&head.sentence, style, WIDTH - 14.0 - RIGHT) {
        y += 20.0;
        scene.words((14.0, y), line, style);
    }
    y
}

fn wrapped(text: &str, style: Words, room: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let at = lines.len() - 1;
        let longer = match lines[at].as_str() {
            "" => word.to_owned(),
            line => format!("{line} {word}"),
        };
        if style.width(&longer) <= room || lines[at].is_empty() {
            lines[at] = longer;
        } else if lines.len() < MOST_LINES {
            lines.push(word.to_owned());
        } else {
            lines[at] = font::fit(&format!("{longer} …"), style.size, style.bold, room);
            break;
        }
    }
    lines
}

fn tiles(scene: &mut Scene, tiles: &[Tile], top: f64) -> f64 {
    let count = tiles.len().max(1) as f64;
    let gap = 10.0;
    let width = (WIDTH - 14.0 - RIGHT - (count - 1.0) * gap) / count;
    for (at, tile) in tiles.iter().enumerate() {
        let x = 14.0 + at as f64 * (width + gap);
        let ink = if tile.alarm { Ink::Alarm } else { Ink::Axis };
        let frame = Frame {
            x,
            y: top,
            w: width,
            h: 66.0,
        };
        scene.fixed(Shape::Rect(frame, Fill::plain(ink, 0.13)));
        let edge = Frame { w: 3.0, ..frame };
        scene.fixed(Shape::Rect(edge, Fill::plain(ink, 1.0)));
        let value = font::fit(&tile.value, 19.0, true, width - 18.0);
        let ink = if tile.alarm { Ink::Alarm } else { Ink::Text };
        let words = Words::TITLE.sized(19.0).inked(ink);
        scene.words((x + 12.0, top + 25.0), value, words);
        let label = Words::SMALL.inked(Ink::Text).sized(11.0);
        scene.words((x + 12.0, top + 42.0), tile.label, label);
        let detail = font::fit(&tile.detail, 9.0, false, width - 16.0);
        scene.words((x + 12.0, top + 56.0), detail, Words::SMALL.sized(9.0));
    }
    top + 66.0
}
