//! What the broker counts of its requests: plain atomics, turned into text in `admin`.

use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use crate::log::metrics::Histogram;
use crate::net::ListenerKind;
use crate::wire::versions;

/// Latency of one API's requests, from the last byte read to the answer handed to the socket.
#[derive(Debug)]
pub struct ApiMetrics {
    /// The API.
    pub key: ApiKey,
    /// Latencies, in microseconds.
    pub latency_micros: Histogram,
}

/// The requests of one listener, by API.
#[derive(Debug)]
pub struct RequestMetrics {
    by_api: Vec<ApiMetrics>,
}

impl RequestMetrics {
    /// One entry for every API that the listener serves.
    #[must_use]
    pub fn new(listener: ListenerKind) -> Self {
        let entry = |row: &versions::ApiVersionRange| ApiMetrics {
            key: row.key,
            latency_micros: Histogram::default(),
        };
        Self {
            by_api: versions::table(listener).iter().map(entry).collect(),
        }
    }

    /// A request was answered.
    pub fn answered(&self, key: ApiKey, latency: Duration) {
        if let Some(api) = self.by_api.iter().find(|api| api.key == key) {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            api.latency_micros.record(micros);
        }
    }

    /// By API.
    #[must_use]
    pub fn by_api(&self) -> &[ApiMetrics] {
        &self.by_api
    }
}
