//! Cuts a file into pieces of whole lines, and parses each of them by itself.
//!
//! Pieces are handed to threads in turn and taken back in the same turn, so the history is put
//! together in the order of the file, whoever parsed what; a file that fits into one piece is
//! parsed where it was read. At most a few pieces are in memory at a time.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use memchr::{memchr, memrchr};

use super::event;
use super::scan::Fault;
use crate::history::batch::Batch;

/// Bytes in a piece, about: large enough to be worth a hand-over, small enough for a cache.
const PIECE_BYTES: usize = 1 << 20;

/// A longer line is no event: reading it must not fill the memory.
pub(super) const LINE_BYTES_MAX: usize = 512 << 20;

/// Pieces handed to each thread before the first is taken back.
const AHEAD: usize = 2;

/// Threads beyond this number would wait for the one that puts the history together.
const THREADS_MAX: usize = 6;

/// Why a piece was not read to its end.
pub(super) struct Stop {
    /// The line's number within the piece, from 1.
    pub line: u64,
    /// Its bytes.
    pub text: Vec<u8>,
    /// Whether it ends in a newline.
    pub whole: bool,
    /// What was wrong with it.
    pub fault: Box<Fault>,
}

/// A piece, before and after it is parsed.
#[derive(Default)]
pub(super) struct Piece {
    bytes: Vec<u8>,
    /// Its events.
    pub batch: Batch,
    /// How many lines it has.
    pub lines: u64,
    /// Where it was given up.
    pub stop: Option<Stop>,
}

impl Piece {
    fn parse(&mut self) {
        self.lines = 0;
        self.stop = None;
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            let (line, whole) = match memchr(b'\n', rest) {
                Some(newline) => (&rest[..=newline], true),
                None => (rest, false),
            };
            rest = &rest[line.len()..];
            self.lines += 1;
            let content = line.trim_ascii();
            if content.is_empty() {
                continue;
            }
            if let Err(fault) = event::event(&mut self.batch, content) {
                self.batch.abandon_event();
                self.stop = Some(Stop {
                    line: self.lines,
                    text: line.to_owned(),
                    whole,
                    fault,
                });
                return;
            }
        }
    }
}

/// A reader, piece by piece.
pub(super) struct Pieces<R> {
    reader: R,
    /// The beginning of a line whose end has not been read yet.
    rest: Vec<u8>,
    ended: bool,
}

impl<R: Read> Pieces<R> {
    pub fn new(reader: R) -> Pieces<R> {
        Pieces {
            reader,
            rest: Vec::new(),
            ended: false,
        }
    }

    /// Fills the piece with the next lines; `false` if there are none. A line without an end is
    /// given out last, or when it is too long to be one.
    fn fill(&mut self, piece: &mut Piece) -> io::Result<bool> {
        let bytes = &mut piece.bytes;
        bytes.clear();
        bytes.append(&mut self.rest);
        let mut searched = 0;
        while !self.ended {
            let wanted = PIECE_BYTES.saturating_sub(bytes.len()).max(PIECE_BYTES / 4);
            let read = self
                .reader
                .by_ref()
                .take(wanted as u64)
                .read_to_end(bytes)?;
            self.ended = read < wanted;
            if self.ended || bytes.len() >= LINE_BYTES_MAX {
                break;
            }
            if let Some(newline) = memrchr(b'\n', &bytes[searched..]) {
                self.rest
                    .extend_from_slice(&bytes[searched + newline + 1..]);
                bytes.truncate(searched + newline + 1);
                break;
            }
            searched = bytes.len();
        }
        Ok(!bytes.is_empty())
    }

    /// Gives every piece to `take`, in order, parsed by this thread, until it says `false`.
    pub fn each(mut self, mut take: impl FnMut(&mut Piece) -> bool) -> io::Result<()> {
        let mut piece = Piece::default();
        while self.fill(&mut piece)? {
            piece.parse();
            if !take(&mut piece) {
                break;
            }
        }
        Ok(())
    }

    /// The same, parsed by as many threads as there are cores.
    pub fn each_parallel(mut self, mut take: impl FnMut(&mut Piece) -> bool) -> io::Result<()> {
        let mut piece = Piece::default();
        let any = self.fill(&mut piece)?;
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get());
        if !any || self.ended || threads == 1 {
            if any {
                piece.parse();
                if take(&mut piece) {
                    return self.each(take);
                }
            }
            return Ok(());
        }
        thread::scope(|scope| {
            let workers: Vec<Worker> = (0..threads.min(THREADS_MAX))
                .map(|_| {
                    let (give, given) = sync_channel::<Piece>(AHEAD);
                    let (done, taken) = sync_channel::<Piece>(AHEAD);
                    scope.spawn(move || work(&given, &done));
                    Worker { give, taken }
                })
                .collect();
            self.distribute(piece, &workers, &mut take)
        })
    }

    fn distribute(
        &mut self,
        first: Piece,
        workers: &[Worker],
        take: &mut impl FnMut(&mut Piece) -> bool,
    ) -> io::Result<()> {
        let mut next = Some(first);
        let mut spare: Vec<Piece> = Vec::new();
        let (mut given, mut taken) = (0, 0);
        while next.is_some() || taken < given {
            if let Some(piece) = next.take() {
                let worker = &workers[given % workers.len()];
                worker
                    .give
                    .send(piece)
                    .expect("a worker ends after its work only");
                given += 1;
                let mut piece = spare.pop().unwrap_or_default();
                next = self.fill(&mut piece)?.then_some(piece);
            }
            if given - taken >= AHEAD * workers.len() || next.is_none() {
                let worker = &workers[taken % workers.len()];
                let mut piece = worker
                    .taken
                    .recv()
                    .expect("a worker gives back what it got");
                taken += 1;
                if !take(&mut piece) {
                    break;
                }
                spare.push(piece);
            }
        }
        Ok(())
    }
}

struct Worker {
    give: SyncSender<Piece>,
    taken: Receiver<Piece>,
}

fn work(given: &Receiver<Piece>, done: &SyncSender<Piece>) {
    while let Ok(mut piece) = given.recv() {
        piece.parse();
        if done.send(piece).is_err() {
            return; // Nobody wants the rest.
        }
    }
}
