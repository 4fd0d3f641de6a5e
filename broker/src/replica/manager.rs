//! The partitions that this broker holds: found by handlers, made and changed by metadata images.

/// Every partition of this broker.
pub struct ReplicaManager {}
