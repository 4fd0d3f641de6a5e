//! The door in front of one listener of a broker: everybody who wants in comes through it, and
//! what the nemesis does to links is done here.
//!
//! The kernel accepts on the door's behalf, cut or not. What a packet of TCP would do is done by
//! what follows: the opening of the connection crosses the link to the broker and back before any
//! byte does, and the end of a stream, in good order or not, crosses it after the last byte.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use nemesis::NodeId;

use super::caller::Callers;
use super::links::{Direction, Links, Route, Standing};
use super::probe::{Ticket, Tickets};

/// Portions on their way over one link, in one direction; then its sender has to wait.
const PORTIONS_MAX: usize = 128;
/// Between two looks whether somebody who waits for a connection is still there.
const PATIENCE: Duration = Duration::from_millis(50);
/// After an accept that failed (no descriptors left, as a rule).
const PAUSE: Duration = Duration::from_millis(100);

/// A door.
pub struct Door {
    /// Whose.
    pub node: NodeId,
    /// Where it is.
    pub listener: TcpListener,
    /// Where the broker listens.
    pub behind: SocketAddr,
    /// What the nemesis does.
    pub links: Arc<Links>,
    /// Who calls.
    pub callers: Arc<Callers>,
    /// Connections that are measurements.
    pub tickets: Arc<Tickets>,
}

