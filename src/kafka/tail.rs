//! The end of a topic that we write, followed: what was committed, partition by partition, from given offsets on.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as RdKafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::changelog::Extent;
use super::{Clients, KafkaError};

const ANSWER: Duration = Duration::from_secs(10);

/// A record of the topic.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its partition.
    pub partition: usize,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A reader of all partitions of a topic.
pub struct Tail {
    consumer: BaseConsumer,
    topic: String,
}

impl Tail {
    /// Connects.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn connect(clients: &Clients, topic: &str) -> Result<Self, KafkaError> {
        let config = clients.config(
            &[
                ("fetch.wait.max.ms", "100"),
                ("fetch.queue.backoff.ms", "5"),
                ("queued.min.messages", "5000"),
                ("queued.max.messages.kbytes", "8192"),
                ("reconnect.backoff.max.ms", "2000"),
            ],
            &[
                // librdkafka wants a group for any assignment; nothing is ever committed in this one.
                ("group.id", "segue-changes-reader"),
                ("isolation.level", "read_committed"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "earliest"),
            ],
        );
        let consumer = config.create().map_err(|error| KafkaError::of(topic, &error))?;
        Ok(Self { consumer, topic: topic.to_owned() })
    }

    /// What each partition holds that is committed.
    ///
    /// # Errors
    /// When the broker does not answer, or there is no such topic.
    pub fn extents(&self) -> Result<Vec<Extent>, KafkaError> {
        (0..self.n_partitions()?).map(|partition| self.extent(partition)).collect()
    }

    /// How many partitions there are, which is more than none.
    ///
    /// # Errors
    /// When the broker does not answer, or there is no such topic.
    pub fn n_partitions(&self) -> Result<usize, KafkaError> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), ANSWER);
        let metadata = metadata.map_err(|error| KafkaError::of(self.topic.as_str(), &error))?;
        let count = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let count = count.map_or(0, |topic| topic.partitions().len());
        if count == 0 {
            let message = "the broker has no such topic yet".to_owned();
            return Err(KafkaError::Unavailable { what: self.topic.clone(), message });
        }
        Ok(count)
    }

    /// What a partition holds that is committed.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn extent(&self, partition: usize) -> Result<Extent, KafkaError> {
        let watermarks = self.consumer.fetch_watermarks(&self.topic, number(partition), ANSWER);
        let (low, high) = watermarks.map_err(|error| KafkaError::of(self.topic.as_str(), &error))?;
        Ok(Extent { low, high })
    }

    /// Reads from these offsets on, one for each partition.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn start(&self, offsets: &[i64]) -> Result<(), KafkaError> {
        self.start_some(offsets.iter().copied().enumerate())
    }

    /// Reads only these partitions, from these offsets on.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn start_some(&self, offsets: impl IntoIterator<Item = (usize, i64)>) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.topic, number(partition), Offset::Offset(offset))
                .map_err(|error| KafkaError::of(self.topic.as_str(), &error))?;
        }
        self.consumer.assign(&list).map_err(|error| KafkaError::of(self.topic.as_str(), &error))
    }

    /// The next record, if one comes in time. A broker that is away is waited for.
    ///
    /// # Errors
    /// When reading cannot go on.
    pub fn poll(&self, timeout: Duration) -> Result<Option<Record>, KafkaError> {
        match self.consumer.poll(timeout) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(Record {
                partition: usize::try_from(message.partition()).unwrap_or_default(),
                offset: message.offset(),
                key: message.key().unwrap_or_default().to_vec(),
                value: message.payload().unwrap_or_default().to_vec(),
            })),
            Some(Err(error)) if matches!(error, RdKafkaError::MessageConsumptionFatal(_)) => {
                Err(KafkaError::of(self.topic.as_str(), &error))
            }
            Some(Err(error)) => {
                tracing::debug!(%error, topic = self.topic, "following");
                Ok(None)
            }
        }
    }

    /// How far each partition was read, what holds no records included; as many as `offsets`, which stand in where nothing
    /// was read yet.
    pub fn positions(&self, offsets: &[i64]) -> Vec<i64> {
        let positions = self.consumer.position().unwrap_or_default();
        let position = |(partition, before): (usize, &i64)| {
            let element = positions.find_partition(&self.topic, number(partition));
            element.and_then(|element| element.offset().to_raw()).unwrap_or(*before).max(*before)
        };
        offsets.iter().enumerate().map(position).collect()
    }
}

fn number(partition: usize) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}
