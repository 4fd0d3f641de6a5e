//! A partition's handle: what the rest of the broker holds of it.
//!
//! Whatever changes a partition is a message to its one writer (`actor`); messages of one sender
//! are worked on in the order in which they were sent. Whatever only reads loads the published
//! view.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kafka_protocol::ResponseError;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::log::{ProducedBatch, Retention};
use crate::replica::cluster::PartitionMeta;
use crate::replica::follower::FetchAnswer;
use crate::replica::isr::{AlterReply, Proposal};
use crate::replica::leader::{FetchOutcome, FollowerFetch};
use crate::replica::view::{PartitionView, Published};
use crate::replica::waiters::Seen;
use crate::types::{Acks, Offset, TopicPartition};

use bytes::Bytes;

/// Where a produced batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// First offset that the partition keeps.
    pub log_start: Offset,
}

/// Why a batch is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProduceFailure {
    /// What the client is told.
    pub error: ResponseError,
    /// Which partition, and what can be done.
    pub message: String,
}

/// How a produced batch ended.
pub type ProduceOutcome = Result<Produced, ProduceFailure>;

/// What became of a leader's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All of it is held.
    Held,
    /// It was not taken over (a full disk, a flipped bit): asking again at once will not help.
    Refused,
}

/// What happens to a partition.
pub enum Message {
    /// A producer's batch.
    Append {
        /// Checked.
        batch: ProducedBatch,
        /// When to answer.
        acks: Acks,
        /// Where the answer goes.
        reply: oneshot::Sender<ProduceOutcome>,
        /// Its share of the [`Inbox`].
        share: Share,
    },
    /// A follower's fetch.
    Fetch {
        /// What it asks.
        fetch: FollowerFetch,
        /// Where the follower's log starts.
        log_start: Offset,
        /// The answer, once it is in the published view.
        reply: oneshot::Sender<FetchOutcome>,
    },
    /// The leader's answer to this replica's fetch.
    Fetched {
        /// Without the bytes.
        answer: FetchAnswer,
        /// The bytes.
        records: Bytes,
        /// Where the leader's log starts.
        log_start: Offset,
        /// Told when the next position is published; dropped when this leader is no longer
        /// followed.
        taken: oneshot::Sender<Taken>,
    },
    /// A newer metadata image.
    Image(Arc<PartitionMeta>),
    /// More of the log is held.
    Held,
    /// The controller's answer.
    Altered(Proposal, AlterReply),
    /// Time passed.
    Tick,
    /// Old records are to go.
    Retain {
        /// Which are old, or too many.
        retention: Retention,
        /// Time of day, in milliseconds since 1970.
        now: i64,
    },
    /// Around this offset the log on disk is not what was written.
    Damaged(Offset),
    /// A client wants records deleted (DeleteRecords).
    Delete {
        /// The log is to begin here; `None`: at the high watermark.
        before: Option<Offset>,
        /// Where it is to begin, once that is in the published view.
        reply: oneshot::Sender<Result<Offset, ResponseError>>,
    },
    /// The end: the log is given back before `done` is told.
    Stop {
        /// Told when it has ended.
        done: oneshot::Sender<()>,
    },
}

/// Bytes of produced batches that wait in mailboxes, over all partitions: bounds the memory of
/// a broker whose clients are faster than it is.
pub struct Inbox {
    waiting: AtomicUsize,
    limit: usize,
    room: Notify,
}

impl Inbox {
    /// At most about `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            limit,
            room: Notify::new(),
        }
    }

    /// Waits until there is room: called before a request is read from a socket.
    pub async fn wait_for_room(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.waiting.load(Ordering::Acquire) < self.limit {
                return;
            }
            room.await;
        }
    }

    /// Bytes that wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Counts `bytes` until the share is dropped: when a batch has left its mailbox, or the
    /// mailbox ended with the batch in it.
    #[must_use]
    pub fn share(self: &Arc<Self>, bytes: usize) -> Share {
        self.waiting.fetch_add(bytes, Ordering::AcqRel);
        Share {
            inbox: Arc::clone(self),
            bytes,
        }
    }

    fn remove(&self, bytes: usize) {
        let before = self.waiting.fetch_sub(bytes, Ordering::AcqRel);
        if before >= self.limit && before - bytes < self.limit {
            self.room.notify_waiters();
        }
    }
}

