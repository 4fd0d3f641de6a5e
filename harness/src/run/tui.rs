//! `--tui`: the run as it goes, on the whole terminal. It shows what others have noted, asks nobody
//! anything, and draws on a thread of its own: the history is the same with it and without.
//!
//! Everything that would have been written to standard error meanwhile is shown, too, and written
//! there when the screen is given back.

use std::io::{self, Stderr};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::prelude::{CrosstermBackend, Frame, Terminal};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Gauge, Paragraph, Row, Table};
use tokio::sync::watch;

use super::progress::Board;
use crate::output;

const DRAW_EVERY: Duration = Duration::from_millis(200);
/// Lines of others that are kept, to be written when the screen is given back.
const KEPT_MAX: usize = 10_000;
const ALARM: &str = "ALARM ";

/// One partition, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionLine {
    /// Which.
    pub partition: i32,
    /// Who answers for it.
    pub leader: Option<i32>,
    /// In which leader epoch.
    pub epoch: Option<i32>,
    /// The first offset behind everything acknowledged.
    pub acknowledged: i64,
    /// The high watermark that its leader told last.
    pub watermark: Option<i64>,
    /// The first offset that no consumer of the main phase has read.
    pub read: i64,
}

impl PartitionLine {
    /// Acknowledged offsets that were not read.
    fn unseen(&self) -> i64 {
        (self.acknowledged - self.read).max(0)
    }
}

/// A fault on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultLine {
    /// In effect, or to come.
    pub now: bool,
    /// In words.
    pub words: String,
}

/// Everything that is shown.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What run it is.
    pub title: String,
    /// Since it began.
    pub seconds: f64,
    /// The phase.
    pub phase: String,
    /// Messages acknowledged, and how many are wanted.
    pub acknowledged: (u64, u64),
    /// Other counts with their names.
    pub counts: Vec<(&'static str, u64)>,
    /// The partitions.
    pub partitions: Vec<PartitionLine>,
    /// The faults in effect and the next ones.
    pub faults: Vec<FaultLine>,
    /// Faults that are over, of how many.
    pub over: (usize, usize),
    /// What was said.
    pub lines: Vec<String>,
}

/// Shows the board until `stop` turns true. Blocks; gives the terminal back however it ends.
///
/// # Errors
/// Where the terminal does not do as it is told.
pub fn show(board: &Board, stop: &watch::Receiver<bool>) -> io::Result<()> {
    let said = output::divert();
    let mut screen = Screen::take(said)?;
    while !*stop.borrow() {
        screen.listen()?;
        let mut view = board.view();
        view.lines.clone_from(&screen.kept);
        screen.terminal.draw(|frame| draw(frame, &view))?;
    }
    Ok(())
}

/// The terminal, until it is dropped.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    said: Receiver<String>,
    kept: Vec<String>,
}

impl Screen {
    fn take(said: Receiver<String>) -> io::Result<Self> {
        enable_raw_mode()?;
        // From here on whatever fails gives it back.
        let given_back = |error| {
            give_back();
            error
        };
        execute!(io::stderr(), EnterAlternateScreen).map_err(given_back)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stderr())).map_err(given_back)?;
        Ok(Self {
            terminal,
            said,
            kept: Vec::new(),
        })
    }

    /// Takes keys for a while, and what was said meanwhile.
    fn listen(&mut self) -> io::Result<()> {
        if event::poll(DRAW_EVERY)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            if key.code == KeyCode::Char('q') || control && key.code == KeyCode::Char('c') {
                // In raw mode the terminal does not; from there on all is as for anybody's Ctrl-C.
                raise(Signal::SIGINT)?;
            }
        }
        self.kept.extend(self.said.try_iter());
        let surplus = self.kept.len().saturating_sub(KEPT_MAX);
        self.kept.drain(..surplus);
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
        output::undivert();
        self.kept.extend(self.said.try_iter());
        for line in &self.kept {
            say!("{line}");
        }
    }
}

/// Nothing can be done where the terminal does not obey.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stderr(), LeaveAlternateScreen, cursor::Show);
    output::undivert();
}

/// Draws one picture.
fn draw(frame: &mut Frame<'_>, view: &View) {
    let lines = u16::try_from(view.partitions.len()).unwrap_or(u16::MAX);
    let faults = u16::try_from(view.faults.len()).unwrap_or(u16::MAX);
    let areas = Layout::vertical([
        Constraint::Length(3),
        Constraint::Max(lines.saturating_add(3)),
        Constraint::Length(faults.clamp(1, 4) + 2),
        Constraint::Min(3),
    ]);
    let [head, partitions, faults, said] = areas.areas(frame.area());
    draw_head(frame, head, view);
    draw_partitions(frame, partitions, view);
    draw_faults(frame, faults, view);
    draw_said(frame, said, view);
}

fn block(title: String) -> Block<'static> {
    Block::bordered().title(title)
}

