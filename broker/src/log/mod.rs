//! The log: one group-committed WAL per broker, and each partition's view of it.
