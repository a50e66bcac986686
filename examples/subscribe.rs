//! Subscribes to segment changes: prints the value of every record that is there now, and ends.
//!
//! `cargo run --example subscribe -- localhost:9092 segment-changes`, for an engine with `output: {format: json}`.

use std::error::Error;
use std::io::{self, Write as _};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};

const TIMEOUT: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(brokers), Some(topic)) = (arguments.next(), arguments.next()) else {
        return Err("usage: subscribe BROKERS TOPIC".into());
    };
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "example-subscriber")
        // Without this a subscriber sees changes of transactions that never happened.
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(&topic), TIMEOUT)?;
    let mut wanted = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
        wanted.add_partition_offset(&topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&wanted)?;
    let mut n_unread = wanted.count();
    let mut output = io::stdout().lock();
    while n_unread > 0 {
        match consumer.poll(TIMEOUT).ok_or("the broker does not answer")? {
            Ok(record) => {
                output.write_all(record.payload().unwrap_or_default())?;
                output.write_all(b"\n")?;
            }
            Err(KafkaError::PartitionEOF(_)) => n_unread -= 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(output.flush()?)
}
