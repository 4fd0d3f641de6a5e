//! What is built in on purpose to break the broker; a release build contains none of it.

pub mod catalogue;
pub mod seeded_bug;
