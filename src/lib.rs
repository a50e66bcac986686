//! segue: a real-time customer segmentation engine.

pub mod config;
pub mod definition;
pub mod engine;
pub mod partition;
pub mod store;
pub mod wire;
