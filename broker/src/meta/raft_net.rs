//! Calls to other brokers' controller ports: one connection a peer, many calls at a time.
//!
//! Every call has a deadline. A call that ends without an answer (timed out, or dropped by its
//! caller) leaves the connection alone as long as other answers keep coming; once nothing has come
//! for a while the connection is closed, and the next call makes a new one: after a partition a
//! new connection works at once, an old one only when TCP tries again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, RPCTypes, RaftNetwork, RaftNetworkFactory};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::exec;
use crate::locks::{AsyncMutex, Lock, Mutex, MutexGuard};
use crate::meta::image::Endpoint;
use crate::meta::raft_types::{MetaRaft, broker_id, node_id};
use crate::meta::rpc::{self, Answer, Hello, MAX_FRAME_BYTES, Request};
use crate::net::{self, OwnedReadHalf, OwnedWriteHalf};
use crate::types::BrokerId;
use crate::wire::frame;

/// Frames that wait to be written to one peer.
const QUEUE: usize = 256;

/// Why a call has no answer. None of these tells whether it was carried out, but for the first.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// There is no connection: nothing was sent.
    #[error("cannot connect to broker {peer} at {endpoint}: {reason}")]
    Connect {
        /// Whom.
        peer: BrokerId,
        /// Where.
        endpoint: String,
        /// The operating system's words.
        reason: String,
    },
    /// The connection ended before the answer came.
    #[error("broker {0} closed the connection")]
    Closed(BrokerId),
    /// The deadline passed.
    #[error("no answer from broker {peer} within {timeout:?}")]
    TimedOut {
        /// Who.
        peer: BrokerId,
        /// How long it had.
        timeout: Duration,
    },
    /// The peer answered something else: it speaks another protocol, or refuses us.
    #[error("broker {peer} answered {what}")]
    Unexpected {
        /// Who.
        peer: BrokerId,
        /// What it said.
        what: String,
    },
}

/// A task that ends with its owner.
#[derive(Debug)]
pub struct OwnedTask(JoinHandle<()>);

impl OwnedTask {
    /// Starts `task`; it is dropped when this is.
    pub fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(exec::spawn(name, task))
    }
}

impl Drop for OwnedTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who waits for which answer; `None` once the connection has ended.
type Waiting = Option<BTreeMap<u64, oneshot::Sender<Answer>>>;

#[derive(Debug)]
struct LinkState {
    waiting: Mutex<Waiting>,
    last_heard: Mutex<Instant>,
    next_call: AtomicU64,
}

impl LinkState {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }

    fn last_heard(&self) -> MutexGuard<'_, Instant> {
        self.last_heard.lock()
    }

    /// Ends every wait; the connection is of no more use.
    fn end(&self) {
        self.waiting().take();
    }
}

/// One connection.
#[derive(Debug)]
struct Link {
    state: Arc<LinkState>,
    frames: mpsc::Sender<Bytes>,
    _tasks: [OwnedTask; 2],
}

impl Link {
    fn start(peer: BrokerId, stream: net::TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        let (frames, queue) = mpsc::channel(QUEUE);
        let state = Arc::new(LinkState {
            waiting: Mutex::new(Lock::PeerCalls, Some(BTreeMap::new())),
            last_heard: Mutex::new(Lock::PeerHeard, tokio::time::Instant::now()),
            next_call: AtomicU64::new(1),
        });
        let reading = read_answers(peer, reader, state.clone());
        let writing = write_frames(writer, queue, state.clone());
        Self {
            state,
            frames,
            _tasks: [
                OwnedTask::spawn("controller-read", reading),
                OwnedTask::spawn("controller-write", writing),
            ],
        }
    }

    fn is_open(&self) -> bool {
        self.state.waiting().is_some()
    }
}

async fn read_answers(peer: BrokerId, reader: OwnedReadHalf, state: Arc<LinkState>) {
    let mut reader = BufReader::with_capacity(16 << 10, reader);
    while let Ok(Some(frame)) = frame::read_frame(&mut reader, MAX_FRAME_BYTES).await {
        let (call, answer) = match rpc::decode::<Answer>(frame) {
            Ok((call, answer, _)) => (call, answer),
            Err(error) => {
                tracing::warn!(%peer, %error, "unreadable answer on the controller port");
                break;
            }
        };
        if let Answer::Refused(reason) = answer {
            tracing::error!(%peer, reason, "refused on the controller port");
            break;
        }
        *state.last_heard() = tokio::time::Instant::now();
        let waiting = state.waiting().as_mut().and_then(|w| w.remove(&call));
        if let Some(caller) = waiting {
            // A caller that is gone no longer cares.
            let _ = caller.send(answer);
        }
    }
    state.end();
}

