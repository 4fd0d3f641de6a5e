//! The one place where sockets are touched: listeners, connections, outgoing connections.
//!
//! Everything else works on what is re-exported here, so that a simulation can put its own
//! network in its place.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use tokio::sync::watch;

use crate::meta::image::Endpoint;

pub mod budget;
pub mod client;
pub mod connection;
pub mod contain;
pub mod listener;
mod stream;

pub use stream::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};

/// Connections that the kernel completes and keeps while `accept` is busy.
const BACKLOG: i32 = 1024;

/// Which door a request came through: each serves its own APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenerKind {
    /// Kafka clients.
    Client,
    /// Followers of this broker's partitions.
    Replication,
}

impl ListenerKind {
    /// For logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ListenerKind::Client => "client",
            ListenerKind::Replication => "replication",
        }
    }
}

/// Listens on `address`. A port whose last owner was just killed can be bound again at once.
///
/// # Errors
/// The address with what the operating system said.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    #[cfg(feature = "simulation")]
    if let Some(world) = crate::sim::world::current() {
        let bound = crate::sim::net::SimListener::bind(&world, address.port());
        return bound.map(TcpListener::Simulated);
    }
    let attempt = || -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        tokio::net::TcpListener::from_std(socket.into()).map(TcpListener::Kernel)
    };
    attempt().map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
}

/// Connects to `endpoint` (name or address), with [`tune`] applied.
///
/// # Errors
/// Kind `TimedOut` after `timeout`; else what the operating system said, with the endpoint.
pub async fn connect(endpoint: &Endpoint, timeout: Duration) -> io::Result<TcpStream> {
    let Endpoint { host, port } = endpoint;
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{host}:{port}: {error}"));
    match tokio::time::timeout(timeout, dial(host, *port)).await {
        Ok(Ok(stream)) => tune(&stream).map(|()| stream).map_err(named),
        Ok(Err(error)) => Err(named(error)),
        Err(_) => Err(named(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no connection within {timeout:?}"),
        ))),
    }
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    #[cfg(feature = "simulation")]
    if let Some(world) = crate::sim::world::current() {
        let machine = host.parse().map_err(io::Error::other)?;
        let connected = crate::sim::net::connect(&world, (machine, port)).await;
        return connected.map(TcpStream::Simulated);
    }
    let connected = tokio::net::TcpStream::connect((host, port)).await;
    connected.map(TcpStream::Kernel)
}

/// No delay for small frames, and probes that find out when the peer is gone without a word.
///
/// # Errors
/// When the socket is gone already.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    // Exhaustive only with simulated streams, which need no tuning.
    #[cfg_attr(not(feature = "simulation"), expect(irrefutable_let_patterns))]
    let TcpStream::Kernel(stream) = stream else {
        return Ok(());
    };
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Ends when `stop` turns true, or nobody can turn it any more.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that nobody can.
    let _ = stop.wait_for(|stop| *stop).await;
}
