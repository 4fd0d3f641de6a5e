//! The broker as a process: how it starts, stops, comes back, and what bad company does to it.

#[path = "../wire/batch.rs"]
mod batch;
mod full_disk;
#[path = "../wire/hex.rs"]
mod hex;
mod hostile;
mod lifecycle;
#[path = "../wire/raw.rs"]
mod raw;
mod requests;
mod running;
