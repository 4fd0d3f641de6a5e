//! THE table of APIs: which versions each listener advertises and serves.
//!
//! What is not in it does not exist: unadvertised beats half-implemented. Ranges are those that
//! kafka-protocol can decode and whose every field we honour.

use kafka_protocol::messages::ApiKey;

use crate::net::ListenerKind;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersionRange {
    /// The API.
    pub key: ApiKey,
    /// Lowest version that ApiVersions names.
    pub advertised_min: i16,
    /// Lowest version that is served; lower ones close the connection.
    pub served_min: i16,
    /// Highest version, advertised and served.
    pub max: i16,
}

const fn api(key: ApiKey, min: i16, max: i16) -> ApiVersionRange {
    ApiVersionRange {
        key,
        advertised_min: min,
        served_min: min,
        max,
    }
}

/// What clients may ask for.
pub const CLIENT: &[ApiVersionRange] = &[
    ApiVersionRange {
        key: ApiKey::Produce,
        // KAFKA-18659: librdkafka up to 2.8 takes a lowest version above 2 for "no compression".
        // Nobody who reads ApiVersions sends 0-2, whose message format we do not store.
        advertised_min: 0,
        served_min: 3,
        max: 11,
    },
    api(ApiKey::Fetch, 4, 12),
    api(ApiKey::ListOffsets, 1, 7),
    api(ApiKey::Metadata, 0, 12),
    api(ApiKey::FindCoordinator, 0, 4),
    api(ApiKey::ApiVersions, 0, 3),
    api(ApiKey::CreateTopics, 2, 7),
    api(ApiKey::DeleteRecords, 0, 2),
    api(ApiKey::InitProducerId, 0, 4),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4),
    api(ApiKey::DescribeConfigs, 1, 4),
    api(ApiKey::DescribeCluster, 0, 1),
];

/// What followers may ask for: Fetch by topic id (13+), with the replica's epoch (15+) and the
/// watermark that it knows of (18).
pub const REPLICATION: &[ApiVersionRange] =
    &[api(ApiKey::Fetch, 15, 18), api(ApiKey::ApiVersions, 0, 3)];

/// The table of a listener.
#[must_use]
pub const fn table(listener: ListenerKind) -> &'static [ApiVersionRange] {
    match listener {
        ListenerKind::Client => CLIENT,
        ListenerKind::Replication => REPLICATION,
    }
}

/// The row of an API, if the listener has it.
#[must_use]
pub fn find(listener: ListenerKind, key: ApiKey) -> Option<&'static ApiVersionRange> {
    table(listener).iter().find(|row| row.key == key)
}
