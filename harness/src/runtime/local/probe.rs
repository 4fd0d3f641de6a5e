//! Measurements of the links from inside: connections that go through the same doors as those of
//! brokers and clients, on behalf of a node or of the clients.
//!
//! That the kernel accepts at a door says nothing, so a measured connection carries a ticket: the
//! door tells when the connection has crossed the link to the broker and back, and how many bytes
//! the broker's kernel has taken.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nemesis::agent::{Flood, ProbeResult};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::links::End;

/// As long as nothing is known of a measured connection it is on its way.
type Opened = Option<Result<(), String>>;

/// What a door tells of a measured connection.
#[derive(Debug)]
pub struct Ticket {
    /// On whose behalf it is made.
    pub caller: End,
    opened: watch::Sender<Opened>,
    carried: watch::Sender<usize>,
}

impl Ticket {
    /// It has crossed the link and come back, or why it never will.
    pub fn opened(&self, how: Result<(), String>) {
        self.opened.send_replace(Some(how));
    }

    /// So many more bytes were taken by the broker's kernel.
    pub fn carried(&self, bytes: usize) {
        self.carried.send_modify(|sum| *sum += bytes);
    }
}

/// Tickets of connections that no door has seen yet, by the address that they come from.
#[derive(Debug, Default)]
pub struct Tickets {
    waiting: Mutex<HashMap<SocketAddr, Ticket>>,
}

/// A measured connection.
struct Measured {
    stream: TcpStream,
    opened: watch::Receiver<Opened>,
    carried: watch::Receiver<usize>,
}

impl Tickets {
    /// The ticket of the connection that comes from there, if it has one.
    pub fn take(&self, from: SocketAddr) -> Option<Ticket> {
        self.waiting().remove(&from)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<SocketAddr, Ticket>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, caller: End, door: SocketAddr) -> io::Result<Measured> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let here = socket.local_addr()?;
        let ((opened, is_open), (carried, is_carried)) = (watch::channel(None), watch::channel(0));
        let ticket = Ticket {
            caller,
            opened,
            carried,
        };
        self.waiting().insert(here, ticket);
        let connected = socket.connect(door).await;
        if connected.is_err() {
            self.take(here);
        }
        Ok(Measured {
            stream: connected?,
            opened: is_open,
            carried: is_carried,
        })
    }
}

/// How a probe goes: through a door, or to a listener that has none.
#[derive(Clone)]
pub enum Path {
    /// On whose behalf.
    Door(Arc<Tickets>, End),
    /// Straight to it: a node and itself, or a listener that no link leads to.
    Straight,
}

/// Connects to `address`, and asks if something is to be said. The result is about `to`, which is
/// how the nemesis calls that address.
pub async fn probe(
    path: Path,
    address: SocketAddr,
    to: SocketAddrV4,
    limit: Duration,
    say: Option<&str>,
) -> ProbeResult {
    let mut result = ProbeResult {
        to,
        connect_us: None,
        answer_us: None,
        error: None,
    };
    let began = Instant::now();
    let mut stream = match timeout(limit, open(&path, address)).await {
        Ok(Ok(opened)) => opened.stream,
        Ok(Err(why)) => {
            result.error = Some(why);
            return result;
        }
        Err(_) => {
            result.error = Some(TIMEOUT.to_owned());
            return result;
        }
    };
    result.connect_us = Some(micros(began));
    let Some(say) = say else {
        return result;
    };
    let asked = Instant::now();
    let answer = async {
        stream.write_all(say.as_bytes()).await?;
        stream.read_u8().await
    };
    match timeout(limit, answer).await {
        Ok(Ok(_)) => result.answer_us = Some(micros(asked)),
        Ok(Err(error)) => result.error = Some(name(&error)),
        Err(_) => result.error = Some(TIMEOUT.to_owned()),
    }
    result
}

/// Sends so many bytes: the beginning of a request that never ends. `answer_us` is the time until
/// the broker's kernel has them all.
pub async fn flood(path: Path, address: SocketAddr, order: &Flood) -> ProbeResult {
    /// Below what brokers take for hostile.
    const ANNOUNCED: u32 = 900 << 10;
    let limit = Duration::from_millis(order.timeout_ms.max(1).into());
    let mut result = ProbeResult {
        to: order.to,
        connect_us: None,
        answer_us: None,
        error: None,
    };
    let began = Instant::now();
    let sending = async {
        let mut opened = open(&path, address).await?;
        let open_us = micros(began);
        let bytes = order.bytes.min(ANNOUNCED) as usize;
        let begun = Instant::now();
        let sent = async {
            opened.stream.write_all(&ANNOUNCED.to_be_bytes()).await?;
            opened.stream.write_all(&vec![0; bytes]).await
        };
        sent.await.map_err(|error| name(&error))?;
        let carried = opened.carried.wait_for(|sum| *sum >= bytes).await;
        carried.map_err(|_| "reset".to_owned())?;
        Ok((open_us, micros(begun)))
    };
    match timeout(limit, sending).await {
        Ok(Ok((open_us, sent_us))) => {
            result.connect_us = Some(open_us);
            result.answer_us = Some(sent_us);
        }
        Ok(Err(why)) => result.error = Some(why),
        Err(_) => result.error = Some(TIMEOUT.to_owned()),
    }
    result
}

async fn open(path: &Path, address: SocketAddr) -> Result<Measured, String> {
    match path {
        Path::Door(tickets, caller) => {
            let connected = tickets.connect(*caller, address).await;
            let mut measured = connected.map_err(|error| name(&error))?;
            let opened = measured.opened.wait_for(Option::is_some).await;
            // The door let go of the ticket without a word: its connection was reset.
            let opened =
                opened.map_or(Err("reset".to_owned()), |how| how.clone().unwrap_or(Ok(())));
            opened.map(|()| measured)
        }
        Path::Straight => {
            let stream = TcpStream::connect(address).await;
            let stream = stream.map_err(|error| name(&error))?;
            let (_, opened) = watch::channel(Some(Ok(())));
            // Nobody counts on it.
            let (_, carried) = watch::channel(usize::MAX);
            Ok(Measured {
                stream,
                opened,
                carried,
            })
        }
    }
}

const TIMEOUT: &str = "timeout";

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn name(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => TIMEOUT.to_owned(),
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::ConnectionReset => "reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed".to_owned(),
        _ => error.to_string(),
    }
}
