//! From a frame to its handler: header, table of versions, shape, decoding, one match.
//!
//! What cannot be understood closes its connection with a line in the log that says why, as in
//! Kafka: without a version that both sides speak there is no way to answer.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Decodable;
use tokio::time::Instant;

use crate::api::{self, Context, Pending, Reply};
use crate::metrics::RequestMetrics;
use crate::net::ListenerKind;
use crate::net::connection::{Answer, PendingAnswer, Service};
use crate::wire::header::{self, Head, RequestError, RequestHead};
use crate::wire::shape;

/// Serves the requests of one listener.
pub struct Dispatcher {
    context: Arc<Context>,
    listener: ListenerKind,
    metrics: Arc<RequestMetrics>,
}

impl Dispatcher {
    /// For the listener `listener`.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        listener: ListenerKind,
        metrics: Arc<RequestMetrics>,
    ) -> Self {
        Self {
            context,
            listener,
            metrics,
        }
    }

    fn begin(&self, mut frame: Bytes) -> Result<PendingAnswer, RequestError> {
        let head = match header::take_head(self.listener, &mut frame)? {
            Head::Request(head) => head,
            Head::UnknownApiVersions { correlation_id } => {
                let head = RequestHead {
                    key: ApiKey::ApiVersions,
                    version: 0,
                    correlation_id,
                    client_id: None,
                };
                let reply = api::api_versions::unsupported(self.listener);
                return Ok(at_once(finish(&head, reply)));
            }
        };
        let head = RequestHead {
            // It is a part of the frame, which is not to be kept for it.
            client_id: None,
            ..head
        };
        let RequestHead { key, version, .. } = head;
        shape::check(key, version, &frame).map_err(|error| RequestError::Shape {
            key,
            version,
            error,
        })?;
        let begun = Instant::now();
        let pending = self.route(key, version, frame)?;
        let metrics = self.metrics.clone();
        Ok(Box::pin(async move {
            let reply = pending.await;
            metrics.answered(key, begun.elapsed());
            finish(&head, reply)
        }))
    }

    /// The one match from an API to its handler.
    fn route(&self, key: ApiKey, version: i16, body: Bytes) -> Result<Pending, RequestError> {
        let ctx = &self.context;
        Ok(match key {
            ApiKey::Produce => api::produce::handle(ctx, version, decode(key, version, body)?),
            ApiKey::Fetch => {
                let request = decode(key, version, body)?;
                match self.listener {
                    ListenerKind::Client => api::fetch::handle(ctx, version, request),
                    ListenerKind::Replication => api::replica_fetch::handle(ctx, version, request),
                }
            }
            ApiKey::ListOffsets => {
                api::list_offsets::handle(ctx, version, decode(key, version, body)?)
            }
            ApiKey::OffsetForLeaderEpoch => {
                api::offset_for_leader_epoch::handle(ctx, version, decode(key, version, body)?)
            }
            ApiKey::Metadata => api::metadata::handle(ctx, version, decode(key, version, body)?),
            ApiKey::ApiVersions => {
                let request = decode(key, version, body)?;
                api::api_versions::handle(ctx, self.listener, version, request)
            }
            ApiKey::FindCoordinator => {
                api::find_coordinator::handle(ctx, version, decode(key, version, body)?)
            }
            ApiKey::CreateTopics => {
                api::create_topics::handle(ctx, version, decode(key, version, body)?)
            }
            ApiKey::DeleteRecords => {
                api::delete_records::handle(ctx, version, decode(key, version, body)?)
            }
            ApiKey::InitProducerId => {
                api::init_producer_id::handle(ctx, version, decode(key, version, body)?)
            }
            ApiKey::DescribeConfigs => {
                api::describe_configs::handle(ctx, version, decode(key, version, body)?)
            }
            ApiKey::DescribeCluster => {
                api::describe_cluster::handle(ctx, version, decode(key, version, body)?)
            }
            _ => unreachable!("{key:?} is in the table of versions but has no handler"),
        })
    }
}

impl Service for Dispatcher {
    /// Records have to have somewhere to go before they are taken in. Nothing else waits for
    /// that: a broker whose disk is slow still answers who asks for what it has.
    async fn admit(&self, frame: &Bytes) {
        if is_produce(frame) {
            self.context.replicas.wait_for_room().await;
        }
    }

    /// Records are in the partitions' mailboxes once a Produce was begun, and counted there.
    fn keeps(&self, frame: &Bytes) -> bool {
        !is_produce(frame)
    }

    fn call(&self, frame: Bytes) -> PendingAnswer {
        match self.begin(frame) {
            Ok(pending) => pending,
            Err(error) => at_once(Answer::Close(error.to_string())),
        }
    }
}

fn is_produce(frame: &[u8]) -> bool {
    frame.starts_with(&(ApiKey::Produce as i16).to_be_bytes())
}

fn at_once(answer: Answer) -> PendingAnswer {
    Box::pin(std::future::ready(answer))
}

fn decode<R: Decodable>(key: ApiKey, version: i16, mut body: Bytes) -> Result<R, RequestError> {
    R::decode(&mut body, version).map_err(|error| RequestError::Body {
        key,
        version,
        what: error.to_string(),
    })
}

/// Puts the header before the body.
fn finish(head: &RequestHead, reply: Reply) -> Answer {
    match reply {
        Reply::Body(body) => {
            let RequestHead { key, version, .. } = *head;
            let front = header::response_head(key, version, head.correlation_id, body.len());
            let mut parts = vec![front.freeze()];
            parts.extend(body.into_parts());
            Answer::Frame(parts)
        }
        Reply::NoAnswer => Answer::Silence,
        Reply::Close(why) => Answer::Close(format!("{:?}: {why}", head.key)),
    }
}