async fn write_frames(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Bytes>,
    state: Arc<LinkState>,
) {
    while let Some(frame) = queue.recv().await {
        if writer.write_all(&frame).await.is_err() {
            break;
        }
    }
    state.end();
}

/// Removes a call that ended without an answer, and the connection if it has been silent.
struct Call<'a> {
    link: &'a Link,
    number: u64,
    silence: Duration,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let unanswered = match self.link.state.waiting().as_mut() {
            Some(waiting) => waiting.remove(&self.number).is_some(),
            None => false,
        };
        let silent = self.link.state.last_heard().elapsed() >= self.silence;
        if unanswered && silent {
            self.link.state.end();
        }
    }
}

/// Another voter.
#[derive(Debug)]
pub struct Peer {
    /// Who.
    pub id: BrokerId,
    endpoint: Endpoint,
    hello: Hello,
    /// A connection on which nothing has come for this long while an answer was due is closed.
    silence: Duration,
    /// Held while connecting, so that callers share the attempt.
    link: AsyncMutex<Option<Arc<Link>>>,
    /// When it last answered an append as a follower of ours.
    followed: Mutex<Option<Instant>>,
}

impl Peer {
    /// A peer that is not connected yet.
    #[must_use]
    pub fn new(
        me: BrokerId,
        id: BrokerId,
        endpoint: Endpoint,
        voters: Vec<BrokerId>,
        silence: Duration,
    ) -> Self {
        let hello = Hello {
            from: me,
            to: id,
            voters,
        };
        Self {
            id,
            endpoint,
            hello,
            silence,
            link: AsyncMutex::new(Lock::PeerConnection, None),
            followed: Mutex::new(Lock::PeerFollowed, None),
        }
    }

    /// Calls the peer. Dropping the future gives the call up.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, request: Request, timeout: Duration) -> Result<Answer, CallError> {
        let exchange = self.exchange(request, timeout);
        match tokio::time::timeout(timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => {
                let peer = self.id;
                Err(CallError::TimedOut { peer, timeout })
            }
        }
    }

    async fn exchange(&self, request: Request, timeout: Duration) -> Result<Answer, CallError> {
        let link = self.connected(timeout).await?;
        let closed = || CallError::Closed(self.id);
        let number = link.state.next_call.fetch_add(1, Ordering::Relaxed);
        let (caller, answer) = oneshot::channel();
        match link.state.waiting().as_mut() {
            Some(waiting) => waiting.insert(number, caller),
            None => return Err(closed()),
        };
        let _call = Call {
            link: &link,
            number,
            silence: self.silence,
        };
        let frame = rpc::encode_request(number, request);
        link.frames.send(frame).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }

    async fn connected(&self, timeout: Duration) -> Result<Arc<Link>, CallError> {
        let mut link = self.link.lock().await;
        if let Some(link) = link.as_ref().filter(|link| link.is_open()) {
            return Ok(link.clone());
        }
        *link = None;
        let stream = net::connect(&self.endpoint, timeout).await;
        let stream = stream.map_err(|error| CallError::Connect {
            peer: self.id,
            endpoint: format!("{}:{}", self.endpoint.host, self.endpoint.port),
            reason: error.to_string(),
        })?;
        let made = Arc::new(Link::start(self.id, stream));
        let hello = rpc::encode(0, &self.hello, b"");
        if made.frames.send(hello).await.is_err() {
            return Err(CallError::Closed(self.id));
        }
        Ok(link.insert(made).clone())
    }

    /// When it last answered one of our appends.
    #[must_use]
    pub fn last_followed(&self) -> Option<Instant> {
        *self.followed.lock()
    }

    fn followed(&self) {
        *self.followed.lock() = Some(tokio::time::Instant::now());
    }
}

/// All other voters.
#[derive(Clone, Debug)]
pub struct Peers {
    peers: Arc<BTreeMap<BrokerId, Arc<Peer>>>,
    me: BrokerId,
    backoff: Duration,
}

