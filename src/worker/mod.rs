//! Who drives: one owner per partition number polls, applies, commits, restores and hands over.

pub mod marker;
pub mod query;
pub mod status;
