//! Faults of the wire between clients and a broker, as data: of requests and answers, not of bytes.
//!
//! Whoever carries them out understands the protocol and stands between the two; see
//! [`crate::Cluster::wire`]. Shares are of a hundred of those that come by while the fault holds.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::kind::FaultKind;

/// Which requests are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Records that are to be stored.
    Produce,
    /// Records that are to be read.
    Fetch,
}

impl Request {
    /// More often those that change something.
    fn draw(rng: &mut impl Rng) -> Self {
        match rng.random_ratio(3, 4) {
            true => Self::Produce,
            false => Self::Fetch,
        }
    }

    /// Its name in schedules and histories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Fetch => "fetch",
        }
    }
}

/// An answer that is not the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lie {
    /// The broker is not asked, and said not to lead the partition.
    NotLeader,
    /// The broker does its work, and is said not to have done it in time.
    TimedOut,
    /// The broker does its work, and too few replicas are said to be in sync after it.
    TooFewReplicas,
}

impl Lie {
    /// Whether the broker is asked all the same.
    #[must_use]
    pub fn is_told_after(self) -> bool {
        self != Self::NotLeader
    }

    /// Its name in schedules and histories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotLeader => "not-leader",
            Self::TimedOut => "timed-out",
            Self::TooFewReplicas => "too-few-replicas",
        }
    }
}

/// What is done to requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "wire", rename_all = "kebab-case")]
pub enum WireFault {
    /// The broker acts, its answer is lost, and so are those behind it; then the connection is
    /// reset.
    DropResponse {
        /// To which requests.
        request: Request,
        /// Of a hundred.
        percent: u32,
        /// Until the reset, in milliseconds; what the client has under way reaches the broker.
        #[serde(rename = "linger-ms")]
        linger_ms: u32,
    },
    /// The broker acts, and its answer, with those behind it, comes later.
    DelayResponse {
        /// To which requests.
        request: Request,
        /// Of a hundred.
        percent: u32,
        /// How much later, in milliseconds.
        #[serde(rename = "delay-ms")]
        delay_ms: u32,
    },
    /// A request to store records reaches the broker twice over one connection; one answer is
    /// handed on.
    DuplicateRequest {
        /// Of a hundred.
        percent: u32,
        /// How many other such requests are between the two, at most.
        behind: u32,
    },
    /// A request to store records is under way for long: its connection is reset at once, and
    /// later it reaches the broker all the same.
    DelayRequest {
        /// Of a hundred.
        percent: u32,
        /// How much later, in milliseconds.
        #[serde(rename = "delay-ms")]
        delay_ms: u32,
    },
    /// Some requests are answered with an error, for one partition or for all of them.
    ErrorCode {
        /// Which requests.
        request: Request,
        /// Of a hundred.
        percent: u32,
        /// Which partition of any topic; none: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partition: Option<u32>,
        /// What is said.
        lie: Lie,
    },
    /// Who asks who leads is told what was so before.
    StaleMetadata,
}

impl WireFault {
    /// Its kind of fault.
    #[must_use]
    pub fn kind(self) -> FaultKind {
        match self {
            Self::DropResponse { .. } => FaultKind::DropResponse,
            Self::DelayResponse { .. } => FaultKind::DelayResponse,
            Self::DuplicateRequest { .. } => FaultKind::DuplicateRequest,
            Self::DelayRequest { .. } => FaultKind::DelayRequest,
            Self::ErrorCode { .. } => FaultKind::ErrorCode,
            Self::StaleMetadata => FaultKind::StaleMetadata,
        }
    }

    /// Draws one of a kind of the wire, aimed at who leads `partition` if at a leader. (A kind that
    /// is not of the wire comes out as stale metadata.)
    #[must_use]
    pub fn draw(kind: FaultKind, partition: Option<u32>, rng: &mut impl Rng) -> Self {
        match kind {
            FaultKind::DropResponse => Self::DropResponse {
                request: Request::draw(rng),
                percent: rng.random_range(5..=20),
                linger_ms: rng.random_range(20..=200),
            },
            FaultKind::DelayResponse => Self::DelayResponse {
                request: Request::draw(rng),
                percent: rng.random_range(10..=50),
                delay_ms: rng.random_range(50..=800),
            },
            FaultKind::DuplicateRequest => Self::DuplicateRequest {
                percent: rng.random_range(20..=60),
                behind: rng.random_range(0..=4),
            },
            FaultKind::DelayRequest => Self::DelayRequest {
                percent: rng.random_range(3..=10),
                delay_ms: rng.random_range(50..=1_500),
            },
            FaultKind::ErrorCode => {
                let request = Request::draw(rng);
                let lie = match (request, rng.random_range(0..3)) {
                    // What is read changes nothing: it has been done or not, as one likes.
                    (Request::Fetch, _) | (Request::Produce, 0) => Lie::NotLeader,
                    (Request::Produce, 1) => Lie::TimedOut,
                    _ => Lie::TooFewReplicas,
                };
                let one = rng.random();
                Self::ErrorCode {
                    request,
                    percent: rng.random_range(20..=60),
                    partition: partition.filter(|_| one),
                    lie,
                }
            }
            _ => Self::StaleMetadata,
        }
    }

    /// In words, without its kind.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::DropResponse {
                request,
                percent,
                linger_ms,
            } => {
                let name = request.name();
                format!("{percent} % of {name} answers lost, reset {linger_ms} ms later")
            }
            Self::DelayResponse {
                request,
                percent,
                delay_ms,
            } => {
                let name = request.name();
                format!("{percent} % of {name} answers {delay_ms} ms late")
            }
            Self::DuplicateRequest { percent, behind } => {
                format!("{percent} % of produce requests twice, up to {behind} others between")
            }
            Self::DelayRequest { percent, delay_ms } => {
                format!("{percent} % of produce requests cut off, and {delay_ms} ms late")
            }
            Self::ErrorCode {
                request,
                percent,
                partition,
                lie,
            } => {
                let (name, lie) = (request.name(), lie.name());
                let whose = match partition {
                    Some(partition) => format!(" of partition {partition}"),
                    None => String::new(),
                };
                format!("{percent} % of {name} requests{whose} answered {lie}")
            }
            Self::StaleMetadata => "metadata as it was before".to_owned(),
        }
    }
}

/// What is asked of whoever stands between the clients and a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireOrder {
    /// Do this from now on.
    Begin {
        /// Names the fault, to end it alone.
        tag: String,
        /// What.
        fault: WireFault,
    },
    /// Do it no more.
    End {
        /// Which.
        tag: String,
    },
    /// Nothing: only report.
    Status,
}

/// One fault of the wire at one broker, as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct WireStatus {
    /// Which.
    pub tag: String,
    /// Requests (or answers) that it might have hit.
    pub seen: u64,
    /// Those that it did: counted when it had been done, not when it was decided.
    pub hit: u64,
}
