//! Simulated TCP: bytes in order, late, and never lost while both ends live.
//!
//! A segment that meets a cut is sent again until the cut is healed, so it arrives after that,
//! however old it is by then. A process that dies closes its connections; a machine that loses
//! power says nothing, and its peers find out by their deadlines, or when it is back and knows
//! nothing of the connection. A link that is cut one way still carries the other way.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::process;
use super::world::{State, World};

/// Bytes that a connection takes in one direction before its writer has to wait.
const WINDOW: usize = 1 << 20;

/// One direction of a connection.
struct Pipe {
    from: SocketAddrV4,
    to: SocketAddrV4,
    /// When each arrives, and what it is.
    segments: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// When the last one arrives: none overtakes another.
    last: Instant,
    /// When the reader hears that there is no more.
    fin: Option<Instant>,
    /// When the reader hears that the peer knows nothing of this connection.
    reset: Option<Instant>,
    reader_gone: bool,
    was_cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

type Shared = Arc<Mutex<Pipe>>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipe {
    fn new(from: SocketAddrV4, to: SocketAddrV4) -> Shared {
        Arc::new(Mutex::new(Self {
            from,
            to,
            segments: VecDeque::new(),
            bytes: 0,
            last: Instant::now(),
            fin: None,
            reset: None,
            reader_gone: false,
            was_cut: false,
            reader: None,
            writer: None,
        }))
    }

    fn arrival(&mut self, state: &mut State) -> Instant {
        let at = Instant::now() + state.transit(self.from, self.to);
        self.last = self.last.max(at);
        self.last
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    /// The reader hears of it when it arrives.
    fn reset(&mut self, state: &mut State) {
        if self.reset.is_none() {
            self.reset = Some(Instant::now() + state.transit(self.from, self.to));
            self.wake_reader();
        }
    }
}

/// The receiving half.
pub struct SimReadHalf {
    world: World,
    pipe: Shared,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The sending half.
pub struct SimWriteHalf {
    world: World,
    pipe: Shared,
    /// The other direction: where a reset comes from.
    back: Shared,
}

/// A simulated connection.
pub struct SimStream {
    read: SimReadHalf,
    write: SimWriteHalf,
}

fn ends(world: &World, near: SocketAddrV4, far: SocketAddrV4) -> (SimStream, SimStream) {
    let (out, back) = (Pipe::new(near, far), Pipe::new(far, near));
    let stream = |read: &Shared, write: &Shared| SimStream {
        read: SimReadHalf {
            world: world.clone(),
            pipe: read.clone(),
            timer: None,
        },
        write: SimWriteHalf {
            world: world.clone(),
            pipe: write.clone(),
            back: read.clone(),
        },
    };
    (stream(&back, &out), stream(&out, &back))
}

impl SimStream {
    /// Both halves.
    #[must_use]
    pub fn into_split(self) -> (SimReadHalf, SimWriteHalf) {
        (self.read, self.write)
    }
}

impl SimReadHalf {
    /// Waits until `at`.
    fn wait(&mut self, at: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(context)
    }

    /// Moves what has arrived into `buffer`; else says until when to wait, if that is known.
    fn take(&self, context: &Context<'_>, buffer: &mut ReadBuf<'_>) -> Taken {
        let pipe = &mut *locked(&self.pipe);
        pipe.reader = Some(context.waker().clone());
        let nothing = pipe.segments.is_empty() && pipe.fin.is_none() && pipe.reset.is_none();
        if nothing {
            return Taken::Nothing(None);
        }
        let now = Instant::now();
        {
            let mut state = self.world.state();
            if state.is_cut(pipe.from, pipe.to) {
                pipe.was_cut = true;
                state.wake_on_change(context.waker());
                return Taken::Nothing(None);
            }
            if std::mem::take(&mut pipe.was_cut) {
                let again = now + state.next_try();
                for (arrives, _) in &mut pipe.segments {
                    *arrives = (*arrives).max(again);
                }
                for end in [&mut pipe.fin, &mut pipe.reset].into_iter().flatten() {
                    *end = (*end).max(again);
                }
                pipe.last = pipe.last.max(again);
            }
        }
        if pipe.reset.is_some_and(|at| at <= now) {
            return Taken::Reset;
        }
        if let Some((arrives, bytes)) = pipe.segments.front_mut() {
            if *arrives > now {
                return Taken::Nothing(Some(*arrives));
            }
            let some = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..some]);
            bytes.advance(some);
            if bytes.is_empty() {
                pipe.segments.pop_front();
            }
            pipe.bytes -= some;
            pipe.wake_writer();
            return Taken::Some;
        }
        match (pipe.fin, pipe.reset) {
            (Some(fin), _) if fin <= now => Taken::End,
            (fin, reset) => Taken::Nothing(fin.into_iter().chain(reset).min()),
        }
    }
}

enum Taken {
    Some,
    End,
    Reset,
    Nothing(Option<Instant>),
}

impl AsyncRead for SimReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            return match self.take(context, buffer) {
                Taken::Some | Taken::End => Poll::Ready(Ok(())),
                Taken::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Taken::Nothing(None) => Poll::Pending,
                Taken::Nothing(Some(at)) => match self.wait(at, context) {
                    Poll::Ready(()) => continue,
                    Poll::Pending => Poll::Pending,
                },
            };
        }
    }
}