/// Bytes that are counted in an [`Inbox`] as long as this lives.
pub struct Share {
    inbox: Arc<Inbox>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.inbox.remove(self.bytes);
    }
}

/// One partition of this broker.
pub struct Partition {
    tp: TopicPartition,
    topic: Arc<str>,
    mailbox: mpsc::UnboundedSender<Message>,
    view: Published,
    inbox: Arc<Inbox>,
}

impl Partition {
    pub(super) fn new(
        tp: TopicPartition,
        topic: Arc<str>,
        mailbox: mpsc::UnboundedSender<Message>,
        view: Published,
        inbox: Arc<Inbox>,
    ) -> Self {
        Self {
            tp,
            topic,
            mailbox,
            view,
            inbox,
        }
    }

    /// Which partition.
    #[must_use]
    pub fn tp(&self) -> TopicPartition {
        self.tp
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The newest view: no lock.
    #[must_use]
    pub fn view(&self) -> Arc<PartitionView> {
        self.view.load()
    }

    /// Has `wake` woken by the next view that shows something else than `seen`; returns the
    /// newest view, which may show it already. No lock.
    #[must_use]
    pub fn park(&self, seen: Seen, wake: &Arc<Notify>) -> Arc<PartitionView> {
        self.view.park(seen, wake)
    }

    /// How many fetches wait for this partition (some may be gone already).
    #[must_use]
    pub fn parked(&self) -> usize {
        self.view.parked()
    }

    /// Hands over a producer's batch. Does not wait; batches of one caller keep their order.
    #[must_use]
    pub fn append(&self, batch: ProducedBatch, acks: Acks) -> oneshot::Receiver<ProduceOutcome> {
        let (reply, answer) = oneshot::channel();
        let share = self.inbox.share(batch.size());
        self.send(Message::Append {
            batch,
            acks,
            reply,
            share,
        });
        answer
    }

    /// Hands over a follower's fetch. Does not wait.
    #[must_use]
    pub fn fetch(
        &self,
        fetch: FollowerFetch,
        log_start: Offset,
    ) -> oneshot::Receiver<FetchOutcome> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Fetch {
            fetch,
            log_start,
            reply,
        });
        answer
    }

    /// Has the records before an offset deleted (`None`: all that are committed). Does not wait.
    #[must_use]
    pub fn delete_records(
        &self,
        before: Option<Offset>,
    ) -> oneshot::Receiver<Result<Offset, ResponseError>> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Delete { before, reply });
        answer
    }

    /// Somebody could not read the records around `offset`: they are not what was written.
    pub fn damaged_at(&self, offset: Offset) {
        self.send(Message::Damaged(offset));
    }

    /// Sends a message. A partition that has ended drops it, and with it any reply in it.
    pub(super) fn send(&self, message: Message) {
        let _ = self.mailbox.send(message);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn what_a_mailbox_holds_when_it_ends_is_counted_no_more() {
        let inbox = Arc::new(Inbox::new(100));
        let (mailbox, mut held) = mpsc::unbounded_channel();
        for bytes in [60, 30, 50] {
            mailbox.send(inbox.share(bytes)).expect("it is open");
        }
        assert!(inbox.wait_for_room().now_or_never().is_none());
        drop(held.try_recv());
        assert_eq!(inbox.waiting(), 80);
        drop(held);
        assert!(mailbox.send(inbox.share(70)).is_err());
        assert_eq!(inbox.waiting(), 0);
        assert!(inbox.wait_for_room().now_or_never().is_some());
    }
}