impl Peers {
    /// The peers of `me`. `backoff` is how long Raft leaves a peer alone that cannot be reached.
    #[must_use]
    pub fn new(me: BrokerId, peers: Vec<Peer>, backoff: Duration) -> Self {
        let peers = peers.into_iter().map(|peer| (peer.id, Arc::new(peer)));
        Self {
            peers: Arc::new(peers.collect()),
            me,
            backoff,
        }
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: BrokerId) -> Option<&Arc<Peer>> {
        self.peers.get(&id)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.values()
    }

    /// How many brokers of the quorum are more than its half.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.peers.len().div_ceil(2) + 1
    }

    /// Whether a majority, this broker included, has followed this broker within `span`.
    #[must_use]
    pub fn in_touch(&self, span: Duration) -> bool {
        let fresh = |peer: &&Arc<Peer>| peer.last_followed().is_some_and(|at| at.elapsed() <= span);
        1 + self.iter().filter(fresh).count() >= self.majority()
    }
}

impl RaftNetworkFactory<MetaRaft> for Peers {
    type Network = RaftClient;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> RaftClient {
        RaftClient {
            peer: self.get(broker_id(target)).cloned(),
            target,
            me: node_id(self.me),
            backoff: self.backoff,
        }
    }
}

/// Raft's calls to one peer.
pub struct RaftClient {
    /// `None` for a number that is in Raft's membership but not among the voters of the settings.
    peer: Option<Arc<Peer>>,
    target: u64,
    me: u64,
    backoff: Duration,
}

type Failed<E> = RPCError<u64, EmptyNode, E>;

impl RaftClient {
    async fn call<E: std::error::Error>(
        &self,
        request: Request,
        action: RPCTypes,
        timeout: Duration,
    ) -> Result<Answer, Failed<E>> {
        let Some(peer) = &self.peer else {
            let error = CallError::Connect {
                peer: broker_id(self.target),
                endpoint: "nowhere".to_owned(),
                reason: "it is not among the voters in the settings".to_owned(),
            };
            return Err(RPCError::Unreachable(Unreachable::new(&error)));
        };
        peer.call(request, timeout)
            .await
            .map_err(|error| match error {
                CallError::Connect { .. } => RPCError::Unreachable(Unreachable::new(&error)),
                CallError::TimedOut { timeout, .. } => RPCError::Timeout(Timeout {
                    action,
                    id: self.me,
                    target: self.target,
                    timeout,
                }),
                other => RPCError::Network(NetworkError::new(&other)),
            })
    }

    fn remote<E: std::error::Error>(&self, error: E) -> Failed<E> {
        RPCError::RemoteError(RemoteError::new(self.target, error))
    }

    fn unexpected<E: std::error::Error>(&self, answer: &Answer) -> Failed<E> {
        let error = CallError::Unexpected {
            peer: broker_id(self.target),
            what: format!("{answer:?}"),
        };
        RPCError::Network(NetworkError::new(&error))
    }
}

impl RaftNetwork<MetaRaft> for RaftClient {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<MetaRaft>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failed<RaftError<u64>>> {
        let request = Request::Append(rpc);
        let action = RPCTypes::AppendEntries;
        match self.call(request, action, option.hard_ttl()).await? {
            Answer::Append(result) => {
                if let (Some(peer), Ok(answer)) = (&self.peer, &result)
                    && !matches!(answer, AppendEntriesResponse::HigherVote(_))
                {
                    peer.followed();
                }
                result.map_err(|error| self.remote(error))
            }
            other => Err(self.unexpected(&other)),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<MetaRaft>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failed<RaftError<u64, InstallSnapshotError>>> {
        let request = Request::Snapshot(rpc);
        let action = RPCTypes::InstallSnapshot;
        match self.call(request, action, option.hard_ttl()).await? {
            Answer::Snapshot(result) => result.map_err(|error| self.remote(error)),
            other => Err(self.unexpected(&other)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, Failed<RaftError<u64>>> {
        let request = Request::Vote(rpc);
        match self
            .call(request, RPCTypes::Vote, option.hard_ttl())
            .await?
        {
            Answer::Vote(result) => result.map_err(|error| self.remote(error)),
            other => Err(self.unexpected(&other)),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.backoff))
    }
}
