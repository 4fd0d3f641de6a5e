//! Settings that are right one by one may be wrong together: checked as a whole, all at once.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::BrokerConfig;

/// Everything that does not fit together in `config`, each with the mend. `given` says whether a
/// setting was given (by name) or is a default.
#[must_use]
pub fn problems(config: &BrokerConfig, given: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    voters(config, &mut found);
    listeners(config, &mut found);
    sizes(config, given, &mut found);
    times(config, &mut found);
    found
}

fn voters(config: &BrokerConfig, found: &mut Vec<String>) {
    let ids: BTreeSet<_> = config.voters.iter().map(|voter| voter.id).collect();
    if ids.len() < config.voters.len() {
        found.push("voters: an id occurs twice; give each broker one of its own".to_owned());
    }
    let addresses: BTreeSet<_> = config
        .voters
        .iter()
        .map(|voter| (&voter.controller.host, voter.controller.port))
        .collect();
    if addresses.len() < config.voters.len() {
        found.push("voters: an address occurs twice; give each broker its own".to_owned());
    }
    if !ids.contains(&config.id) {
        let id = config.id;
        found.push(format!(
            "voters: broker {id} itself is not among them; add {id}@HOST:PORT, or set another id"
        ));
    }
}

fn listeners(config: &BrokerConfig, found: &mut Vec<String>) {
    let listeners = [
        ("client-listen", config.client_listen),
        ("replication-listen", config.replication_listen),
        ("controller-listen", config.controller_listen),
        ("admin-listen", config.admin_listen),
    ];
    for (index, (name, address)) in listeners.iter().enumerate() {
        let taken = listeners[..index]
            .iter()
            .find(|(_, other)| other == address && address.port() != 0);
        if let Some((other, _)) = taken {
            found.push(format!(
                "{name}: {address} is {other} already; every listener needs a port of its own"
            ));
        }
    }
    let advertised = [
        ("client-advertised", &config.client_advertised),
        ("replication-advertised", &config.replication_advertised),
    ];
    for (name, endpoint) in advertised {
        if ["0.0.0.0", "::"].contains(&endpoint.host.as_str()) {
            let host = &endpoint.host;
            found.push(format!(
                "{name}: nobody can connect to {host}; give a host name or address that others \
                 can reach"
            ));
        }
    }
}

fn sizes(config: &BrokerConfig, given: &dyn Fn(&str) -> bool, found: &mut Vec<String>) {
    /// Room for everything in a request that is not the batch.
    const REQUEST_OVERHEAD: usize = 1 << 10;
    if config.max_message_bytes + REQUEST_OVERHEAD > config.max_request_bytes {
        found.push(format!(
            "max-message-bytes: a batch of {} bytes does not fit into max-request-bytes ({}); \
             lower the one or raise the other",
            config.max_message_bytes, config.max_request_bytes
        ));
    }
    if config.max_request_bytes > config.max_queued_request_bytes {
        found.push(format!(
            "max-request-bytes: {} is more than max-queued-request-bytes ({}) holds; lower the \
             one or raise the other",
            config.max_request_bytes, config.max_queued_request_bytes
        ));
    }
    let factor = i32::from(config.default_replication_factor);
    let both_given = given("min-insync-replicas") && given("default-replication-factor");
    if both_given && config.min_insync_replicas > factor {
        found.push(format!(
            "min-insync-replicas: {} replicas cannot be in sync where default-replication-factor \
             is {factor}; lower the one or raise the other",
            config.min_insync_replicas
        ));
    }
}

fn times(config: &BrokerConfig, found: &mut Vec<String>) {
    let ms = |duration: Duration| duration.as_millis();
    let mut at_least_twice = |longer: (&str, Duration), shorter: (&str, Duration)| {
        if longer.1 < shorter.1 * 2 {
            found.push(format!(
                "{}: {} ms is less than twice {} ({} ms), so that one late message is taken for \
                 a death; raise the one or lower the other",
                longer.0,
                ms(longer.1),
                shorter.0,
                ms(shorter.1)
            ));
        }
    };
    at_least_twice(
        ("broker-session-timeout-ms", config.broker_session_timeout),
        (
            "broker-heartbeat-interval-ms",
            config.broker_heartbeat_interval,
        ),
    );
    at_least_twice(
        ("raft-election-timeout-ms", config.raft_election_timeout.0),
        ("raft-heartbeat-interval-ms", config.raft_heartbeat_interval),
    );
    at_least_twice(
        ("replica-lag-time-max-ms", config.replica_lag_time_max),
        ("replica-fetch-wait-max-ms", config.replica_fetch_wait_max),
    );
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::Voter;
    use crate::types::BrokerId;

    fn problems_of(change: impl FnOnce(&mut BrokerConfig)) -> Vec<String> {
        let mut config = BrokerConfig::default();
        change(&mut config);
        problems(&config, &|_| true)
    }

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(problems_of(|_| ()), Vec::<String>::new());
        assert_eq!(problems_of(|c| c.data_dir = PathBuf::from("/x")).len(), 0);
    }

    #[test]
    fn each_contradiction_is_found() {
        let found = problems_of(|c| c.id = BrokerId(9));
        assert!(found[0].contains("add 9@HOST:PORT"), "{found:?}");
        let found = problems_of(|c| {
            let again: Voter = c.voters[0].clone();
            c.voters.push(again);
        });
        assert_eq!(found.len(), 2, "{found:?}");
        let found = problems_of(|c| c.admin_listen = c.client_listen);
        assert!(found[0].starts_with("admin-listen"), "{found:?}");
        let found = problems_of(|c| c.client_advertised.host = "0.0.0.0".to_owned());
        assert!(found[0].starts_with("client-advertised"), "{found:?}");
        let found = problems_of(|c| c.max_request_bytes = c.max_message_bytes);
        assert!(found[0].starts_with("max-message-bytes"), "{found:?}");
        let found = problems_of(|c| c.max_queued_request_bytes = 1 << 20);
        assert!(found[0].starts_with("max-request-bytes"), "{found:?}");
        let found = problems_of(|c| c.min_insync_replicas = 4);
        assert!(found[0].starts_with("min-insync-replicas"), "{found:?}");
        let found = problems_of(|c| c.broker_session_timeout = c.broker_heartbeat_interval);
        assert!(found[0].starts_with("broker-session"), "{found:?}");
    }
}
