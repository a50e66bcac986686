//! segue: a real-time customer segmentation engine.

#[cfg(feature = "server")]
pub mod cli;
pub mod config;
pub mod definition;
pub mod engine;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod kafka;
pub mod partition;
pub mod store;
#[cfg(feature = "server")]
pub mod telemetry;
pub mod testing;
pub mod wire;
#[cfg(feature = "server")]
pub mod worker;
