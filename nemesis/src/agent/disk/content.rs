//! The bytes of one file, and how to take back what was not synced.
//!
//! Each change is made at once and leaves a note of what was there before. A sync makes the notes
//! before it void. A power loss takes the changes back by the notes that are left, newest first;
//! a torn one then puts some sectors of what was written back in their place.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::SystemTime;

use rand::Rng;

/// A write reaches the disk in sectors of this many bytes, each or not.
const SECTOR: u64 = 512;
/// How likely a sector of a torn write is there; drawn for each write, so that whole writes stay
/// and go often enough.
const ODDS: [f64; 4] = [0.0, 0.5, 0.9, 1.0];

/// What there was before one change.
#[derive(Debug)]
struct Note {
    at: u64,
    /// Bytes that the change wrote; 0 for a change of the length alone.
    wrote: u64,
    old: Vec<u8>,
    old_len: u64,
}

/// What a power loss did to a file, or to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Changes that were not synced.
    pub writes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of them that are there all the same.
    pub kept: u64,
}

impl Lost {
    pub fn add(&mut self, other: Self) {
        self.writes += other.writes;
        self.bytes += other.bytes;
        self.kept += other.kept;
    }
}

/// A file.
#[derive(Debug)]
pub struct Content {
    file: Arc<File>,
    len: u64,
    notes: Vec<Note>,
    /// Notes that are void.
    voided: u64,
    pub changed: SystemTime,
}

/// How far a file had come when a sync began.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

impl Content {
    /// An empty file.
    pub fn new(file: File) -> Self {
        Self {
            file: Arc::new(file),
            len: 0,
            notes: Vec::new(),
            voided: 0,
            changed: SystemTime::now(),
        }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// Where the bytes are.
    pub fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Bytes of changes that no sync has made durable.
    pub fn unsynced(&self) -> u64 {
        self.notes.iter().map(|note| note.wrote).sum()
    }

    pub fn read(&self, at: u64, size: u64) -> io::Result<Vec<u8>> {
        let size = size.min(self.len.saturating_sub(at));
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    pub fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let wrote = bytes.len() as u64;
        let old = self.read(at, wrote)?;
        self.note(at, wrote, old);
        self.file.write_all_at(bytes, at)?;
        self.len = self.len.max(at + wrote);
        Ok(())
    }

    pub fn set_len(&mut self, len: u64) -> io::Result<()> {
        let cut = self.len.saturating_sub(len);
        let old = self.read(len, cut)?;
        self.note(len, 0, old);
        self.file.set_len(len)?;
        self.len = len;
        Ok(())
    }

    fn note(&mut self, at: u64, wrote: u64, old: Vec<u8>) {
        let old_len = self.len;
        self.notes.push(Note {
            at,
            wrote,
            old,
            old_len,
        });
        self.changed = SystemTime::now();
    }

    /// For a sync that begins now.
    pub fn mark(&self) -> Mark {
        Mark(self.voided + self.notes.len() as u64)
    }

    /// A sync that began at `mark` is done.
    pub fn synced(&mut self, mark: Mark) {
        let void = mark.0.saturating_sub(self.voided);
        let void = void.min(self.notes.len() as u64);
        self.notes.drain(..void as usize);
        self.voided += void;
    }

    /// A power loss: the file is what was synced, or with `tear` that and some sectors more.
    pub fn lose(&mut self, tear: Option<&mut impl Rng>) -> io::Result<Lost> {
        let notes = std::mem::take(&mut self.notes);
        self.voided += notes.len() as u64;
        let mut lost = Lost {
            writes: notes.len() as u64,
            bytes: notes.iter().map(|note| note.wrote).sum(),
            kept: 0,
        };
        let kept = match tear {
            Some(rng) => self.survivors(&notes, rng)?,
            None => Vec::new(),
        };
        for note in notes.iter().rev() {
            self.file.write_all_at(&note.old, note.at)?;
            self.file.set_len(note.old_len)?;
            self.len = note.old_len;
        }
        for (at, bytes) in kept {
            self.file.write_all_at(&bytes, at)?;
            self.len = self.len.max(at + bytes.len() as u64);
            lost.kept += bytes.len() as u64;
        }
        Ok(lost)
    }

    /// The sectors, or parts of sectors, of what was written that reached the disk.
    fn survivors(&self, notes: &[Note], rng: &mut impl Rng) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut kept = Vec::new();
        for note in notes {
            let odds = ODDS[rng.random_range(0..ODDS.len())];
            let (mut at, end) = (note.at, note.at + note.wrote);
            while at < end {
                let next = ((at / SECTOR + 1) * SECTOR).min(end);
                if rng.random_bool(odds) {
                    kept.push((at, self.read(at, next - at)?));
                }
                at = next;
            }
        }
        Ok(kept)
    }

