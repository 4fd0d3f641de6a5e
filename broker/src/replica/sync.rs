//! What [`super::publication`] is built of. `tests/loom` has another one of these, in which every
//! operation is a point where loom may let another thread go on.

pub use std::sync::{Arc, Weak};

pub use arc_swap::{ArcSwap, ArcSwapOption};
