//! Traffic, put into the broker before anything is measured.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use segue::wire::schema::SchemaSet;

use crate::broker::{Broker, INPUTS};
use crate::encode::Encoder;
use crate::traffic::{Size, Traffic, customer_id};

/// Publishes all of it; a record's timestamp is the instant of its event. Gives the bytes of the values.
pub(crate) fn publish(broker: &Broker, size: &Size, end_ms: i64) -> Result<u64> {
    let producer: ThreadedProducer<DefaultProducerContext> = broker
        .client()
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("batch.num.messages", "20000")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    let encoder = Encoder::new(&SchemaSet::shipped()?).context("a shipped schema is missing")?;
    let mut traffic = Traffic::new(size, end_ms);
    let (mut value, mut n_bytes) = (Vec::new(), 0);
    while let Some(event) = traffic.next() {
        value.clear();
        encoder.write(&event, &mut traffic.details(&event), &mut value);
        n_bytes += value.len() as u64;
        let key = customer_id(event.customer);
        let mut record =
            BaseRecord::to(INPUTS[event.kind as usize]).key(&key).payload(&value).timestamp(event.occurred_at);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
    producer.flush(Duration::from_mins(2))?;
    Ok(n_bytes)
}
