//! `nemesis-agent echo`: sends back what it is sent, on as many ports as wanted. It stands in for
//! a broker in the tests of the faults, where what matters is the network, the process and the
//! disk.
//!
//! As a broker does, it keeps connections to its peers in use, writes to its data directory, ends
//! itself when a sync fails, waits when its disk is full, and ends in good order when it is told
//! to. Of the two files that it writes one is synced after each line and the other never: what a
//! power loss takes and what it must not take is seen from their lengths.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

/// Between two bytes to a peer, and two lines to a file.
const PAUSE: Duration = Duration::from_millis(50);
const CONNECT: Duration = Duration::from_secs(1);
/// The file that is synced after each line.
pub const SYNCED: &str = "synced.log";
/// The file that is never synced.
pub const LOOSE: &str = "loose.log";

/// Serves until SIGTERM.
pub fn run(
    address: Ipv4Addr,
    ports: &[u16],
    peers: &[SocketAddrV4],
    data: Option<&Path>,
) -> io::Result<()> {
    let mut wanted = SigSet::empty();
    wanted.add(Signal::SIGTERM);
    // Before any thread: they all leave the signal to the one that waits for it.
    wanted.thread_block()?;
    let bind = |port: &u16| TcpListener::bind((address, *port));
    let listeners = ports.iter().map(bind).collect::<io::Result<Vec<_>>>()?;
    if let Some(dir) = data {
        let (mut synced, mut loose) = (Lines::open(dir, SYNCED)?, Lines::open(dir, LOOSE)?);
        File::open(dir)?.sync_all()?;
        println!("found {} lines synced, {} loose", synced.count, loose.count);
        thread::spawn(move || write(&mut synced, &mut loose));
    }
    println!("echo on ports {ports:?}, pid {}", std::process::id());
    for peer in peers.iter().copied() {
        thread::spawn(move || keep_in_use(peer));
    }
    for listener in listeners {
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || answer(stream));
            }
        });
    }
    wanted.wait()?;
    println!("told to end");
    Ok(())
}

fn answer(mut stream: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(got) = stream.read(&mut buffer) {
        if got == 0 || stream.write_all(&buffer[..got]).is_err() {
            return;
        }
    }
}

/// A connection with a byte on it now and then, for as long as it holds; then another.
fn keep_in_use(peer: SocketAddrV4) {
    loop {
        if let Ok(mut stream) = TcpStream::connect_timeout(&SocketAddr::V4(peer), CONNECT) {
            let _ = stream.set_read_timeout(Some(CONNECT));
            let mut byte = [0];
            // No answer in time is no reason to give the connection up.
            while stream.write_all(b".").is_ok() {
                match stream.read(&mut byte) {
                    Ok(0) => break,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                    _ => thread::sleep(PAUSE),
                }
            }
        }
        thread::sleep(PAUSE);
    }
}

/// Lines of one length, at the end of a file.
struct Lines {
    file: File,
    count: u64,
}

const LINE: &[u8] = b"a line of 16 b.\n";

impl Lines {
    fn open(dir: &Path, name: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(dir.join(name))?;
        let length = LINE.len() as u64;
        let count = file.metadata()?.len() / length;
        Ok(Self { file, count })
    }

    fn add(&mut self) -> io::Result<()> {
        self.file
            .write_all_at(LINE, self.count * LINE.len() as u64)?;
        self.count += 1;
        // What cannot be read is not relied on; whoever makes reads fail wants to see one.
        let _ = self.file.read_at(&mut [0; LINE.len()], 0);
        Ok(())
    }
}

/// Writes until a sync fails, which is the end of this process, as it is a broker's.
fn write(synced: &mut Lines, loose: &mut Lines) {
    loop {
        // A full disk is waited for.
        let written = synced.add().and_then(|()| loose.add());
        if written.is_ok()
            && let Err(error) = synced.file.sync_data()
        {
            println!("a sync failed: {error}");
            std::process::exit(1);
        }
        thread::sleep(PAUSE);
    }
}

/// Lines in one of the two files of a data directory; none where it is not there.
pub fn lines(data: &Path, name: &str) -> u64 {
    let length = fs::metadata(data.join(name)).map_or(0, |file| file.len());
    length / LINE.len() as u64
}
