//! Publishes events: each line of standard input, a JSON object, becomes a record whose key is the line's customer id.
//!
//! `cargo run --example publish -- localhost:9092 purchases < events.jsonl`

use std::error::Error;
use std::io::{self, BufRead as _};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(brokers), Some(topic)) = (arguments.next(), arguments.next()) else {
        return Err("usage: publish BROKERS TOPIC < EVENTS".into());
    };
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        // A retry neither repeats an event nor puts it behind a later one.
        .set("enable.idempotence", "true")
        // All producers of a site's events must agree on this: it decides which partition a customer is in.
        .set("partitioner", "murmur2_random")
        .create()?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let event: serde_json::Value = serde_json::from_str(&line)?;
        let customer = event["customer_id"].as_str().ok_or("an event without a customer_id")?;
        let mut record = BaseRecord::to(&topic).key(customer).payload(&line);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    producer.flush(Duration::from_secs(1)).ok();
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
    Ok(producer.flush(Duration::from_mins(1))?)
}
