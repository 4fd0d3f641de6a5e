//! Holds packets back, loses some, lets some be overtaken, counts bytes against a rate: one line
//! for each fault and direction, each an NFQUEUE of its own.
//!
//! A line lets its packets go in the order in which they are due, which is the order in which they
//! came unless reordering was asked for. Releasing a line lets everything held go at once, in that
//! order, and what comes after passes through; only then may the rules that feed it be deleted,
//! because the kernel drops what is queued under a hook that goes away.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::nfqueue::{Packet, PacketId, Queue};
use super::{LineStatus, Manner};

/// Queue numbers in use; others on the machine may use small ones.
const NUMBER_FIRST: u16 = 7_100;
const NUMBER_LAST: u16 = 7_163;
/// What a slow link holds at most, in time; more is lost, as in a router.
const BACKLOG: Duration = Duration::from_secs(10);

/// Which way, seen from this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What arrives.
    Inbound,
    /// What leaves.
    Outbound,
}

/// What becomes of the packets of one line, without a kernel.
struct Course {
    manner: Manner,
    rng: ChaCha8Rng,
    /// Numbers the packets in the order in which they come.
    next: u64,
    /// The number of the newest one that was let go.
    newest: Option<u64>,
    /// When it is due, its number, and which.
    held: BTreeMap<(Instant, u64), PacketId>,
    /// When the last one that keeps the order is due.
    last_due: Option<Instant>,
    /// When the link has carried what was put on it.
    free_at: Option<Instant>,
    passed: u64,
    lost: u64,
    overtaken: u64,
}

impl Course {
    fn new(manner: Manner, seed: u64) -> Self {
        Self {
            manner,
            rng: ChaCha8Rng::seed_from_u64(seed),
            next: 0,
            newest: None,
            held: BTreeMap::new(),
            last_due: None,
            free_at: None,
            passed: 0,
            lost: 0,
            overtaken: 0,
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        percent > 0 && self.rng.random_range(0..100) < percent
    }

    /// Takes a packet in; false: it is lost.
    fn admit(&mut self, packet: Packet, now: Instant) -> bool {
        let manner = self.manner;
        if self.chance(manner.loss_percent) {
            self.lost += 1;
            return false;
        }
        let ms = |ms: u32| Duration::from_millis(ms.into());
        let mut due = now + ms(manner.delay_ms);
        if manner.jitter_ms > 0 {
            let most = u64::from(manner.jitter_ms) * 1_000;
            due += Duration::from_micros(self.rng.random_range(0..=most));
        }
        if manner.bytes_per_second > 0 {
            let free = self.free_at.map_or(now, |at| at.max(now));
            if free > now + BACKLOG {
                self.lost += 1;
                return false;
            }
            let takes = f64::from(packet.bytes) / f64::from(manner.bytes_per_second);
            let free = free + Duration::from_secs_f64(takes);
            self.free_at = Some(free);
            due = due.max(free);
        }
        if self.chance(manner.reorder_percent) {
            due += ms(manner.reorder_ms);
        } else {
            due = self.last_due.map_or(due, |last| last.max(due));
            self.last_due = Some(due);
        }
        self.held.insert((due, self.next), packet.id);
        self.next += 1;
        true
    }

    /// The next packet that is due, if one is.
    fn let_go(&mut self, now: Instant) -> Option<PacketId> {
        let entry = self.held.first_entry()?;
        let (due, number) = *entry.key();
        if due > now {
            return None;
        }
        let packet = entry.remove();
        self.passed += 1;
        if self.newest.is_some_and(|newest| newest > number) {
            self.overtaken += 1;
        }
        self.newest = self.newest.max(Some(number));
        Some(packet)
    }

    /// From now on in another manner; what is held is due at once, in its order.
    fn change(&mut self, manner: Manner, now: Instant) {
        self.manner = manner;
        let held = std::mem::take(&mut self.held);
        let due = held
            .into_iter()
            .map(|((_, number), id)| ((now, number), id));
        self.held = due.collect();
        self.last_due = None;
        self.free_at = None;
    }

    fn next_due(&self) -> Option<Instant> {
        self.held.first_key_value().map(|((due, _), _)| *due)
    }
}

struct Line {
    tag: String,
    direction: Direction,
    number: u16,
    queue: Queue,
    course: Course,
}

/// All lines of this node.
#[derive(Default)]
pub struct Delayer {
    lines: Vec<Line>,
}

impl Delayer {
    /// Opens the line of a fault and direction, or changes its manner. Its queue number.
    pub fn open(&mut self, tag: &str, direction: Direction, manner: Manner) -> io::Result<u16> {
        let known = |line: &&mut Line| line.tag == tag && line.direction == direction;
        if let Some(line) = self.lines.iter_mut().find(known) {
            line.course.change(manner, Instant::now());
            return Ok(line.number);
        }
        // What happens to each packet is to happen to packets as they are on the wire.
        let whole = manner
            == Manner {
                delay_ms: manner.delay_ms,
                ..Manner::default()
            };
        let (number, queue) = self.bind_free(whole)?;
        self.lines.push(Line {
            tag: tag.to_owned(),
            direction,
            number,
            queue,
            course: Course::new(manner, u64::from(number)),
        });
        Ok(number)
    }

