//! Tests of the log as a whole: against a model, on a disk that fails in every way.

mod basics;
mod crashes;
mod damage;
mod full_disk;
mod keeping;
mod readers;
mod seeded;
pub(super) mod support;
