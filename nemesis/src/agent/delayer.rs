//! Holds packets back: one line for each fault and direction, each an NFQUEUE of its own.
//!
//! A line is first in, first out. Setting its delay to zero lets everything held go at once, in
//! order, and what comes after passes through; only then may the rules that feed it be deleted,
//! because the kernel drops what is queued under a hook that goes away.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::nfqueue::{PacketId, Queue};

/// Queue numbers in use; others on the machine may use small ones.
const NUMBER_FIRST: u16 = 7_100;
const NUMBER_LAST: u16 = 7_163;

/// Which way, seen from this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What arrives.
    Inbound,
    /// What leaves.
    Outbound,
}

struct Line {
    tag: String,
    direction: Direction,
    number: u16,
    queue: Queue,
    delay: Duration,
    /// When it came, and which; the oldest first.
    held: VecDeque<(Instant, PacketId)>,
}

/// All lines of this node.
#[derive(Default)]
pub struct Delayer {
    lines: Vec<Line>,
}

impl Delayer {
    /// Opens the line of a fault and direction, or changes its delay. Its queue number.
    pub fn open(&mut self, tag: &str, direction: Direction, delay: Duration) -> io::Result<u16> {
        let known = |line: &&mut Line| line.tag == tag && line.direction == direction;
        if let Some(line) = self.lines.iter_mut().find(known) {
            line.delay = delay;
            return Ok(line.number);
        }
        let (number, queue) = self.bind_free()?;
        self.lines.push(Line {
            tag: tag.to_owned(),
            direction,
            number,
            queue,
            delay,
            held: VecDeque::new(),
        });
        Ok(number)
    }

    fn bind_free(&self) -> io::Result<(u16, Queue)> {
        let taken = |number: &u16| self.lines.iter().any(|line| line.number == *number);
        let mut last = io::Error::other("every queue number of ours is in use");
        for number in (NUMBER_FIRST..=NUMBER_LAST).filter(|number| !taken(number)) {
            match Queue::bind(number) {
                Ok(queue) => return Ok((number, queue)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Ends every delay of a tag (or of all), and lets go what is held.
    pub fn release(&mut self, tag: Option<&str>) -> io::Result<()> {
        for line in self.lines.iter_mut().filter(|line| concerns(tag, line)) {
            line.delay = Duration::ZERO;
        }
        self.turn(Instant::now()).map(|_| ())
    }

    /// Closes the lines of a tag (or all). The rules that feed them must be gone.
    pub fn close(&mut self, tag: Option<&str>) -> io::Result<()> {
        self.release(tag)?;
        self.lines.retain(|line| !concerns(tag, line));
        Ok(())
    }

    /// Takes what came, lets go what is due. When to call again at the latest.
    pub fn turn(&mut self, now: Instant) -> io::Result<Option<Instant>> {
        let mut next: Option<Instant> = None;
        let mut arrived = Vec::new();
        for line in &mut self.lines {
            arrived.clear();
            line.queue.take(&mut arrived)?;
            line.held
                .extend(arrived.iter().map(|packet| (now, *packet)));
            while let Some((since, packet)) = line.held.front().copied() {
                let due = since + line.delay;
                if due > now {
                    next = Some(next.map_or(due, |other| other.min(due)));
                    break;
                }
                line.held.pop_front();
                line.queue.accept(packet)?;
            }
        }
        Ok(next)
    }

    /// For `poll`.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.lines.iter().map(|line| line.queue.as_fd())
    }

    /// Packets held now.
    pub fn held(&self) -> u64 {
        self.lines.iter().map(|line| line.held.len() as u64).sum()
    }

    /// Lines open now.
    pub fn lines(&self) -> u64 {
        self.lines.len() as u64
    }
}

fn concerns(tag: Option<&str>, line: &Line) -> bool {
    tag.is_none_or(|tag| tag == line.tag)
}
