//! One connection: requests are read and begun in the order in which they come, and answered in
//! that order (invariant I25), several being in progress at once.
//!
//! The reader takes a frame, hands it to the [`Service`], whose call does at once everything
//! whose order matters, and queues the rest, a future. The writer awaits these futures one after
//! the other. Bounds: the queue's length, the size of a frame, the memory of large frames over
//! all connections ([`Budget`]), and a deadline for everything that the peer may be slow at.
//!
//! Whatever goes wrong ends this connection and nothing else: a malformed frame, a peer that
//! stops reading, a panic in a handler.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::chaos::seeded_bug::{BugSet, SeededBug};
use crate::invariants::{Invariant, uphold};
pub use crate::net::budget::Budget;
use crate::net::budget::Held;
use crate::net::contain::{self, Contained};
use crate::net::{self, OwnedReadHalf, OwnedWriteHalf, TcpStream};
use crate::wire::frame::{self, FrameError};

/// What is buffered of small requests, so that one system call brings many.
const READ_BUFFER: usize = 16 << 10;
/// A frame may take this long, and ...
const FRAME_PATIENCE: Duration = Duration::from_secs(10);
/// ... in addition this many bytes a second have to come.
const FRAME_BYTES_PER_SECOND: usize = 1 << 20;
/// Answers that are ready together are written together, up to this many pieces ...
const PIECES_PER_WRITE: usize = 64;
/// ... and this many bytes: beyond that the next answer is not begun before these are written,
/// so that who does not read costs one answer and not all that it asked for.
const BYTES_PER_WRITE: usize = 1 << 20;

/// What serves requests.
pub trait Service: Send + Sync + 'static {
    /// Waits until there is room for the request in `frame`; meanwhile nothing more is read from
    /// its connection.
    fn admit(&self, frame: &Bytes) -> impl Future<Output = ()> + Send {
        let _ = frame;
        std::future::ready(())
    }

    /// Whether the bytes of the request in `frame` are needed until it is answered. If not, its
    /// memory is free for others as soon as it was begun.
    fn keeps(&self, frame: &Bytes) -> bool {
        let _ = frame;
        true
    }

    /// Begins the request in `frame` (without its length field): what matters in order is done
    /// when this returns, the future is the rest.
    fn call(&self, frame: Bytes) -> PendingAnswer;
}

/// The rest of a request.
pub type PendingAnswer = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What leaves the connection for one request.
#[derive(Debug)]
pub enum Answer {
    /// These pieces, one after the other, length field included.
    Frame(Vec<Bytes>),
    /// Nothing (acks=0).
    Silence,
    /// The connection is closed; why.
    Close(String),
}

/// What one connection may take up.
#[derive(Clone)]
pub struct Limits {
    /// Largest frame, in bytes.
    pub max_frame_bytes: usize,
    /// Requests in progress at once.
    pub max_in_flight: usize,
    /// Until the first request is here; keeps those out who only hold a place.
    pub first_request: Duration,
    /// Between two requests (`connections.max.idle.ms`).
    pub idle: Duration,
    /// For which a peer may not read its answers.
    pub write_stall: Duration,
    /// For answers that are not ready when the peer has ended its side: it may have gone
    /// altogether, which nothing tells before something is written.
    pub after_end: Duration,
    /// Shared by all connections.
    pub budget: Budget,
    /// Rules that are switched off.
    pub bugs: BugSet,
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The peer closed it between requests, or was told to go because the broker stops.
    #[error("closed")]
    Closed,
    /// The peer was silent.
    #[error("no request for {0:?}")]
    Idle(Duration),
    /// A frame did not arrive in time.
    #[error("a request of {length} bytes did not arrive within {patience:?}")]
    SlowFrame {
        /// Its length.
        length: usize,
        /// The deadline.
        patience: Duration,
    },
    /// A frame came so slowly that others, who waited for the memory it held, went first.
    #[error(
        "a request came too slowly while memory was short: {received} of {length} bytes are here; \
         send smaller batches, or give more max-queued-request-bytes"
    )]
    Displaced {
        /// Bytes that came.
        received: usize,
        /// Bytes announced.
        length: usize,
    },
    /// The peer does not read.
    #[error("the peer read nothing for {0:?}")]
    WriteStall(Duration),
    /// Not a frame, or the socket failed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The socket failed while an answer was written.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
    /// A request that is not served.
    #[error("{0}")]
    Refused(String),
    /// A handler panicked.
    #[error("a handler panicked: {0}")]
    Panic(String),
}

impl End {
    /// Whether it is worth a line at a higher level than debug.
    #[must_use]
    pub fn is_complaint(&self) -> bool {
        match self {
            End::Closed | End::Idle(_) | End::Write(_) => false,
            End::Frame(FrameError::Io(_)) => false,
            End::Frame(_) | End::SlowFrame { .. } | End::Displaced { .. } => true,
            End::WriteStall(_) => true,
            End::Refused(_) | End::Panic(_) => true,
        }
    }
}

/// One request in progress.
struct Begun {
    /// How many came before it on this connection.
    number: u64,
    answer: PendingAnswer,
    /// Given back when the answer is written.
    memory: Option<Held>,
}

