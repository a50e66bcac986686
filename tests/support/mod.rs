//! Real servers for integration tests: a Kafka broker and a schema registry, started by the test that needs them.
//!
//! `./dev setup` fetches both. Each runs as a child process on free loopback ports in a directory of its own, and dies with
//! the test process however that ends.

#![allow(dead_code, unused_imports, reason = "every test binary compiles this module, and none uses all of it")]
#![allow(unreachable_pub, reason = "a test binary has no users, and `pub` says what this module offers to the tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot start its server has failed")]

mod broker;
pub mod load;
mod process;
mod proxy;
mod registry;
mod site;

pub use broker::{Broker, Message};
pub use process::{Server, clients_home, cpu_seconds_of, free_port};
pub use proxy::Proxy;
pub use registry::Registry;
pub use site::{Event, Site, Story, story};
