//! Unclean election by order of an operator: `POST /elect-unclean/TOPIC/PARTITION/BROKER`,
//! and the command of the broker's binary that sends it.
//!
//! A partition whose in-sync logs are all gone (disks that were replaced) has no leader: whoever
//! led would decide which of the acknowledged records never were. Only somebody who has looked at
//! what the replicas hold (`broker dump-log`) can choose, and say so. Elections by themselves stay
//! clean (invariant I15).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Shared;
use crate::meta::command::{Applied, Command};
use crate::meta::image::Endpoint;
use crate::net;
use crate::types::{BrokerId, TopicPartition};

/// What is to be elected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The topic's name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Broker that is to lead.
    pub leader: i32,
}

/// For the decision, wherever the controller is.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer is a few lines.
const MAX_ANSWER: u64 = 64 << 10;

pub(super) async fn handle(
    State(shared): State<Arc<Shared>>,
    Path((topic, partition, leader)): Path<(String, i32, i32)>,
) -> (StatusCode, String) {
    let order = Order {
        topic,
        partition,
        leader,
    };
    let meta = &shared.sources.context.meta;
    let image = meta.image();
    let Some(topic) = image.topic_by_name(&order.topic) else {
        let refusal = format!("there is no topic {:?}\n", order.topic);
        return (StatusCode::NOT_FOUND, refusal);
    };
    let command = Command::ElectUnclean {
        partition: TopicPartition {
            topic: topic.id,
            partition: order.partition,
        },
        leader: BrokerId(order.leader),
    };
    match tokio::time::timeout(PATIENCE, meta.propose(command)).await {
        Ok(Ok(Applied::PartitionAltered { .. })) => {
            tracing::warn!(?order, "unclean election by order of an operator");
            (StatusCode::OK, lost(&order))
        }
        Ok(Ok(other)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{other:?}\n")),
        Ok(Err(error)) => (StatusCode::CONFLICT, format!("{error}\n")),
        Err(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            format!("no decision within {PATIENCE:?}: look at the partition before trying again\n"),
        ),
    }
}

fn lost(order: &Order) -> String {
    let Order {
        topic,
        partition,
        leader,
    } = order;
    format!(
        "broker {leader} leads {topic}-{partition} from here on. Acknowledged records that are not \
         in its log are lost; their offsets will be given to others, and consumers that read them \
         have read what never was. A replica that knows of committed records beyond this log stays \
         out of sync in fsync mode and cuts nothing: dump-log shows them.\n"
    )
}

/// Sends the order to the admin listener of any broker. The words of its answer; an error when
/// nobody was elected.
///
/// # Errors
/// What went wrong, in words.
pub async fn send(admin: &Endpoint, order: &Order) -> Result<String, String> {
    let exchange = async {
        let stream = net::connect(admin, PATIENCE).await;
        let mut stream = stream.map_err(|error| error.to_string())?;
        let Order {
            topic,
            partition,
            leader,
        } = order;
        let request = format!(
            "POST /elect-unclean/{topic}/{partition}/{leader} HTTP/1.1\r\n\
             host: {}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            admin.host
        );
        let sent = stream.write_all(request.as_bytes()).await;
        sent.map_err(|error| error.to_string())?;
        let mut answer = String::new();
        let read = stream.take(MAX_ANSWER).read_to_string(&mut answer).await;
        read.map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split(' ').nth(1) {
            Some("200") => Ok(body.to_owned()),
            _ => Err(format!("{}{body}", head.lines().next().unwrap_or(""))),
        }
    };
    match tokio::time::timeout(PATIENCE * 2, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {:?}", PATIENCE * 2)),
    }
}

/// A topic's name as it may stand in a request without quoting.
#[must_use]
pub fn is_plain(topic: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !topic.is_empty() && topic.chars().all(plain)
}
