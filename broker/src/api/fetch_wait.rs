//! What fetches of consumers and of followers have in common: waiting until there is enough to
//! read, and reading it within the limits, all from published views.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::log::{EpochEnd, ReadError};
use crate::net::budget::AnswerBudget;
use crate::replica::partition::Partition;
use crate::replica::view::{Isolation, PartitionView};
use crate::replica::waiters::Seen;
use crate::types::{LeaderEpoch, Offset};

/// How long a follower's poll goes on after its only news is a higher watermark: more records
/// are likely to come in this time, and one answer carries both.
const HW_LINGER: Duration = Duration::from_millis(3);

/// What is asked of one partition.
pub(super) struct Ask {
    /// Which.
    pub partition: Arc<Partition>,
    /// From where.
    pub offset: Offset,
    /// Bytes at most, but for the first batch of the whole answer.
    pub max_bytes: usize,
    /// Who asks.
    pub asker: Asker,
}

/// Who asks, and what it knows.
#[derive(Clone, Copy)]
pub(super) enum Asker {
    /// A consumer.
    Consumer {
        /// The leadership that it knows of; -1: none.
        epoch: i32,
        /// Epoch of the record before the offset, if it tells (KIP-320).
        last_epoch: Option<LeaderEpoch>,
        /// How far it may see.
        isolation: Isolation,
    },
    /// A follower whose position the partition's writer has accepted.
    Follower {
        /// The leadership that accepted it.
        epoch: LeaderEpoch,
        /// The watermark that it knows of (KIP-1166).
        hw: Offset,
        /// Where its log starts.
        log_start: Offset,
    },
}

impl Asker {
    fn isolation(&self) -> Isolation {
        match self {
            Asker::Consumer { isolation, .. } => *isolation,
            Asker::Follower { .. } => Isolation::Replica,
        }
    }
}

/// What a partition answers.
#[derive(Default)]
pub(super) struct Answer {
    /// Set when nothing could be read.
    pub error: Option<ResponseError>,
    /// Set when the asker's log has parted from this one.
    pub diverging: Option<EpochEnd>,
    /// The watermark as the asker sees it.
    pub hw: Offset,
    /// The last stable offset as the asker sees it.
    pub lso: Offset,
    /// First offset that is kept.
    pub log_start: Offset,
    /// Whole batches.
    pub records: Bytes,
}

/// When to answer.
pub(super) struct Limits {
    /// As soon as there are this many bytes,
    pub min_bytes: usize,
    /// or at this time.
    pub deadline: Instant,
    /// Bytes of all partitions at most, but for the first batch.
    pub max_bytes: usize,
    /// Where the memory for them comes from.
    pub budget: AnswerBudget,
}

/// Whether an ask can be served from a view.
fn judge(ask: &Ask, view: &PartitionView) -> Result<(), Answer> {
    let refuse = |error| Answer {
        error: Some(error),
        ..empty(ask, view)
    };
    match ask.asker {
        Asker::Follower { epoch, .. } => {
            if view.epoch != epoch || !view.is_leader() {
                return Err(refuse(ResponseError::NotLeaderOrFollower));
            }
        }
        Asker::Consumer {
            epoch, last_epoch, ..
        } => {
            view.check_leader(epoch).map_err(refuse)?;
            if let Some(end) = last_epoch.and_then(|last| view.diverged(last, ask.offset)) {
                return Err(Answer {
                    diverging: Some(end),
                    ..empty(ask, view)
                });
            }
            if view.is_out_of_range(ask.offset) {
                return Err(refuse(ResponseError::OffsetOutOfRange));
            }
        }
    }
    Ok(())
}

fn empty(ask: &Ask, view: &PartitionView) -> Answer {
    let (hw, lso) = match ask.asker {
        Asker::Follower { .. } => (view.hw, view.lso()),
        Asker::Consumer { .. } => (
            view.bound(Isolation::ReadUncommitted).up_to(),
            view.bound(Isolation::ReadCommitted).up_to(),
        ),
    };
    Answer {
        hw,
        lso,
        log_start: view.log_start(),
        ..Answer::default()
    }
}

/// What a look at all partitions shows.
enum Survey {
    /// Answer now.
    Enough,
    /// The only news is a watermark that a follower does not know.
    Watermark,
    /// Not yet.
    Wait,
}

