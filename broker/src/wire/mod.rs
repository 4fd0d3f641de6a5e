//! Kafka's wire format: frames, headers, the table of versions, dispatch.

pub mod frame;
pub mod versions;
