//! Where clients come to in place of a broker's own listener.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nemesis::wire::{WireOrder, WireStatus};
use nemesis::{ClusterError, NodeId};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::Wire;
use super::address::Addresses;
use super::pump::{Pump, reset};

/// After an accept that failed (no descriptors left, as a rule).
const PAUSE: Duration = Duration::from_millis(100);

/// The place of one broker; closed when dropped, with all its connections.
pub struct Front {
    /// Where clients come to.
    pub address: SocketAddr,
    /// What is done to what goes through.
    pub wire: Arc<Wire>,
    behind: Arc<Mutex<(String, u16)>>,
    serving: AbortHandle,
}

impl Front {
    /// Opens one in front of a broker's listener, on the loopback. Where the broker names itself,
    /// `addresses` put in its place where clients are to come.
    ///
    /// # Errors
    /// Where no port is left.
    pub fn open(behind: (String, u16), addresses: Weak<Addresses>) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let wire: Arc<Wire> = Arc::default();
        let behind = Arc::new(Mutex::new(behind));
        let serving = tokio::spawn(serve(listener, wire.clone(), behind.clone(), addresses));
        Ok(Self {
            address,
            wire,
            behind,
            serving: serving.abort_handle(),
        })
    }

    /// The broker has another address now.
    pub fn moves_to(&self, behind: (String, u16)) {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = behind;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    listener: TcpListener,
    wire: Arc<Wire>,
    behind: Arc<Mutex<(String, u16)>>,
    addresses: Weak<Addresses>,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                let behind = behind.lock().unwrap_or_else(PoisonError::into_inner);
                let behind = behind.clone();
                let (wire, addresses) = (wire.clone(), addresses.clone());
                connections.spawn(async move { carry(client, behind, &wire, &addresses).await });
            }
            Err(error) => {
                tracing::debug!("accepting a client: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn carry(client: TcpStream, behind: (String, u16), wire: &Wire, addresses: &Weak<Addresses>) {
    // An error means that the client is gone already, which shows.
    let _ = client.set_nodelay(true);
    let broker = TcpStream::connect((behind.0.as_str(), behind.1)).await;
    let Ok(broker) = broker else {
        reset(&client);
        return;
    };
    let _ = broker.set_nodelay(true);
    let addresses = addresses.upgrade();
    let pump = Pump {
        wire,
        addresses: addresses.as_deref(),
    };
    pump.run(client, broker).await;
}

/// A front for each broker of a cluster of ours.
#[derive(Default)]
pub struct Fronts {
    fronts: BTreeMap<NodeId, (Front, SocketAddr)>,
}

impl Fronts {
    /// Opens one in front of the client listener of a node, and says where it is.
    ///
    /// # Errors
    /// Where no port is left.
    pub fn open(&mut self, node: NodeId, behind: SocketAddr) -> io::Result<SocketAddr> {
        let host = behind.ip().to_string();
        // The broker advertises the front itself: nothing is to be put in its place.
        let front = Front::open((host, behind.port()), Weak::new())?;
        let address = front.address;
        self.fronts.insert(node, (front, behind));
        Ok(address)
    }

    /// The address behind the front of a node, if it has one.
    #[must_use]
    pub fn behind(&self, node: NodeId) -> Option<SocketAddr> {
        self.fronts.get(&node).map(|(_, behind)| *behind)
    }

    /// See [`nemesis::Cluster::wire`].
    ///
    /// # Errors
    /// Where the cluster was brought up without fronts.
    pub fn obey(&self, node: NodeId, order: &WireOrder) -> Result<Vec<WireStatus>, ClusterError> {
        match self.fronts.get(&node) {
            Some((front, _)) => Ok(front.wire.obey(order)),
            None => Err(ClusterError::Refused {
                what: "a fault of the wire".to_owned(),
                node,
                why: "nothing stands between it and its clients".to_owned(),
            }),
        }
    }

    /// Closes all.
    pub fn close(&mut self) {
        self.fronts.clear();
    }
}