fn survey(asks: &[Ask], views: &[Arc<PartitionView>], min_bytes: usize) -> Survey {
    let mut bytes = 0;
    let mut watermark = false;
    for (ask, view) in asks.iter().zip(views) {
        if judge(ask, view).is_err() {
            return Survey::Enough;
        }
        let bound = view.bound(ask.asker.isolation());
        bytes += bound.available(ask.offset, min_bytes.saturating_sub(bytes));
        if let Asker::Follower { hw, log_start, .. } = ask.asker {
            // It can take over no more than what it has.
            watermark |= hw < view.hw.min(ask.offset);
            watermark |= log_start < view.log_start().min(ask.offset);
        }
    }
    if bytes >= min_bytes {
        Survey::Enough
    } else if watermark {
        Survey::Watermark
    } else {
        Survey::Wait
    }
}

fn views(asks: &[Ask]) -> Vec<Arc<PartitionView>> {
    asks.iter().map(|ask| ask.partition.view()).collect()
}

/// Waits until there is enough to say, or the deadline. Returns one answer for each ask.
pub(super) async fn answers(asks: &[Ask], limits: &Limits) -> Vec<Answer> {
    let mut deadline = limits.deadline;
    let mut lingering = false;
    loop {
        let seen = views(asks);
        match survey(asks, &seen, limits.min_bytes) {
            Survey::Enough => return collect(asks, &seen, limits),
            Survey::Watermark if !lingering => {
                lingering = true;
                deadline = deadline.min(Instant::now() + HW_LINGER);
            }
            Survey::Watermark | Survey::Wait => {}
        }
        if Instant::now() >= deadline {
            return collect(asks, &seen, limits);
        }
        // What was registered in an earlier round dies with its `wake`.
        let wake = Arc::new(Notify::new());
        if !register(asks, &seen, &wake) {
            // Timed out or woken: either way, look again.
            let _ = tokio::time::timeout_at(deadline, wake.notified()).await;
        }
    }
}

/// Has `wake` woken by whatever is published after `seen`; whether something was already.
/// Registered first, looked at then: a view published in between is not missed.
fn register(asks: &[Ask], seen: &[Arc<PartitionView>], wake: &Arc<Notify>) -> bool {
    let mut news = false;
    for (ask, view) in asks.iter().zip(seen) {
        let isolation = ask.asker.isolation();
        let seen = Seen::of(view, isolation);
        news |= ask.partition.park(seen, wake).is_news_to(seen);
    }
    news
}

/// Reads from the views in turn until the bytes, or the memory, are used up. The first batch of
/// the first partition that has any comes even if it is larger than the limits.
fn collect(asks: &[Ask], views: &[Arc<PartitionView>], limits: &Limits) -> Vec<Answer> {
    let mut room = limits.budget.reserve(limits.max_bytes);
    let mut left = limits.max_bytes.min(room.bytes());
    let mut first = true;
    let read = |(ask, view): (&Ask, &Arc<PartitionView>)| {
        if let Err(answer) = judge(ask, view) {
            return answer;
        }
        let answer = empty(ask, view);
        let bound = view.bound(ask.asker.isolation());
        if ask.offset >= bound.up_to() {
            return answer;
        }
        match bound.read(ask.offset, ask.max_bytes.min(left), first) {
            Ok(records) => {
                left = left.saturating_sub(records.size);
                first &= records.size == 0;
                let records = room.fill(records.into_bytes());
                Answer { records, ..answer }
            }
            Err(error) => Answer {
                error: Some(read_error(&error, ask, view)),
                ..answer
            },
        }
    };
    asks.iter().zip(views).map(read).collect()
}

fn read_error(error: &ReadError, ask: &Ask, view: &PartitionView) -> ResponseError {
    if let ReadError::Corrupt { .. } = error {
        ask.partition.damaged_at(ask.offset);
    }
    if !matches!(error, ReadError::OutOfRange { .. } | ReadError::Gone { .. }) {
        tracing::error!(partition = %view.tp, %error, "records cannot be read");
    }
    error
        .code()
        .err()
        .unwrap_or(ResponseError::UnknownServerError)
}
