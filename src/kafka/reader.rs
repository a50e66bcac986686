//! A topic read from outside, for people's tools: in no group, without a trace, only what was committed.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, Headers as _, Message as _};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{Offset, TopicPartitionList};

use super::{Clients, KafkaError};

const ANSWER: Duration = Duration::from_secs(10);

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the oldest record.
    Beginning,
    /// With what comes from now on.
    End,
    /// With the first record of this instant or later, milliseconds since the epoch.
    Instant(i64),
    /// So many records before the end of each partition.
    Last(i64),
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The time its producer or the broker gave it, milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Reads all partitions of one topic.
pub struct Reader {
    consumer: BaseConsumer,
    topic: String,
    /// Partitions that were not yet read to what was their end.
    unread: BTreeSet<i32>,
}

impl Reader {
    /// Begins to read.
    ///
    /// # Errors
    /// When there is no such topic, or the broker does not answer.
    pub fn open(clients: &Clients, topic: &str, from: From) -> Result<Self, KafkaError> {
        let failed = |error: &RdKafkaError| KafkaError::of(topic, error);
        let config = clients.config(
            &[("fetch.wait.max.ms", "100"), ("reconnect.backoff.max.ms", "2000")],
            &[
                // librdkafka wants a group for any assignment; nothing is ever committed in this one.
                ("group.id", "segue-reader"),
                ("isolation.level", "read_committed"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "earliest"),
                ("enable.partition.eof", "true"),
            ],
        );
        let consumer: BaseConsumer = config.create().map_err(|error| failed(&error))?;
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER);
        let metadata = metadata.map_err(|error| unavailable(topic, &error))?;
        let known = metadata.topics().iter().find(|known| known.name() == topic && known.error().is_none());
        let partitions: BTreeSet<i32> =
            known.into_iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect();
        if partitions.is_empty() {
            let message = "there is no such topic, or it may not be seen".to_owned();
            return Err(KafkaError::Refused { what: topic.to_owned(), message });
        }
        let start = match from {
            From::Beginning | From::Instant(_) => Offset::Beginning,
            From::End => Offset::End,
            From::Last(count) => Offset::OffsetTail(count),
        };
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            let wanted = if let From::Instant(instant) = from { Offset::Offset(instant) } else { start };
            list.add_partition_offset(topic, *partition, wanted).map_err(|error| failed(&error))?;
        }
        if matches!(from, From::Instant(_)) {
            list = consumer.offsets_for_times(list, ANSWER).map_err(|error| failed(&error))?;
        }
        consumer.assign(&list).map_err(|error| failed(&error))?;
        Ok(Self { consumer, topic: topic.to_owned(), unread: partitions })
    }

    /// The next record; `None` when there is none within `patience`.
    ///
    /// # Errors
    /// When the broker refuses. One that is away is waited for.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Received>, KafkaError> {
        match self.consumer.poll(patience) {
            None => Ok(None),
            Some(Ok(message)) => {
                let headers = message.headers().into_iter().flat_map(BorrowedHeaders::iter);
                let headers = headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)));
                Ok(Some(Received {
                    partition: message.partition(),
                    offset: message.offset(),
                    timestamp_ms: message.timestamp().to_millis(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: headers.collect(),
                }))
            }
            Some(Err(RdKafkaError::PartitionEOF(partition))) => {
                self.unread.remove(&partition);
                Ok(None)
            }
            Some(Err(error)) => {
                use RDKafkaErrorCode::{GroupAuthorizationFailed, TopicAuthorizationFailed};
                if matches!(error.rdkafka_error_code(), Some(TopicAuthorizationFailed | GroupAuthorizationFailed)) {
                    return Err(KafkaError::of(&*self.topic, &error));
                }
                tracing::warn!(%error, topic = self.topic, "reading");
                Ok(None)
            }
        }
    }

    /// Whether everything that was there has been read.
    pub fn is_at_end(&self) -> bool {
        self.unread.is_empty()
    }
}

fn unavailable(what: &str, error: &RdKafkaError) -> KafkaError {
    KafkaError::Unavailable { what: what.to_owned(), message: error.to_string() }
}
