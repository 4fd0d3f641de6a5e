//! Cuts a file into pieces of whole lines, and parses each of them by itself.
//!
//! One thread reads. Pieces are handed to others in turn and taken back in the same turn, so the
//! history is put together in the order of the file, whoever parsed what; a file that fits into one
//! piece is parsed where it was read. At most a few pieces are in memory at a time.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use memchr::{memchr, memrchr};

use super::event;
use super::scan::Fault;
use crate::history::batch::Batch;
use crate::parallel;

/// Bytes in a piece, about: large enough to be worth a hand-over, small enough for a cache.
const PIECE_BYTES: usize = 1 << 20;

/// A longer line is no event: reading it must not fill the memory.
pub(super) const LINE_BYTES_MAX: usize = 512 << 20;

/// Pieces handed to each thread before the first is taken back.
const AHEAD: usize = 3;

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

    /// The same, parsed by as many threads as there are cores, and taken by one more: this one
    /// only reads.
    pub fn each_parallel(
        mut self,
        mut take: impl FnMut(&mut Piece) -> bool + Send,
    ) -> io::Result<()> {
        let mut piece = Piece::default();
        let any = self.fill(&mut piece)?;
        let threads = parallel::cores();
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
            let (mut gives, mut taken) = (Vec::new(), Vec::new());
            for _ in 0..threads.min(THREADS_MAX) {
                let (give, given) = sync_channel::<Piece>(AHEAD);
                let (done, parsed) = sync_channel::<Piece>(AHEAD);
                scope.spawn(move || work(&given, &done));
                gives.push(give);
                taken.push(parsed);
            }
            let (back, spare) = sync_channel::<Piece>(2 * AHEAD * gives.len());
            let collector = scope.spawn(move || collect(&taken, &back, &mut take));
            let read = self.distribute(piece, &gives, &spare);
            drop(gives);
            match collector.join() {
                Ok(()) => read,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Hands pieces to the threads in turn, until there are none or nobody wants more.
    fn distribute(
        &mut self,
        first: Piece,
        gives: &[SyncSender<Piece>],
        spare: &Receiver<Piece>,
    ) -> io::Result<()> {
        let mut piece = first;
        for (given, give) in gives.iter().cycle().enumerate() {
            if give.send(piece).is_err() {
                break;
            }
            piece = match given < AHEAD * gives.len() {
                true => Piece::default(),
                false => match spare.recv() {
                    Ok(piece) => piece,
                    Err(_) => break,
                },
            };
            if !self.fill(&mut piece)? {
                break;
            }
        }
        Ok(())
    }
}

/// Takes pieces back in the order in which they were given out.
fn collect(
    taken: &[Receiver<Piece>],
    back: &SyncSender<Piece>,
    take: &mut impl FnMut(&mut Piece) -> bool,
) {
    for parsed in taken.iter().cycle() {
        // A thread that has ended has done all of its pieces, so there are none after them either.
        let Ok(mut piece) = parsed.recv() else { return };
        if !take(&mut piece) {
            return;
        }
        // Towards the end nobody wants them back.
        let _ = back.try_send(piece);
    }
}

fn work(given: &Receiver<Piece>, done: &SyncSender<Piece>) {
    while let Ok(mut piece) = given.recv() {
        piece.parse();
        if done.send(piece).is_err() {
            return; // Nobody wants the rest.
        }
    }
}
