//! DescribeCluster (60): the brokers that are alive and who the active controller is.
//!
//! Version notes: v1 asks for brokers or for controllers; the controllers are the brokers here
//! but listen elsewhere, in a protocol of their own, so that only brokers can be asked for.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::{Context, Pending, encode, live_controller, ready};

const BROKERS: i8 = 1;

/// Answers from the newest image.
#[must_use]
pub fn handle(ctx: &Arc<Context>, version: i16, request: DescribeClusterRequest) -> Pending {
    let image = ctx.meta.image();
    let response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(image.cluster_id.clone()));
    if version >= 1 && request.endpoint_type != BROKERS {
        let text = "only brokers can be asked for, on their client listener";
        let response = response
            .with_error_code(ResponseError::MismatchedEndpointType.code())
            .with_error_message(Some(StrBytes::from_static_str(text)))
            .with_controller_id((-1).into());
        return ready(encode(&response, version));
    }
    let live = image.brokers.values().filter(|broker| !broker.fenced);
    let brokers = live.map(|broker| {
        DescribeClusterBroker::default()
            .with_broker_id(broker.id.get().into())
            .with_host(StrBytes::from_string(broker.client.host.clone()))
            .with_port(i32::from(broker.client.port))
    });
    let response = response
        .with_controller_id(live_controller(ctx, &image).into())
        .with_brokers(brokers.collect());
    ready(encode(&response, version))
}
