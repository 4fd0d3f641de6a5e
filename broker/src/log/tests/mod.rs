//! Tests of the log as a whole: against a model, on a disk that fails in every way.

mod basics;
mod support;