    /// Changes one bit, behind everybody's back: no note is left, and nothing is said.
    pub fn flip(&mut self, at: u64, bit: u8) -> io::Result<()> {
        let mut byte = self.read(at, 1)?;
        if let Some(byte) = byte.first_mut() {
            *byte ^= 1 << (bit % 8);
        }
        self.file.write_all_at(&byte, at)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const WHOLE: Option<&mut ChaCha8Rng> = None;

    fn content() -> Content {
        Content::new(tempfile::tempfile().unwrap())
    }

    fn all(content: &Content) -> Vec<u8> {
        content.read(0, u64::MAX).unwrap()
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_goes_in_order() {
        let mut content = content();
        content.write(0, b"abcdef").unwrap();
        let mark = content.mark();
        content.write(2, b"XY").unwrap();
        content.synced(mark);
        content.set_len(3).unwrap();
        content.write(5, b"tail").unwrap();
        assert_eq!(all(&content), b"abX\0\0tail");
        assert_eq!(content.unsynced(), 6);
        let lost = content.lose(WHOLE).unwrap();
        let told = Lost {
            writes: 3,
            bytes: 6,
            kept: 0,
        };
        assert_eq!((all(&content).as_slice(), lost), (&b"abcdef"[..], told));
        // A sync that was under way makes nothing durable any more.
        content.write(0, b"Z").unwrap();
        content.synced(mark);
        content.lose(WHOLE).unwrap();
        assert_eq!(
            (all(&content).as_slice(), content.len()),
            (&b"abcdef"[..], 6)
        );
    }

    #[test]
    fn of_a_torn_write_some_sectors_are_there_and_nothing_that_nobody_wrote() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (mut whole, mut partly, mut none) = (0, 0, 0);
        for _ in 0..100 {
            let mut content = content();
            content.write(0, &[1; 1_000]).unwrap();
            content.synced(content.mark());
            content.write(700, &[2; 2_000]).unwrap();
            let lost = content.lose(Some(&mut rng)).unwrap();
            let found = all(&content);
            assert_eq!(found[..700], [1; 700]);
            let known = |byte: &u8| [0, 1, 2].contains(byte);
            assert!(found.len() >= 1_000 && found.len() <= 2_700 && found.iter().all(known));
            let kept = found.iter().filter(|byte| **byte == 2).count() as u64;
            assert_eq!((lost.writes, lost.bytes, lost.kept), (1, 2_000, kept));
            match kept {
                0 => none += 1,
                2_000 => whole += 1,
                _ => partly += 1,
            }
        }
        assert!(
            whole > 5 && partly > 5 && none > 5,
            "{whole} {partly} {none}"
        );
    }

    #[test]
    fn one_bit_changes_and_stays_changed() {
        let mut content = content();
        content.write(0, &[0; 9]).unwrap();
        content.synced(content.mark());
        content.flip(4, 3).unwrap();
        content.lose(WHOLE).unwrap();
        assert_eq!(all(&content), [0, 0, 0, 0, 8, 0, 0, 0, 0]);
    }
}