/// Serves `stream` until either side ends it. `stop` turning true ends it after the requests that
/// were begun have been answered.
pub async fn serve<S: Service>(
    stream: TcpStream,
    service: Arc<S>,
    limits: Limits,
    stop: watch::Receiver<bool>,
) -> End {
    let (read_half, write_half) = stream.into_split();
    let served = both_ways(read_half, write_half, &*service, &limits, stop);
    match Contained::new(served).await {
        Ok(end) => end,
        Err(panic) => End::Panic(contain::message(&*panic)),
    }
}

async fn both_ways<S: Service>(
    read_half: OwnedReadHalf,
    write_half: OwnedWriteHalf,
    service: &S,
    limits: &Limits,
    stop: watch::Receiver<bool>,
) -> End {
    let (begun, in_progress) = mpsc::channel(limits.max_in_flight);
    let mut reader = pin!(read_requests(read_half, begun, service, limits, stop));
    let read_ended = watch::Sender::new(None);
    let mut writer = pin!(write_answers(
        write_half,
        in_progress,
        limits,
        read_ended.subscribe()
    ));
    let mut why_read_ended = None;
    loop {
        tokio::select! {
            biased;
            // Ends when everything begun was answered or given up, or at once when it cannot go
            // on.
            written = &mut writer => {
                return match (written, why_read_ended) {
                    (Ok(()), Some(end)) => end,
                    (Ok(()), None) => End::Closed,
                    (Err(end), _) => end,
                };
            }
            end = &mut reader, if why_read_ended.is_none() => {
                why_read_ended = Some(end);
                read_ended.send_replace(Some(Instant::now()));
            }
        }
    }
}

/// Reads until there is no more to read. What was begun is answered nevertheless, within
/// [`Limits::after_end`].
async fn read_requests<S: Service>(
    read_half: OwnedReadHalf,
    begun: mpsc::Sender<Begun>,
    service: &S,
    limits: &Limits,
    mut stop: watch::Receiver<bool>,
) -> End {
    let mut reader = BufReader::with_capacity(READ_BUFFER, read_half);
    let mut patience = limits.first_request;
    let mut number = 0;
    loop {
        // A place in the queue first: while it is full nothing is read, and TCP holds the peer.
        let Ok(place) = begun.reserve().await else {
            return End::Closed;
        };
        let frame = tokio::select! {
            biased;
            () = net::stopped(&mut stop) => return End::Closed,
            frame = next_frame(&mut reader, limits, patience) => frame,
        };
        match frame {
            Ok(Some((frame, memory))) => {
                service.admit(&frame).await;
                let memory = service.keeps(&frame).then_some(memory);
                place.send(Begun {
                    number,
                    answer: service.call(frame),
                    memory,
                });
                number += 1;
            }
            Ok(None) => return End::Closed,
            Err(end) => return end,
        }
        patience = limits.idle;
    }
}

async fn next_frame(
    reader: &mut BufReader<OwnedReadHalf>,
    limits: &Limits,
    patience: Duration,
) -> Result<Option<(Bytes, Held)>, End> {
    let length = match timeout(patience, frame::read_length(reader, limits.max_frame_bytes)).await {
        Ok(Ok(Some(length))) => length,
        Ok(Ok(None)) => return Ok(None),
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(End::Idle(patience)),
    };
    let mut memory = limits.budget.open();
    let frame = read_body(reader, length, &mut memory, &limits.budget).await?;
    Ok(Some((frame, memory)))
}

/// Reads `length` bytes, taking memory for them as they come. Time spent waiting for memory is
/// not the peer's.
async fn read_body(
    reader: &mut BufReader<OwnedReadHalf>,
    length: usize,
    memory: &mut Held,
    budget: &Budget,
) -> Result<Bytes, End> {
    let seconds = u64::try_from(length / FRAME_BYTES_PER_SECOND).unwrap_or(u64::MAX);
    let patience = FRAME_PATIENCE + Duration::from_secs(seconds);
    let scarcity = budget.scarcity();
    let mut now = Instant::now();
    let mut deadline = now + patience;
    let mut period = (now + scarcity.period, 0);
    let mut body = BytesMut::new();
    while body.len() < length {
        if body.len() == body.capacity() {
            let capacity = frame::next_capacity(&body, length);
            memory.grow(capacity).await;
            body.reserve(capacity - body.len());
            let waited = now.elapsed();
            deadline += waited;
            period.0 += waited;
        }
        let more = frame::read_more(reader, &mut body, length);
        if let Ok(read) = timeout_at(deadline.min(period.0), more).await {
            read?;
        }
        now = Instant::now();
        if now >= deadline && body.len() < length {
            return Err(End::SlowFrame { length, patience });
        }
        if now >= period.0 {
            let received = body.len();
            if received < length && memory.is_wanted() && received - period.1 < scarcity.bytes {
                return Err(End::Displaced { received, length });
            }
            period = (now + scarcity.period, received);
        }
    }
    Ok(body.freeze())
}