impl Drop for SimReadHalf {
    fn drop(&mut self) {
        let mut pipe = locked(&self.pipe);
        pipe.reader_gone = true;
        pipe.segments.clear();
        pipe.wake_writer();
    }
}

impl SimWriteHalf {
    fn send(&self, context: &Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if locked(&self.back)
            .reset
            .is_some_and(|at| at <= Instant::now())
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let pipe = &mut *locked(&self.pipe);
        if pipe.fin.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW.saturating_sub(pipe.bytes);
        if room == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut bytes = BytesMut::new();
        for buffer in buffers {
            let some = buffer.len().min(room - bytes.len());
            bytes.extend_from_slice(&buffer[..some]);
        }
        let sent = bytes.len();
        let mut state = self.world.state();
        let arrives = pipe.arrival(&mut state);
        if pipe.reader_gone {
            // Nobody is there: the machine says so, if it can.
            if state.powered(*pipe.to.ip()) {
                locked(&self.back).reset(&mut state);
            }
            return Poll::Ready(Ok(sent));
        }
        pipe.segments.push_back((arrives, bytes.freeze()));
        pipe.bytes += sent;
        pipe.wake_reader();
        Poll::Ready(Ok(sent))
    }

    fn finish(&self) {
        let mut pipe = locked(&self.pipe);
        let mut state = self.world.state();
        if pipe.fin.is_none() && state.powered(*pipe.from.ip()) {
            let arrives = pipe.arrival(&mut state);
            pipe.fin = Some(arrives);
            pipe.wake_reader();
        }
    }
}

impl AsyncWrite for SimWriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.send(context, &[io::IoSlice::new(buffer)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.send(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimWriteHalf {
    fn drop(&mut self) {
        self.finish();
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(context, buffer)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(context, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(context)
    }
}

/// Connections that nobody has accepted yet: the kernel took them.
#[derive(Default)]
pub(super) struct Backlog {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    streams: VecDeque<(SimStream, SocketAddr)>,
    accepting: Option<Waker>,
}

/// A simulated listener.
pub struct SimListener {
    world: World,
    address: SocketAddrV4,
    backlog: Arc<Backlog>,
}

impl SimListener {
    /// Takes a port of the machine that this code runs on (0: any).
    ///
    /// # Errors
    /// `AddrInUse`.
    pub fn bind(world: &World, port: u16) -> io::Result<Self> {
        let machine = process::machine();
        let mut state = world.state();
        let port = match port {
            0 => state.ephemeral(machine),
            port => port,
        };
        let listeners = &mut state.machine(machine).listeners;
        if listeners.contains_key(&port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let backlog = Arc::new(Backlog::default());
        listeners.insert(port, backlog.clone());
        Ok(Self {
            world: world.clone(),
            address: SocketAddrV4::new(machine, port),
            backlog,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address.into()
    }

    /// The next connection.
    pub async fn accept(&self) -> (SimStream, SocketAddr) {
        poll_fn(|context| {
            let mut waiting = locked(&self.backlog.waiting);
            match waiting.streams.pop_front() {
                Some(accepted) => Poll::Ready(accepted),
                None => {
                    waiting.accepting = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut state = self.world.state();
        let listeners = &mut state.machine(*self.address.ip()).listeners;
        let dropped = listeners.remove(&self.address.port());
        drop(state);
        // Connections that wait are closed, which asks the world again.
        drop(dropped);
        let waiting = std::mem::take(&mut *locked(&self.backlog.waiting));
        drop(waiting);
    }
}

/// Connects from the machine that this code runs on. Waits for as long as the link is cut or the
/// machine over there has no power: the caller sets the deadline.
///
/// # Errors
/// `ConnectionRefused` when nobody listens.
pub async fn connect(world: &World, to: (Ipv4Addr, u16)) -> io::Result<SimStream> {
    let machine = process::machine();
    let far = SocketAddrV4::new(to.0, to.1);
    let near = SocketAddrV4::new(machine, world.state().ephemeral(machine));
    poll_fn(|context| {
        let mut state = world.state();
        let there = state.is_cut(near, far);
        let back = state.is_cut(far, near);
        if there || back || !state.powered(*far.ip()) {
            state.wake_on_change(context.waker());
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
    let takes = world.state().transit(near, far);
    sleep(takes).await;
    let backlog = world
        .state()
        .machine(*far.ip())
        .listeners
        .get(&far.port())
        .cloned();
    let connected = backlog.map(|backlog| {
        let (mine, theirs) = ends(world, near, far);
        let mut waiting = locked(&backlog.waiting);
        waiting.streams.push_back((theirs, near.into()));
        if let Some(waker) = waiting.accepting.take() {
            waker.wake();
        }
        mine
    });
    let takes = world.state().transit(far, near);
    sleep(takes).await;
    connected.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
}
