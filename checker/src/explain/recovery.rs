//! What happened between a fault and the recovery that did not come: faults and attempts to send
//! over time, and the time that there was.

use serde_json::Value as Json;

use super::cells::outcome_ink;
use super::cycle::ground;
use crate::analysis::Kind;
use crate::history::{History, Moment, Op, RunKind, Step};
use crate::report::data::faults::people;
use crate::report::scene::{Anchor, Dash, Fill, Frame, Ink, Scene, Shape, Words, font};
use crate::report::text::{clip, duration, moment};

const MARGIN: f64 = 24.0;
const HEAD: f64 = 250.0;
const PLOT: f64 = 640.0;
const TOP: f64 = 100.0;
const ROW: f64 = 24.0;
/// Faults and attempts shown.
const FAULTS: usize = 6;
const ATTEMPTS: usize = 14;

/// A bar: from, to (ns), its colour and its words.
struct Bar {
    from: i64,
    to: i64,
    ink: Ink,
    head: String,
}

/// Draws the faults before it, and what was tried after them.
pub fn picture(history: &History, detail: &Json) -> Option<Scene> {
    let name = detail.get("key").map(people)?;
    let key = history.keys().find(&name)?;
    let field = |name: &str| detail.get(name).and_then(Json::as_i64);
    let (first, limit, waited) = (field("first-attempt")?, field("limit")?, field("waited")?);
    let until = first.saturating_add(waited);
    let deadline = first.saturating_add(limit);
    let mut bars = faults(history);
    let sends = |op: &&Op| {
        let mut runs = history.runs(op).iter();
        op.invoked.time >= first
            && op.invoked.time <= until
            && runs.any(|run| run.kind == RunKind::Send && run.key == key)
    };
    let attempts = history.ops().iter().filter(sends).take(ATTEMPTS);
    bars.extend(attempts.map(|op| attempt(history, op, until)));
    let begin = bars.iter().map(|bar| bar.from).min().unwrap_or(first);
    let end = bars.iter().map(|bar| bar.to).max().unwrap_or(until);
    let end = end.max(until).max(deadline).max(begin + 1);
    let span = (end - begin) as f64;
    let x = |time: i64| HEAD + ((time - begin) as f64 / span).clamp(0.0, 1.0) * PLOT;
    let bottom = TOP + bars.len() as f64 * ROW;
    let mut scene = Scene {
        size: (HEAD + PLOT + MARGIN * 2.0, bottom + 64.0),
        summary: format!("not-recovered: attempts to send to {name} after the last fault"),
        ..Scene::default()
    };
    ground(&mut scene);
    let title = format!(
        "{}: {} after the last fault",
        Kind::NotRecovered.name(),
        clip(&name, 60)
    );
    scene.words((MARGIN, 34.0), title, Words::TITLE.sized(16.0));
    let recovered = match field("recovered") {
        Some(_) => format!("acknowledged after {}", duration(waited)),
        None => format!("nothing was acknowledged for {}", duration(waited)),
    };
    let hint = format!(
        "there were {}; {recovered}; time goes right",
        duration(limit)
    );
    scene.words((MARGIN, 54.0), hint, Words::SMALL.sized(11.5));
    allowed(&mut scene, (x(first), x(deadline)), bottom);
    for (at, bar) in bars.iter().enumerate() {
        draw(&mut scene, bar, TOP + at as f64 * ROW, &x);
    }
    axis(&mut scene, &[begin, first, deadline, end], bottom, &x);
    Some(scene)
}

/// Faults from their asking to their verified end, the last ones.
fn faults(history: &History) -> Vec<Bar> {
    let time = |at: Moment| at.time;
    let asked = history
        .nemesis
        .iter()
        .filter(|step| step.step == Step::Asked);
    let all = asked.map(|asked| {
        let mut later = history.nemesis.iter().filter(|step| step.id == asked.id);
        let over = later.rfind(|step| step.step == Step::Verified);
        Bar {
            from: time(asked.at),
            to: over.map_or(time(asked.at), |step| time(step.at)),
            ink: Ink::Muted,
            head: format!("fault {} ({})", clip(&asked.fault, 20), clip(&asked.id, 12)),
        }
    });
    let all: Vec<Bar> = all.collect();
    let skipped = all.len().saturating_sub(FAULTS);
    all.into_iter().skip(skipped).collect()
}

fn attempt(history: &History, op: &Op, until: i64) -> Bar {
    let completed = op.completed.time;
    let who = super::operations::process(history.process(op.process));
    Bar {
        from: op.invoked.time,
        to: if completed < 0 { until } else { completed },
        ink: outcome_ink(op.outcome),
        head: format!(
            "{} {who} {} ({})",
            op.index,
            op.function.name(),
            super::operations::outcome(op)
        ),
    }
}

/// The time that there was.
fn allowed(scene: &mut Scene, (from, to): (f64, f64), bottom: f64) {
    let frame = Frame {
        x: from,
        y: TOP - 6.0,
        w: to - from,
        h: bottom - TOP + 12.0,
    };
    scene.fixed(Shape::Rect(frame, Fill::plain(Ink::Read, 0.12)));
    scene.fixed(Shape::Path {
        parts: vec![vec![(to, TOP - 6.0), (to, bottom + 6.0)]],
        ink: Ink::Alarm,
        width: 1.6,
        dash: Dash::Long,
    });
    let words = Words::SMALL.inked(Ink::Alarm).bold().haloed();
    let words = words.anchored(Anchor::Middle);
    let half = words.width("the time that there was") / 2.0;
    let middle = ((from + to) / 2.0).clamp(HEAD + half, HEAD + PLOT - half);
    scene.words((middle, TOP - 14.0), "the time that there was", words);
}

fn draw(scene: &mut Scene, bar: &Bar, y: f64, x: &impl Fn(i64) -> f64) {
    let words = Words::SMALL.inked(Ink::Text).sized(11.5);
    let head = font::fit(&bar.head, words.size, false, HEAD - MARGIN - 10.0);
    scene.words((MARGIN, y + 16.0), head, words);
    let frame = Frame {
        x: x(bar.from),
        y: y + 6.0,
        w: (x(bar.to) - x(bar.from)).max(3.0),
        h: ROW - 12.0,
    };
    scene.fixed(Shape::Rect(frame, Fill::plain(bar.ink, 0.75)));
}

fn axis(scene: &mut Scene, times: &[i64], bottom: f64, x: &impl Fn(i64) -> f64) {
    scene.fixed(Shape::Path {
        parts: vec![vec![(HEAD, bottom + 8.0), (HEAD + PLOT, bottom + 8.0)]],
        ink: Ink::Axis,
        width: 1.0,
        dash: Dash::Solid,
    });
    let mut free = f64::MIN;
    for &time in times {
        let words = Words::SMALL.anchored(Anchor::Middle);
        let (at, text) = (x(time), moment(time));
        let half = words.width(&text) / 2.0;
        // Words that would lie over those before them are left out.
        if at - half < free {
            continue;
        }
        free = at + half + 6.0;
        scene.words((at, bottom + 24.0), text, words);
    }
}
