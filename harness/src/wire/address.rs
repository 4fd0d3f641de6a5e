//! Somebody else's brokers name themselves in their answers; clients that go there go around us.
//! So each broker that is named gets a front, and the front's address stands in its place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, DescribeClusterResponse, FetchResponse,
    FindCoordinatorResponse, MetadataResponse, ProduceResponse,
};
use kafka_protocol::protocol::{Message, StrBytes, VersionRange};
use nemesis::wire::{WireOrder, WireStatus};
use nemesis::{ClusterError, NodeId};
use tokio::sync::Mutex;

use super::frame::Head;
use super::front::Front;
use super::shapes::{Shaped, decode, encode};

/// Answers that name brokers, with the versions that are understood. Others are not offered to
/// clients, so that no answer goes by in which a broker's address stands.
const NAMING: [(ApiKey, VersionRange); 5] = [
    (ApiKey::Produce, ProduceResponse::VERSIONS),
    (ApiKey::Fetch, FetchResponse::VERSIONS),
    (ApiKey::Metadata, MetadataResponse::VERSIONS),
    (ApiKey::FindCoordinator, FindCoordinatorResponse::VERSIONS),
    (ApiKey::DescribeCluster, DescribeClusterResponse::VERSIONS),
];
/// Answers that name brokers and are not understood: share groups'.
const UNOFFERED: [i16; 2] = [78, 79];
/// More brokers than anybody has: somebody makes them up.
const FRONTS_MAX: usize = 1_000;

/// A broker as an answer names it.
type Named<'a> = (BrokerId, &'a mut StrBytes, &'a mut i32);

/// The fronts of somebody else's cluster, by broker.
pub struct Addresses {
    fronts: Mutex<BTreeMap<i32, Front>>,
    me: Weak<Addresses>,
    /// Fronts of the addresses that clients begin with.
    first: Mutex<Vec<Front>>,
}

impl Addresses {
    /// No fronts yet.
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            fronts: Mutex::default(),
            me: me.clone(),
            first: Mutex::default(),
        })
    }

    /// Opens fronts for the addresses of `bootstrap.servers`, and says where they are, in the same
    /// form.
    ///
    /// # Errors
    /// Where an address has no port, or no port is left here.
    pub async fn begin(&self, bootstrap: &str) -> std::io::Result<String> {
        let mut ours = Vec::new();
        for address in bootstrap
            .split(',')
            .map(str::trim)
            .filter(|it| !it.is_empty())
        {
            let behind = address.rsplit_once(':').and_then(|(host, port)| {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                Some((host.to_owned(), port.parse().ok()?))
            });
            let wrong = || std::io::Error::other(format!("`{address}` is no HOST:PORT"));
            let front = Front::open(behind.ok_or_else(wrong)?, self.me.clone())?;
            ours.push(front.address.to_string());
            self.first.lock().await.push(front);
        }
        Ok(ours.join(","))
    }

    /// See [`nemesis::Cluster::wire`]; nodes have the numbers of their brokers.
    ///
    /// # Errors
    /// Where no answer has named that broker yet.
    pub async fn obey(
        &self,
        node: NodeId,
        order: &WireOrder,
    ) -> Result<Vec<WireStatus>, ClusterError> {
        let fronts = self.fronts.lock().await;
        let id = i32::try_from(node.0).unwrap_or(-1);
        let front = fronts.get(&id).ok_or(ClusterError::NoSuchNode(node))?;
        Ok(front.wire.obey(order))
    }

    /// Where clients are to come in place of that broker.
    async fn front_of(&self, id: i32, host: &str, port: i32) -> Option<SocketAddr> {
        let behind = (host.to_owned(), u16::try_from(port).ok()?);
        let mut fronts = self.fronts.lock().await;
        if let Some(front) = fronts.get(&id) {
            front.moves_to(behind);
            return Some(front.address);
        }
        if fronts.len() >= FRONTS_MAX {
            return None;
        }
        let front = Front::open(behind, self.me.clone()).ok()?;
        let address = front.address;
        fronts.insert(id, front);
        Some(address)
    }

    /// An answer with our addresses in place of the brokers'.
    pub async fn ours(&self, head: Head, answer: Bytes) -> Bytes {
        let changed = match head.api() {
            Some(ApiKey::ApiVersions) => offered(head, &answer),
            Some(ApiKey::Metadata) => self.renamed::<MetadataResponse>(head, &answer).await,
            Some(ApiKey::DescribeCluster) => {
                self.renamed::<DescribeClusterResponse>(head, &answer).await
            }
            Some(ApiKey::FindCoordinator) => {
                self.renamed::<FindCoordinatorResponse>(head, &answer).await
            }
            Some(ApiKey::Produce) => self.renamed::<ProduceResponse>(head, &answer).await,
            Some(ApiKey::Fetch) => self.renamed::<FetchResponse>(head, &answer).await,
            _ => None,
        };
        changed.unwrap_or(answer)
    }

    /// `None`: nobody is named, or nothing is understood.
    async fn renamed<M: Naming>(&self, head: Head, answer: &Bytes) -> Option<Bytes> {
        let at = head.answer_head().filter(|at| *at <= answer.len())?;
        let mut message: M = decode(head.version, &answer.slice(at..))?;
        let mut some = false;
        for (id, host, port) in message.named() {
            // Whoever is not there has no address.
            if host.is_empty() || id.0 < 0 {
                continue;
            }
            let front = self.front_of(id.0, host, *port).await?;
            *host = StrBytes::from_string(front.ip().to_string());
            *port = front.port().into();
            some = true;
        }
        some.then(|| encode(head.version, &answer[..at], &message))?
    }
}