    fn bind_free(&self, whole: bool) -> io::Result<(u16, Queue)> {
        let taken = |number: &u16| self.lines.iter().any(|line| line.number == *number);
        let mut last = io::Error::other("every queue number of ours is in use");
        for number in (NUMBER_FIRST..=NUMBER_LAST).filter(|number| !taken(number)) {
            match Queue::bind(number, whole) {
                Ok(queue) => return Ok((number, queue)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Ends what a tag (or all) does, and lets go what is held.
    pub fn release(&mut self, tag: Option<&str>) -> io::Result<()> {
        let now = Instant::now();
        for line in self.lines.iter_mut().filter(|line| concerns(tag, line)) {
            line.course.change(Manner::default(), now);
        }
        self.turn(now).map(|_| ())
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
            for packet in &arrived {
                if !line.course.admit(*packet, now) {
                    line.queue.drop_packet(packet.id)?;
                }
            }
            while let Some(packet) = line.course.let_go(now) {
                line.queue.accept(packet)?;
            }
            let due = line.course.next_due();
            next = next.into_iter().chain(due).min();
        }
        Ok(next)
    }

    /// For `poll`.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.lines.iter().map(|line| line.queue.as_fd())
    }

    /// Packets held now.
    pub fn held(&self) -> u64 {
        let held = self.lines.iter().map(|line| line.course.held.len() as u64);
        held.sum()
    }

    /// What has become of the packets of each line.
    pub fn lines(&self) -> Vec<LineStatus> {
        let status = |line: &Line| LineStatus {
            tag: line.tag.clone(),
            passed: line.course.passed,
            lost: line.course.lost,
            overtaken: line.course.overtaken,
        };
        self.lines.iter().map(status).collect()
    }
}

fn concerns(tag: Option<&str>, line: &Line) -> bool {
    tag.is_none_or(|tag| tag == line.tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u32 = 1_000;

    fn course(manner: Manner, packets: u32, now: Instant) -> Course {
        let mut course = Course::new(manner, 7);
        for id in START..START + packets {
            course.admit(Packet { id, bytes: 1_000 }, now);
        }
        course
    }

    fn all(course: &mut Course, now: Instant) -> Vec<PacketId> {
        std::iter::from_fn(|| course.let_go(now)).collect()
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let jitter = Manner {
            delay_ms: 20,
            jitter_ms: 80,
            ..Manner::default()
        };
        let mut line = course(jitter, 100, now);
        assert!(all(&mut line, now + Duration::from_millis(19)).is_empty());
        assert!(all(&mut line, later).is_sorted() && line.passed == 100);
        assert_eq!(line.overtaken, 0);
        let reorder = Manner {
            reorder_percent: 30,
            reorder_ms: 50,
            ..Manner::default()
        };
        let mut line = course(reorder, 100, now);
        let first = all(&mut line, now).len();
        assert!((50..90).contains(&first), "{first}");
        assert!(all(&mut line, later).len() == 100 - first && line.overtaken > 5);
    }

    #[test]
    fn a_rate_is_kept_and_a_share_is_lost() {
        let now = Instant::now();
        let rate = Manner {
            bytes_per_second: 10_000,
            ..Manner::default()
        };
        let mut line = course(rate, 50, now);
        assert_eq!(all(&mut line, now + Duration::from_secs(2)).len(), 20);
        let loss = Manner {
            loss_percent: 20,
            ..Manner::default()
        };
        let mut line = course(loss, 1_000, now);
        assert!((150..250).contains(&line.lost), "{}", line.lost);
        // Healed: everything that is held goes, and nothing more is lost.
        let mut held = course(rate, 50, now);
        held.change(Manner::default(), now);
        assert_eq!(all(&mut held, now).len(), 50);
        line.change(Manner::default(), now);
        let lost = line.lost;
        assert!((0..100).all(|id| line.admit(Packet { id, bytes: 1 }, now)));
        assert_eq!(line.lost, lost);
    }
}
