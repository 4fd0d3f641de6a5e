//! Kafka's wire format: frames, headers, the table of versions, dispatch.

pub mod dispatch;
pub mod frame;
pub mod header;
pub mod shape;
pub mod versions;