/// A message in which brokers are named.
trait Naming: Shaped {
    /// All of them.
    fn named(&mut self) -> Vec<Named<'_>>;
}

impl Naming for MetadataResponse {
    fn named(&mut self) -> Vec<Named<'_>> {
        let brokers = self.brokers.iter_mut();
        brokers
            .map(|b| (b.node_id, &mut b.host, &mut b.port))
            .collect()
    }
}

impl Naming for DescribeClusterResponse {
    fn named(&mut self) -> Vec<Named<'_>> {
        let brokers = self.brokers.iter_mut();
        brokers
            .map(|b| (b.broker_id, &mut b.host, &mut b.port))
            .collect()
    }
}

impl Naming for FindCoordinatorResponse {
    fn named(&mut self) -> Vec<Named<'_>> {
        let several = self.coordinators.iter_mut();
        let mut all: Vec<Named<'_>> = several
            .map(|c| (c.node_id, &mut c.host, &mut c.port))
            .collect();
        // Up to version 3 there is one.
        all.push((self.node_id, &mut self.host, &mut self.port));
        all
    }
}

impl Naming for ProduceResponse {
    fn named(&mut self) -> Vec<Named<'_>> {
        let nodes = self.node_endpoints.iter_mut();
        nodes
            .map(|n| (n.node_id, &mut n.host, &mut n.port))
            .collect()
    }
}

impl Naming for FetchResponse {
    fn named(&mut self) -> Vec<Named<'_>> {
        let nodes = self.node_endpoints.iter_mut();
        nodes
            .map(|n| (n.node_id, &mut n.host, &mut n.port))
            .collect()
    }
}

/// What is offered to clients: of APIs whose answers name brokers, the versions that we know.
fn offered(head: Head, answer: &Bytes) -> Option<Bytes> {
    let at = head.answer_head().filter(|at| *at <= answer.len())?;
    let body = answer.slice(at..);
    // A version that the broker does not know is answered in the oldest form.
    let asked: Option<ApiVersionsResponse> = decode(head.version, &body);
    let (version, mut message) = match asked {
        Some(message) => (head.version, message),
        None => (0, decode(0, &body)?),
    };
    message
        .api_keys
        .retain(|api| !UNOFFERED.contains(&api.api_key));
    for (key, known) in NAMING {
        let apis = message.api_keys.iter_mut();
        for api in apis.filter(|api| api.api_key == key as i16) {
            api.max_version = api.max_version.min(known.max);
        }
    }
    encode(version, &answer[..at], &message)
}

#[cfg(test)]
#[path = "address_test.rs"]
mod tests;
