//! What goes over the wire, byte by byte: one broker with the real dispatch, log and replica, and
//! a controller in the process. Expected bytes are written down by hand from Kafka's message
//! definitions, not produced by the library that the broker encodes with.

mod batch;
mod broker;
mod data;
mod discovery;
mod hex;
mod order;
mod raw;
mod topics;
