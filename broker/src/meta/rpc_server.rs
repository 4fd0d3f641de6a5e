//! The controller listener: who may call, and how many calls at a time.
//!
//! Of each peer only the newest connection is served: a peer that reconnects has given up what it
//! sent before, and a copy of a proposal that was still under way in the old connection must not
//! be carried out after its successor in the new one.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use crate::locks::{Lock, Mutex};
use crate::meta::raft::Core;
use crate::meta::raft_net::OwnedTask;
use crate::meta::rpc::{self, Answer, Hello, MAX_FRAME_BYTES, ProposeAnswer, Request};
use crate::net::{self, OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use crate::types::BrokerId;
use crate::wire::frame;

/// Connections at a time. Peers need one each; more is somebody else, or what is left of old ones.
const MAX_CONNECTIONS: usize = 64;
/// Proposals of one connection in progress at a time; more are turned away.
const MAX_PROPOSALS: usize = 512;
/// Calls of one connection in progress at a time; beyond this it is not read from.
const MAX_CALLS: usize = 1024;
/// How long a new connection may take to say who it is, and a peer to take an answer.
const PATIENCE: Duration = Duration::from_secs(5);

type InProgress = FuturesUnordered<Pin<Box<dyn Future<Output = Bytes> + Send>>>;

/// Accepts connections until it is dropped; with it end all of them.
pub async fn serve(core: Arc<Core>, listener: TcpListener) {
    let newest = Arc::new(Newest::default());
    let mut connections: BTreeMap<u64, OwnedTask> = BTreeMap::new();
    let (ended, mut ends) = mpsc::channel::<u64>(MAX_CONNECTIONS);
    let mut serial = 0;
    loop {
        tokio::select! {
            biased;
            Some(serial) = ends.recv() => {
                connections.remove(&serial);
            }
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                let Ok((stream, _)) = accepted else {
                    // Out of file descriptors, mostly: others have to close some first.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                serial += 1;
                let connection = Connection {
                    core: core.clone(),
                    newest: newest.clone(),
                    serial,
                };
                let ended = ended.clone();
                let task = async move {
                    let serial = connection.serial;
                    connection.run(stream).await;
                    // The listener is gone when nobody hears this.
                    let _ = ended.send(serial).await;
                };
                connections.insert(serial, OwnedTask::spawn("controller-connection", task));
            }
        }
    }
}

/// The newest connection of each peer, by the order in which they were accepted.
struct Newest(Mutex<BTreeMap<BrokerId, u64>>);

impl Default for Newest {
    fn default() -> Self {
        Self(Mutex::new(Lock::ControllerConnections, BTreeMap::new()))
    }
}

impl Newest {
    /// Whether connection `serial` is the newest of `peer`, which it becomes if it is.
    fn is(&self, peer: BrokerId, serial: u64) -> bool {
        let mut newest = self.0.lock();
        let known = newest.entry(peer).or_insert(serial);
        *known = serial.max(*known);
        *known == serial
    }
}

struct Connection {
    core: Arc<Core>,
    newest: Arc<Newest>,
    serial: u64,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        if net::tune(&stream).is_err() {
            return;
        }
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::with_capacity(16 << 10, reader);
        let hello = tokio::time::timeout(PATIENCE, read_hello(&mut reader)).await;
        let peer = match hello.unwrap_or_else(|_| Err("it did not say who it is".to_owned())) {
            Ok(None) => return,
            Ok(Some(hello)) => self.admit(&hello).map(|()| hello.from),
            Err(reason) => Err(reason),
        };
        match peer {
            Ok(peer) => self.serve(peer, reader, writer).await,
            Err(reason) => {
                tracing::warn!(reason, "connection to the controller port refused");
                let refusal = rpc::encode(0, &Answer::Refused(reason), b"");
                let _ = tokio::time::timeout(PATIENCE, writer.write_all(&refusal)).await;
            }
        }
    }

    fn admit(&self, hello: &Hello) -> Result<(), String> {
        let me = self.core.config.id;
        if hello.to != me {
            return Err(format!(
                "broker {} took this one for broker {}, but it is {me}: its voters have a wrong \
                 address",
                hello.from, hello.to
            ));
        }
        let mut voters: Vec<BrokerId> = self.core.config.voters.iter().map(|v| v.id).collect();
        voters.sort_unstable();
        if hello.voters != voters || !voters.contains(&hello.from) || hello.from == me {
            return Err(format!(
                "broker {} has voters {:?}, this broker {me} has {voters:?}: give all the same",
                hello.from, hello.voters
            ));
        }
        Ok(())
    }

    async fn serve(self, peer: BrokerId, reader: BufReader<OwnedReadHalf>, writer: OwnedWriteHalf) {
        if !self.newest.is(peer, self.serial) {
            return;
        }
        let (requests, queue) = mpsc::channel(16);
        let reading = read_requests(peer, reader, requests);
        let working = self.work(peer, queue, writer);
        tokio::select! {
            biased;
            () = reading => {}
            () = working => {}
        }
        if self.newest.is(peer, self.serial) {
            let core = &self.core;
            let grace = core.config.broker_heartbeat_interval * 2;
            core.sessions().hung_up(core.now(), peer, grace);
        }
    }

    /// Carries out requests side by side and writes each answer when it is there.
    async fn work(
        &self,
        peer: BrokerId,
        mut queue: mpsc::Receiver<(u64, Request)>,
        mut writer: OwnedWriteHalf,
    ) {
        let mut in_progress = InProgress::new();
        let proposals = Arc::new(());
        loop {
            tokio::select! {
                biased;
                Some(answer) = in_progress.next(), if !in_progress.is_empty() => {
                    let written = tokio::time::timeout(PATIENCE, writer.write_all(&answer)).await;
                    if !matches!(written, Ok(Ok(()))) {
                        return;
                    }
                }
                next = queue.recv(), if in_progress.len() < MAX_CALLS => {
                    let Some((call, request)) = next else { return };
                    if !self.newest.is(peer, self.serial) {
                        return;
                    }
                    in_progress.push(self.begin(call, request, &proposals));
                }
            }
        }
    }

    fn begin(
        &self,
        call: u64,
        request: Request,
        proposals: &Arc<()>,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        let core = self.core.clone();
        // Each proposal in progress holds a clone.
        let slot = proposals.clone();
        let crowded = Arc::strong_count(&slot) > MAX_PROPOSALS + 1;
        if crowded && matches!(request, Request::Propose(_)) {
            let busy = rpc::encode(call, &Answer::Propose(ProposeAnswer::Busy), b"");
            return Box::pin(std::future::ready(busy));
        }
        Box::pin(async move {
            let slot = matches!(request, Request::Propose(_)).then_some(slot);
            let answer = core.answer(request).await;
            drop(slot);
            rpc::encode(call, &answer, b"")
        })
    }
}

async fn read_hello(reader: &mut BufReader<OwnedReadHalf>) -> Result<Option<Hello>, String> {
    let frame = frame::read_frame(reader, MAX_FRAME_BYTES).await;
    let Some(frame) = frame.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let (_, hello, _) = rpc::decode(frame).map_err(|error| error.to_string())?;
    Ok(Some(hello))
}

async fn read_requests(
    peer: BrokerId,
    mut reader: BufReader<OwnedReadHalf>,
    requests: mpsc::Sender<(u64, Request)>,
) {
    loop {
        let frame = match frame::read_frame(&mut reader, MAX_FRAME_BYTES).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%peer, %error, "connection on the controller port ended");
                return;
            }
        };
        match rpc::decode_request(frame) {
            Ok(request) => {
                if requests.send(request).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%peer, %error, "unreadable request on the controller port");
                return;
            }
        }
    }
}
