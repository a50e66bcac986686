//! One partition of the changelog, read back.
//!
//! How far to read is the high watermark as a reader of *uncommitted* records sees it, asked for after the group's offsets
//! were: whatever was committed for this partition lies before it. What is read is only what was committed, so a
//! transaction that is still open is waited for until the broker ends it. "The end of what can be read now" would miss it.

use std::ops::ControlFlow;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::{Clients, KafkaError, Stop};

const ANSWER: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// So many polls without news, and the broker is asked whether it is there at all.
const DOUBT: u32 = 50;

/// What a partition of the changelog holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The offset of its first record.
    pub low: i64,
    /// The offset that its next record will have, open transactions included.
    pub high: i64,
}

/// A record of the changelog.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: &'a [u8],
    /// Its value; `None` removes what was under the key.
    pub value: Option<&'a [u8]>,
}

/// Tells what goes wrong, of which coming to the end is no part.
struct Context;

impl ClientContext for Context {
    fn error(&self, error: RdKafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, reason, "kafka changelog reader");
        }
    }
}

impl ConsumerContext for Context {}

/// Reads one partition of the changelog.
pub struct Changelog<'a> {
    /// How to reach the brokers.
    pub clients: &'a Clients,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// How long a broker that answers may have nothing to give before it is an error.
    pub patience: Duration,
}

impl Changelog<'_> {
    /// What it holds now.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn extent(&self) -> Result<Extent, KafkaError> {
        let consumer = self.consumer("read_uncommitted")?;
        let (low, high) = consumer
            .fetch_watermarks(self.topic, self.partition, ANSWER)
            .map_err(|error| KafkaError::of(self.what(), &error))?;
        Ok(Extent { low, high })
    }

    /// Gives each committed record from `from` on, up to the offset `high`, in order. `each` may break off.
    ///
    /// # Errors
    /// When nothing comes any more though the end is not reached, when the broker refuses, or when `stop` is requested.
    pub fn read(
        &self,
        from: i64,
        high: i64,
        stop: &Stop,
        mut each: impl FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        if from >= high {
            return Ok(());
        }
        let consumer = self.consumer("read_committed")?;
        let mut assignment = TopicPartitionList::new();
        let start = assignment.add_partition_offset(self.topic, self.partition, Offset::Offset(from));
        start.and_then(|()| consumer.assign(&assignment)).map_err(|error| KafkaError::of(self.what(), &error))?;
        let mut position = from;
        // Counted in polls: a process that was halted meanwhile has not waited.
        let mut n_idle = 0;
        while position < high {
            if stop.is_requested() {
                return Err(KafkaError::Stopped);
            }
            let before = position;
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    position = message.offset() + 1;
                    let entry = Entry {
                        offset: message.offset(),
                        key: message.key().unwrap_or_default(),
                        value: message.payload(),
                    };
                    // Records that came after the end was asked for belong to nobody yet.
                    if entry.offset < high && each(entry).is_break() {
                        return Ok(());
                    }
                }
                // Marks of transactions have offsets and no records: only the position tells that they were passed.
                None => {
                    position = position.max(self.position(&consumer));
                    n_idle += 1;
                }
                Some(Err(RdKafkaError::PartitionEOF(_))) => position = position.max(self.position(&consumer)),
                Some(Err(error)) => {
                    let error = KafkaError::of(self.what(), &error);
                    if !error.is_passing() {
                        return Err(error);
                    }
                    tracing::warn!(%error, "reading the changelog");
                }
            }
            if position > before {
                n_idle = 0;
            } else if n_idle > 0 && n_idle % DOUBT == 0 {
                self.still_there(position, high, POLL * n_idle)?;
            }
        }
        Ok(())
    }

    fn position(&self, consumer: &BaseConsumer<Context>) -> i64 {
        let positions = consumer.position().unwrap_or_default();
        let position = positions.find_partition(self.topic, self.partition).map(|element| element.offset());
        position.and_then(Offset::to_raw).unwrap_or(i64::MIN)
    }

    /// Whether it makes sense to go on waiting: a broker that is away is another matter than one that has nothing to give.
    fn still_there(&self, position: i64, high: i64, waited: Duration) -> Result<(), KafkaError> {
        let Extent { low, high: now_high } = self.extent()?;
        if waited < self.patience {
            return Ok(());
        }
        Err(KafkaError::Refused {
            what: self.what(),
            message: format!(
                "nothing was read for {} seconds at offset {position} of {high}; the broker now holds offsets {low} to \
                 {now_high}. An open transaction that nobody ends (see `kafka-transactions.sh find-hanging`), or records \
                 removed from its end, look like this",
                waited.as_secs()
            ),
        })
    }

    fn what(&self) -> String {
        format!("{} {}", self.topic, self.partition)
    }

    fn consumer(&self, isolation: &str) -> Result<BaseConsumer<Context>, KafkaError> {
        let config = self.clients.config(
            &[
                ("fetch.queue.backoff.ms", "5"),
                ("fetch.wait.max.ms", "100"),
                ("queued.min.messages", "200000"),
                ("queued.max.messages.kbytes", "65536"),
                ("reconnect.backoff.max.ms", "2000"),
            ],
            &[
                // librdkafka wants a group for any assignment; nothing is ever committed in this one.
                ("group.id", "segue-changelog-reader"),
                ("isolation.level", isolation),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("enable.partition.eof", "true"),
            ],
        );
        config.create_with_context(Context).map_err(|error| KafkaError::of(self.what(), &error))
    }
}
