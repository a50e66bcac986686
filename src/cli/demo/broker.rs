//! A broker inside the process: librdkafka's mock cluster, which keeps records in memory and speaks Kafka's protocol. It
//! forgets the offsets of transactions, so it serves a demo and proves nothing.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

use crate::config::Topics;

use super::shop::ShopRecord;

/// Partitions of every topic.
pub(super) const PARTITIONS: i32 = 4;

/// The broker. It is gone when this is dropped.
pub(super) struct Broker(MockCluster<'static, DefaultProducerContext>);

impl Broker {
    /// Starts one with these topics.
    pub(super) fn start(topics: &[String]) -> Result<Self, KafkaError> {
        let cluster = MockCluster::new(1)?;
        for topic in topics {
            cluster.create_topic(topic, PARTITIONS, 1)?;
        }
        Ok(Self(cluster))
    }

    /// Where it listens, on loopback.
    pub(super) fn address(&self) -> String {
        self.0.bootstrap_servers()
    }
}

/// The shop's side: sends its records to their topics.
pub(super) struct Till {
    producer: BaseProducer,
    topics: Topics,
}

impl Till {
    pub(super) fn connect(brokers: &str, topics: &Topics) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("linger.ms", "1");
        Ok(Self { producer: config.create()?, topics: topics.clone() })
    }

    /// Sends records; those of one customer arrive in this order.
    pub(super) fn send(&self, records: &[ShopRecord]) -> Result<(), KafkaError> {
        for record in records {
            let mut inputs = self.topics.inputs();
            let Some((_, topic)) = inputs.find(|(name, _)| *name == record.record_type) else { continue };
            let value = record.json.to_string();
            let message = BaseRecord::to(topic).key(record.customer).payload(&value);
            self.producer.send(message).map_err(|(error, _)| error)?;
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Waits until all that was sent has arrived.
    pub(super) fn flush(&self) -> Result<(), KafkaError> {
        self.producer.flush(Duration::from_secs(30))
    }
}