/// Colours only where they are wanted; what they say stands there in words, too.
fn ink(colour: Color) -> Style {
    let style = Style::new().add_modifier(Modifier::BOLD);
    if output::colours() {
        style.fg(colour)
    } else {
        style
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let title = format!(" {} ", view.title);
    let time = format!(" {:.1} s  {} ", view.seconds, view.phase);
    let (done, wanted) = view.acknowledged;
    let mut label = format!("acknowledged {done} of {wanted}");
    for (name, count) in &view.counts {
        label += &format!(", {name} {count}");
    }
    let ratio = done as f64 / wanted.max(1) as f64;
    let gauge = Gauge::default()
        .block(block(title).title_bottom(Line::from(time).right_aligned()))
        .gauge_style(ink(Color::Blue))
        .use_unicode(true)
        .label(label)
        .ratio(ratio.clamp(0.0, 1.0));
    frame.render_widget(gauge, area);
}

fn draw_partitions(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let room = usize::from(area.height.saturating_sub(3));
    let mut shown: Vec<&PartitionLine> = view.partitions.iter().collect();
    let title = if shown.len() > room {
        shown.sort_by_key(|line| (std::cmp::Reverse(line.unseen()), line.partition));
        shown.truncate(room);
        let all = view.partitions.len();
        format!(
            " {} of {all} partitions, the most unseen first ",
            shown.len()
        )
    } else {
        " partitions ".to_owned()
    };
    let or_dash = |known: Option<String>| known.unwrap_or_else(|| "-".to_owned());
    let rows = shown.iter().map(|line| {
        let unseen = line.unseen();
        let style = if unseen > 0 {
            ink(Color::Yellow)
        } else {
            Style::new()
        };
        Row::new([
            Cell::new(line.partition.to_string()),
            Cell::new(or_dash(line.leader.map(|leader| format!("n{leader}")))),
            Cell::new(or_dash(line.epoch.map(|epoch| epoch.to_string()))),
            Cell::new(line.acknowledged.to_string()),
            Cell::new(or_dash(
                line.watermark.map(|watermark| watermark.to_string()),
            )),
            Cell::new(line.read.to_string()),
            Cell::new(unseen.to_string()).style(style),
        ])
    });
    let widths = [4, 6, 6, 13, 14, 12, 10].map(Constraint::Length);
    let names = [
        "P",
        "leader",
        "epoch",
        "acknowledged",
        "high watermark",
        "read",
        "unseen",
    ];
    let head = Row::new(names).style(Style::new().add_modifier(Modifier::BOLD));
    let table = Table::new(rows, widths).header(head).block(block(title));
    frame.render_widget(table, area);
}

fn draw_faults(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let (over, all) = view.over;
    let title = format!(" faults: {over} of {all} over ");
    let mut lines: Vec<Line<'_>> = view
        .faults
        .iter()
        .map(|fault| {
            if fault.now {
                Line::from(Span::styled(
                    format!("now   {}", fault.words),
                    ink(Color::Red),
                ))
            } else {
                Line::from(format!("next  {}", fault.words))
            }
        })
        .collect();
    if lines.is_empty() {
        lines.push(Line::from("none"));
    }
    frame.render_widget(Paragraph::new(lines).block(block(title)), area);
}

/// Alarms first, then the newest of what was said.
fn draw_said(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let room = usize::from(area.height.saturating_sub(2));
    let is_alarm = |line: &&String| line.starts_with(ALARM);
    let alarms: Vec<&String> = view.lines.iter().filter(is_alarm).collect();
    let others: Vec<&String> = view.lines.iter().filter(|line| !is_alarm(line)).collect();
    let shown = alarms.len().min(room.saturating_sub(1).max(1));
    let left = room.saturating_sub(shown);
    let newest = &others[others.len().saturating_sub(left)..];
    let red = |line: &&String| Line::from(Span::styled((*line).clone(), ink(Color::Red)));
    let lines = alarms.iter().take(shown).map(red);
    let lines = lines.chain(newest.iter().map(|line| Line::from((*line).clone())));
    let title = match alarms.len() {
        0 => " no alarm; q: stop, heal, check ".to_owned(),
        1 => " 1 ALARM; q: stop, heal, check ".to_owned(),
        n => format!(" {n} ALARMS; q: stop, heal, check "),
    };
    let text: Vec<Line<'_>> = lines.collect();
    frame.render_widget(Paragraph::new(text).block(block(title)), area);
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;

    use super::*;

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("in memory");
        terminal.draw(|frame| draw(frame, view)).expect("in memory");
        terminal.backend().to_string()
    }

    fn view(partitions: i32) -> View {
        let line = |partition| PartitionLine {
            partition,
            leader: Some(1 + partition % 3),
            epoch: Some(2),
            acknowledged: 7500 + i64::from(partition),
            watermark: Some(7500),
            read: 7500,
        };
        View {
            title: "seed 42, docker".to_owned(),
            seconds: 12.34,
            phase: "main".to_owned(),
            acknowledged: (45_210, 100_000),
            counts: vec![("polled", 45_100), ("unseen", 110)],
            partitions: (0..partitions).map(line).collect(),
            faults: vec![FaultLine {
                now: true,
                words: "partition of n1".to_owned(),
            }],
            over: (2, 5),
            lines: vec![
                "runtime docker".to_owned(),
                "ALARM lost-write: x".to_owned(),
            ],
        }
    }

    #[test]
    fn a_terminal_of_eighty_by_twenty_four_holds_everything() {
        let picture = drawn(&view(6), 80, 24);
        for part in [
            "seed 42, docker",
            "12.3 s  main",
            "acknowledged 45210 of 100000, polled 45100, unseen 110",
            "high watermark",
            "n3     2      7505          7500           7500         5",
            "faults: 2 of 5 over",
            "now   partition of n1",
            "1 ALARM",
            "ALARM lost-write: x",
            "runtime docker",
        ] {
            assert!(picture.contains(part), "no {part:?} in\n{picture}");
        }
    }

    #[test]
    fn of_many_partitions_those_are_shown_that_consumers_are_behind_in() {
        let picture = drawn(&view(500), 80, 24);
        assert!(
            picture.contains("of 500 partitions, the most unseen first"),
            "{picture}"
        );
        assert!(picture.contains("499"), "{picture}");
        assert!(picture.contains("ALARM lost-write"), "{picture}");
    }

    #[test]
    fn a_tiny_terminal_is_no_reason_to_panic() {
        for (width, height) in [(1, 1), (10, 3), (20, 8), (200, 5)] {
            drawn(&view(12), width, height);
        }
    }
}