/// Writes answers in the order of their requests until the reader has ended and all are written
/// or given up.
async fn write_answers<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut in_progress: mpsc::Receiver<Begun>,
    limits: &Limits,
    mut read_ended: ReadEnded,
) -> Result<(), End> {
    if limits.bugs.has(SeededBug::ResponseOutOfOrder) {
        return write_as_ready(writer, in_progress, limits).await;
    }
    let mut pieces = VecDeque::new();
    // Given back after the answers are written.
    let mut memory = Vec::new();
    let mut turn = 0..;
    while let Some(mut next) = in_progress.recv().await {
        let Some(mut answer) = wait_for(&mut next.answer, limits, &mut read_ended).await else {
            return Ok(());
        };
        loop {
            let in_order = turn.next() == Some(next.number);
            uphold(Invariant::AnswersInOrder, limits.bugs, in_order);
            memory.push(next.memory);
            match answer {
                Answer::Frame(parts) => pieces.extend(parts),
                Answer::Silence => {}
                Answer::Close(why) => {
                    write_pieces(&mut writer, &mut pieces, limits.write_stall).await?;
                    return Err(End::Refused(why));
                }
            }
            if is_much(&pieces) {
                break;
            }
            // What is ready goes with it; what is not is waited for after the write.
            match in_progress.try_recv() {
                Err(_) => break,
                Ok(begun) => next = begun,
            }
            answer = match poll_once(&mut next.answer).await {
                Poll::Ready(answer) => answer,
                Poll::Pending => {
                    write_pieces(&mut writer, &mut pieces, limits.write_stall).await?;
                    memory.clear();
                    match wait_for(&mut next.answer, limits, &mut read_ended).await {
                        Some(answer) => answer,
                        None => return Ok(()),
                    }
                }
            };
        }
        write_pieces(&mut writer, &mut pieces, limits.write_stall).await?;
        memory.clear();
    }
    Ok(())
}

/// M46: writes answers as they are ready.
async fn write_as_ready<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut in_progress: mpsc::Receiver<Begun>,
    limits: &Limits,
) -> Result<(), End> {
    let mut ready = FuturesUnordered::new();
    let mut turn = 0..;
    loop {
        let (number, answer) = tokio::select! {
            biased;
            Some(answered) = ready.next(), if !ready.is_empty() => answered,
            begun = in_progress.recv() => match begun {
                Some(begun) => {
                    ready.push(async move { (begun.number, begun.answer.await) });
                    continue;
                }
                None => match ready.next().await {
                    Some(answered) => answered,
                    None => return Ok(()),
                },
            },
        };
        let in_order = turn.next() == Some(number);
        uphold(Invariant::AnswersInOrder, limits.bugs, in_order);
        match answer {
            Answer::Frame(parts) => {
                let mut pieces = VecDeque::from(parts);
                write_pieces(&mut writer, &mut pieces, limits.write_stall).await?;
            }
            Answer::Silence => {}
            Answer::Close(why) => return Err(End::Refused(why)),
        }
    }
}

/// When the read half ended, once it has.
type ReadEnded = watch::Receiver<Option<Instant>>;

/// The answer, unless it takes too long and nobody may be there to read it.
async fn wait_for(
    answer: &mut PendingAnswer,
    limits: &Limits,
    read_ended: &mut ReadEnded,
) -> Option<Answer> {
    let given_up = async {
        let ended = match read_ended.wait_for(Option::is_some).await {
            Ok(ended) => *ended,
            // Only when this connection is dropped as a whole.
            Err(_) => None,
        };
        match ended {
            Some(at) => tokio::time::sleep_until(at + limits.after_end).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        answer = answer.as_mut() => Some(answer),
        () = given_up => None,
    }
}

/// Whether it is time to write.
fn is_much(pieces: &VecDeque<Bytes>) -> bool {
    let bytes = || pieces.iter().map(Bytes::len).sum::<usize>();
    pieces.len() >= PIECES_PER_WRITE || bytes() >= BYTES_PER_WRITE
}

async fn poll_once(answer: &mut PendingAnswer) -> Poll<Answer> {
    std::future::poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await
}

/// Writes all pieces without joining them first.
async fn write_pieces<W: AsyncWrite + Unpin>(
    writer: &mut W,
    pieces: &mut VecDeque<Bytes>,
    stall: Duration,
) -> Result<(), End> {
    while !pieces.is_empty() {
        let written = {
            let slices: Vec<_> = pieces
                .iter()
                .take(PIECES_PER_WRITE)
                .map(|piece| io::IoSlice::new(piece))
                .collect();
            match timeout(stall, writer.write_vectored(&slices)).await {
                Ok(Ok(0)) => return Err(End::Write(io::ErrorKind::WriteZero.into())),
                Ok(Ok(written)) => written,
                Ok(Err(error)) => return Err(End::Write(error)),
                Err(_) => return Err(End::WriteStall(stall)),
            }
        };
        advance(pieces, written);
    }
    Ok(())
}

/// Takes `written` bytes off the front.
fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = pieces.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        pieces.pop_front();
    }
}

#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
