//! ApiVersions (18): what this listener serves.
//!
//! Version notes: the response header is v0 in every version; v3 is flexible and carries the
//! client's software name and version. A request of an unknown version never gets here: it is
//! answered with [`unsupported`], v0 with error 35 and the full list, so that the client can ask
//! again (KIP-511).

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::api::{Context, Pending, Reply, encode, ready};
use crate::net::ListenerKind;
use crate::wire::versions;

/// Answers with the listener's table.
#[must_use]
pub fn handle(
    _: &Arc<Context>,
    listener: ListenerKind,
    version: i16,
    request: ApiVersionsRequest,
) -> Pending {
    let named = &request.client_software_name;
    let valid = version < 3
        || (is_software_name(named) && is_software_name(&request.client_software_version));
    let error = if valid {
        0
    } else {
        ResponseError::InvalidRequest.code()
    };
    ready(encode(&response(listener, error), version))
}

/// The answer to a version that is not known here.
#[must_use]
pub fn unsupported(listener: ListenerKind) -> Reply {
    let code = ResponseError::UnsupportedVersion.code();
    encode(&response(listener, code), 0)
}

fn response(listener: ListenerKind, error: i16) -> ApiVersionsResponse {
    let row = |row: &versions::ApiVersionRange| {
        ApiVersion::default()
            .with_api_key(row.key as i16)
            .with_min_version(row.advertised_min)
            .with_max_version(row.max)
    };
    ApiVersionsResponse::default()
        .with_error_code(error)
        .with_api_keys(versions::table(listener).iter().map(row).collect())
}

/// KIP-511: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_software_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    edge(name.chars().next()) && edge(name.chars().next_back()) && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_those_of_kip_511() {
        for good in ["librdkafka", "2.0.2", "apache-kafka-java", "a"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "ü"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
