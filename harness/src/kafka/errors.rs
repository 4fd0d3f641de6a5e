//! Kafka's error codes by the names that everybody knows them under.

use kafka_protocol::ResponseError;

/// The name of a code as Kafka's documentation writes it (`NOT_LEADER_OR_FOLLOWER`).
#[must_use]
pub fn name_of(code: i16) -> String {
    if code == 0 {
        return "NONE".to_owned();
    }
    match ResponseError::try_from_code(code) {
        Some(error) if !matches!(error, ResponseError::Unknown(_)) => {
            screaming(&format!("{error:?}"))
        }
        _ => format!("ERROR_{code}"),
    }
}

/// `NotLeaderOrFollower` as `NOT_LEADER_OR_FOLLOWER`.
fn screaming(camel: &str) -> String {
    let mut name = String::with_capacity(camel.len() + 8);
    for (i, c) in camel.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        assert_eq!(name_of(0), "NONE");
        assert_eq!(name_of(6), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(name_of(20), "NOT_ENOUGH_REPLICAS_AFTER_APPEND");
        assert_eq!(name_of(78), "OFFSET_NOT_AVAILABLE");
        assert_eq!(name_of(-1), "UNKNOWN_SERVER_ERROR");
        assert_eq!(name_of(3210), "ERROR_3210");
    }
}
