//! The demo's subscriber: reads the changes as any other would, and tells each in a line.

use std::io::Write;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use crate::engine::catalog::Catalog;

use super::super::words::Words;
use super::broker::PARTITIONS;

/// A subscriber that has seen everything from the beginning.
pub(super) struct Feed {
    consumer: BaseConsumer,
    words: Words,
    /// Changes of before are counted, not told.
    opened_at: i64,
}

/// How many changes were read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// Changes of the shop's past.
    pub(super) n_past: u64,
    /// Changes told.
    pub(super) n_told: u64,
}

impl Feed {
    pub(super) fn subscribe(brokers: &str, topic: &str, catalog: &Catalog, opened_at: i64) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", "demo-subscriber");
        config.set("isolation.level", "read_committed").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create()?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        Ok(Self { consumer, words: Words::new(Some(catalog)), opened_at })
    }

    /// Tells what has come, and waits a little for more.
    pub(super) fn tell(&self, out: &mut impl Write, told: &mut Told) -> Result<(), anyhow::Error> {
        const PATIENCE: Duration = Duration::from_millis(50);
        while let Some(message) = self.consumer.poll(PATIENCE) {
            let message = message?;
            let change: Value = serde_json::from_slice(message.payload().unwrap_or_default())?;
            let at = change["at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
            if at.is_some_and(|at| at.as_millisecond() >= self.opened_at) {
                told.n_told += 1;
                writeln!(out, "{}", self.words.line(&change))?;
            } else {
                told.n_past += 1;
            }
        }
        Ok(())
    }
}
