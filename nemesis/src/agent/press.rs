//! Takes what a broker needs: processors by busy threads, memory by pages that are written to
//! again and again. And measures what is left: how long a busy thread waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
const PAGE: usize = 4 << 10;
/// A measurement takes this much of a processor's time.
const SAMPLE: Duration = Duration::from_millis(30);
/// Between two passes over the memory taken.
const REST: Duration = Duration::from_millis(50);
/// More than anybody means to ask for.
const THREADS_MAX: usize = 1_024;

/// What was taken for one fault; given back when this is dropped.
pub struct Pressed {
    pub tag: String,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// MiB written to so far.
    mib: Arc<AtomicU64>,
}

impl Pressed {
    /// Takes it. Memory is taken by a thread: it is all there when [`Self::mib`] says so.
    pub fn begin(tag: &str, threads_per_cpu: u32, mib: u32) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let taken = Arc::new(AtomicU64::new(0));
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let busy = (cpus * threads_per_cpu as usize).min(THREADS_MAX);
        let mut pressed = Self {
            tag: tag.to_owned(),
            stop: stop.clone(),
            threads: Vec::new(),
            mib: taken.clone(),
        };
        for _ in 0..busy {
            let stop = stop.clone();
            let spin = move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            };
            let thread = thread::Builder::new().stack_size(64 << 10).spawn(spin)?;
            pressed.threads.push(thread);
        }
        if mib > 0 {
            let hold = move || hold(mib as usize, &taken, &stop);
            pressed.threads.push(thread::Builder::new().spawn(hold)?);
        }
        Ok(pressed)
    }

    /// Busy threads, and MiB taken so far.
    pub fn taken(&self) -> (u64, u64) {
        let mib = self.mib.load(Ordering::Relaxed);
        let busy = self.threads.len() as u64;
        (busy - u64::from(mib > 0).min(busy), mib)
    }
}

impl Drop for Pressed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Neither kind of thread panics; if one did, nothing is held all the same.
            let _ = thread.join();
        }
    }
}

fn hold(mib: usize, taken: &AtomicU64, stop: &AtomicBool) {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut round = 1_u8;
    while !stop.load(Ordering::Relaxed) {
        if pieces.len() < mib {
            pieces.push(vec![round; MIB]);
            taken.store(pieces.len() as u64, Ordering::Relaxed);
            continue;
        }
        round = round.wrapping_add(1);
        for page in pieces.iter_mut().flat_map(|piece| piece.chunks_mut(PAGE)) {
            page[0] = round;
        }
        thread::sleep(REST);
    }
}

/// How much longer than its processor time a busy thread takes just now, in thousandths.
pub fn stretch() -> io::Result<u64> {
    let (began, first) = (Instant::now(), used()?);
    loop {
        let spent = used()?.saturating_sub(first);
        if spent >= SAMPLE {
            let share = began.elapsed().as_secs_f64() / spent.as_secs_f64();
            return Ok((share * 1_000.0) as u64);
        }
    }
}

/// The processor time of this thread.
fn used() -> io::Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock exists on every Linux, and the kernel writes one timespec.
    if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    Ok(seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let pressed = Pressed::begin("f1", 0, 3).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while pressed.taken().1 < 3 && Instant::now() < deadline {
            thread::yield_now();
        }
        assert_eq!(pressed.taken(), (0, 3));
        drop(pressed);
        let pressed = Pressed::begin("f1", 2, 0).unwrap();
        assert!(pressed.taken().0 >= 2);
        assert!(stretch().unwrap() >= 900, "never less than the time itself");
    }
}