impl Door {
    /// Lets in who comes, until it is dropped; all connections end with it.
    pub async fn serve(self) -> io::Result<()> {
        let here = self.listener.local_addr()?;
        let door = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            match door.listener.accept().await {
                Ok((stream, from)) => {
                    let door = door.clone();
                    connections.spawn(async move { door.admit(stream, from, here).await });
                }
                Err(error) => {
                    tracing::debug!("{here}: {error}");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn admit(&self, stream: TcpStream, from: SocketAddr, here: SocketAddr) {
        // An error means that the other end is gone, which shows soon enough.
        let _ = stream.set_nodelay(true);
        let ticket = self.tickets.take(from);
        let caller = match &ticket {
            Some(ticket) => ticket.caller,
            None => self.callers.of(from, here).await,
        };
        let Some(standing) = self.links.stand(caller, self.node, here.port()) else {
            reset(stream);
            refuse(ticket, "refused");
            return;
        };
        let opening = self.open(&stream, &standing.route);
        let opened = tokio::select! {
            biased;
            () = standing.reset() => Err("reset"),
            opened = opening => opened,
        };
        let broker = match opened {
            Ok(broker) => broker,
            Err(why) => {
                reset(stream);
                refuse(ticket, why);
                return;
            }
        };
        if let Some(ticket) = &ticket {
            ticket.opened(Ok(()));
        }
        carry(&self.links, &standing, stream, broker, ticket.as_ref()).await;
    }

    /// There and back over the link, as the packets that open a connection go.
    async fn open(&self, caller: &TcpStream, route: &Route) -> Result<TcpStream, &'static str> {
        let crossing = async |direction| {
            let due = self.links.due(route, direction, 0);
            self.links.pass(route, direction, due, 0).await;
        };
        let dial = async {
            crossing(Direction::Forward).await;
            let broker = TcpStream::connect(self.behind).await;
            let broker = broker.map_err(|_| "refused")?;
            // As above: a broker that is gone already shows.
            let _ = broker.set_nodelay(true);
            crossing(Direction::Backward).await;
            Ok(broker)
        };
        tokio::select! {
            biased;
            opened = dial => opened,
            () = hung_up(caller) => Err("the caller hung up"),
        }
    }
}

fn refuse(ticket: Option<Ticket>, why: &str) {
    if let Some(ticket) = ticket {
        ticket.opened(Err(why.to_owned()));
    }
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    // An error means that it is closed already.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// Returns when nobody is there any more who waits for the connection.
async fn hung_up(caller: &TcpStream) {
    loop {
        match caller.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => sleep(PATIENCE).await,
            _ => return,
        }
    }
}

/// What crosses a link after the opening.
enum What {
    Bytes(Vec<u8>),
    /// The sender says no more.
    End,
    /// The connection is no more.
    Reset,
}

struct Portion {
    due: Instant,
    what: What,
}

/// Both ends are to be told at once.
struct Broken;

/// Carries bytes both ways until both ends have said their last, or the connection is reset.
async fn carry(
    links: &Links,
    standing: &Standing,
    caller: TcpStream,
    broker: TcpStream,
    ticket: Option<&Ticket>,
) {
    let route = &standing.route;
    let (mut from_caller, mut to_caller) = caller.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let (forth, forth_end) = mpsc::channel(PORTIONS_MAX);
    let (back, back_end) = mpsc::channel(PORTIONS_MAX);
    let way = |direction| Way {
        links,
        route,
        direction,
    };
    let (forward, backward) = (way(Direction::Forward), way(Direction::Backward));
    let both = async {
        tokio::try_join!(
            forward.take(&mut from_caller, forth.clone()),
            backward.take(&mut from_broker, back.clone()),
            forward.put(&mut to_broker, forth_end, back, ticket),
            backward.put(&mut to_caller, back_end, forth, None),
        )
    };
    let ended = tokio::select! {
        biased;
        () = standing.reset() => Err(Broken),
        ended = both => ended.map(|_| ()),
    };
    if ended.is_err() {
        for half in [&to_caller, &to_broker] {
            let stream: &TcpStream = half.as_ref();
            // An error means that it is closed already.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        // Without a word of good bye.
        to_caller.forget();
        to_broker.forget();
    }
}

/// One direction of one connection.
struct Way<'a> {
    links: &'a Links,
    route: &'a Route,
    direction: Direction,
}

impl Way<'_> {
    /// Takes from the sender what it sends.
    async fn take(
        &self,
        sender: &mut OwnedReadHalf,
        link: mpsc::Sender<Portion>,
    ) -> Result<(), Broken> {
        loop {
            let mut bytes = vec![0; self.links.portion(self.route, self.direction)];
            let what = match sender.read(&mut bytes).await {
                Ok(0) => What::End,
                Ok(got) => {
                    bytes.truncate(got);
                    bytes.shrink_to_fit();
                    What::Bytes(bytes)
                }
                Err(_) => What::Reset,
            };
            let (size, last) = match &what {
                What::Bytes(bytes) => (bytes.len(), false),
                _ => (0, true),
            };
            let due = self.links.due(self.route, self.direction, size);
            if link.send(Portion { due, what }).await.is_err() || last {
                return Ok(());
            }
        }
    }

    /// Gives the receiver what has crossed the link. A receiver that is gone says so over the
    /// link `back`, as its kernel would.
    async fn put(
        &self,
        receiver: &mut OwnedWriteHalf,
        mut link: mpsc::Receiver<Portion>,
        back: mpsc::Sender<Portion>,
        ticket: Option<&Ticket>,
    ) -> Result<(), Broken> {
        let mut back = Some(back);
        let mut gone = false;
        while let Some(Portion { due, what }) = link.recv().await {
            let size = match &what {
                What::Bytes(bytes) => bytes.len(),
                _ => 0,
            };
            let (route, direction) = (self.route, self.direction);
            self.links.pass(route, direction, due, size).await;
            match what {
                What::Bytes(bytes) if !gone => {
                    gone = receiver.write_all(&bytes).await.is_err();
                    if gone && let Some(back) = &back {
                        let due = self.links.due(route, direction.other(), 0);
                        let what = What::Reset;
                        // Nobody to be told any more: then it is known.
                        let _ = back.send(Portion { due, what }).await;
                    } else if let Some(ticket) = ticket {
                        ticket.carried(size);
                    }
                }
                What::Bytes(_) => {}
                What::End => {
                    // An error means that the receiver is gone.
                    let _ = receiver.shutdown().await;
                    back = None;
                }
                What::Reset => return Err(Broken),
            }
        }
        Ok(())
    }
}
