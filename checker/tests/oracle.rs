//! The checker against checkers too simple to be wrong, on small random histories.
//!
//! Lists: a history in which everything was read at the end is strictly serializable if and only if
//! its transactions can be put into some order, one after the other, that agrees with real time and
//! in which every read returns what was appended before it. All orders are tried.
//!
//! Logs: every anomaly that is no cycle, by its definition, over all pairs.

#[path = "oracle/lists.rs"]
mod lists;
#[path = "oracle/logs.rs"]
mod logs;
