//! A listener: accepts connections up to a limit and serves each on a task of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::exec;
use crate::locks::{Lock, Mutex};
use crate::net::connection::{self, End, Limits, Service};
use crate::net::{self, ListenerKind, TcpListener, TcpStream, tune};

/// After an error of `accept` (no more file descriptors, ..), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a stopping listener waits for requests in progress.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);
/// Complaints about peers logged per period and listener; the rest is counted.
const COMPLAINTS: u32 = 10;
/// See [`COMPLAINTS`].
const COMPLAINT_PERIOD: Duration = Duration::from_secs(10);

/// What `/metrics` tells of a listener.
#[derive(Debug, Default)]
pub struct ListenerCounts {
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections accepted so far.
    pub accepted: AtomicU64,
    /// Connections closed at once because there were too many.
    pub rejected: AtomicU64,
    /// Connections that ended in a complaint (malformed, too slow, panicked).
    pub faulty: AtomicU64,
}

/// A listener that is about to serve.
pub struct Listener<S> {
    /// Which door it is.
    pub kind: ListenerKind,
    /// Connections at once.
    pub max_connections: usize,
    /// For each connection.
    pub limits: Limits,
    /// What serves requests.
    pub service: Arc<S>,
    /// For `/metrics`.
    pub counts: Arc<ListenerCounts>,
}

/// Everything that the tasks of one listener share.
struct Shared<S> {
    listener: Listener<S>,
    complaints: ComplaintGate,
    /// Changes whenever a connection ends, for who waits for all of them.
    ended: watch::Sender<()>,
}

impl<S: Service> Listener<S> {
    /// Serves what `socket` accepts until `stop` turns true, then waits a moment for requests in
    /// progress.
    pub async fn run(self, socket: TcpListener, mut stop: watch::Receiver<bool>) {
        let shared = Arc::new(Shared {
            listener: self,
            complaints: ComplaintGate::default(),
            ended: watch::Sender::new(()),
        });
        loop {
            let accepted = tokio::select! {
                biased;
                () = net::stopped(&mut stop) => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => admit(&shared, stream, peer, &stop),
                Err(error) => {
                    let listener = shared.listener.kind.name();
                    tracing::warn!(listener, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(socket);
        let mut ended = shared.ended.subscribe();
        let all_ended = async {
            while shared.listener.counts.open.load(Ordering::Acquire) > 0 {
                if ended.changed().await.is_err() {
                    break;
                }
            }
        };
        // Who is not done by then is cut off when the runtime ends.
        let _ = tokio::time::timeout(DRAIN_PATIENCE, all_ended).await;
    }
}

fn admit<S: Service>(
    shared: &Arc<Shared<S>>,
    stream: TcpStream,
    peer: SocketAddr,
    stop: &watch::Receiver<bool>,
) {
    let counts = &shared.listener.counts;
    let name = shared.listener.kind.name();
    if counts.open.load(Ordering::Acquire) >= shared.listener.max_connections as u64 {
        counts.rejected.fetch_add(1, Ordering::Relaxed);
        if let Some(suppressed) = shared.complaints.pass(tokio::time::Instant::now()) {
            let limit = shared.listener.max_connections;
            tracing::warn!(listener = name, %peer, limit, suppressed, "too many connections");
        }
        return;
    }
    counts.open.fetch_add(1, Ordering::AcqRel);
    counts.accepted.fetch_add(1, Ordering::Relaxed);
    let shared = shared.clone();
    let stop = stop.clone();
    exec::spawn("connection", async move {
        let end = match tune(&stream) {
            Ok(()) => {
                let listener = &shared.listener;
                let service = listener.service.clone();
                connection::serve(stream, service, listener.limits.clone(), stop).await
            }
            Err(_) => End::Closed,
        };
        shared.listener.counts.open.fetch_sub(1, Ordering::AcqRel);
        shared.ended.send_replace(());
        report(&shared, peer, &end);
    });
}

fn report<S: Service>(shared: &Shared<S>, peer: SocketAddr, end: &End) {
    let listener = shared.listener.kind.name();
    if !end.is_complaint() {
        tracing::debug!(listener, %peer, why = %end, "connection ended");
        return;
    }
    shared
        .listener
        .counts
        .faulty
        .fetch_add(1, Ordering::Relaxed);
    if let Some(suppressed) = shared.complaints.pass(tokio::time::Instant::now()) {
        tracing::warn!(listener, %peer, why = %end, suppressed, "connection closed");
    }
}

/// Lets a few complaints a period into the log, so that a peer cannot fill the disk with them.
struct ComplaintGate {
    /// The period's beginning, what was let through in it, and what was not since the last line.
    /// A lock: held for three assignments, by connections that just ended.
    state: Mutex<Option<(Instant, u32, u64)>>,
}

impl Default for ComplaintGate {
    fn default() -> Self {
        Self {
            state: Mutex::new(Lock::ListenerComplaints, None),
        }
    }
}

impl ComplaintGate {
    /// Whether to log; then with the number of lines that were suppressed before.
    fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        let (begin, passed, suppressed) = state.get_or_insert((now, 0, 0));
        if now.duration_since(*begin) >= COMPLAINT_PERIOD {
            (*begin, *passed) = (now, 0);
        }
        if *passed == COMPLAINTS {
            *suppressed += 1;
            return None;
        }
        *passed += 1;
        Some(std::mem::take(suppressed))
    }
}

/// The counts of several listeners by kind.
pub type CountsByListener = BTreeMap<ListenerKind, Arc<ListenerCounts>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_let_through_up_to_a_rate_and_the_rest_is_counted() {
        let gate = ComplaintGate::default();
        let now = tokio::time::Instant::now();
        for _ in 0..COMPLAINTS {
            assert_eq!(gate.pass(now), Some(0));
        }
        assert_eq!(gate.pass(now), None);
        assert_eq!(gate.pass(now), None);
        let later = now + COMPLAINT_PERIOD;
        assert_eq!(gate.pass(later), Some(2));
        assert_eq!(gate.pass(later), Some(0));
    }
}
