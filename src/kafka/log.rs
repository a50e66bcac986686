//! What a worker asks of Kafka, and no more: the seam at which a simulation takes the place of librdkafka.
//!
//! librdkafka's side of it is in [`super::consumer`], [`super::transaction`] and [`super::changelog`].

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use super::changelog::{Changelog, Entry, Extent};
use super::consumer::{Consumer, Event, Membership, Offsets};
use super::registry::{Lookup, Registry};
use super::topics::Topics;
use super::transaction::{Failure, Outgoing, Producer};
use super::watchdog::Watchdog;
use super::{Clients, KafkaError, Stop};

/// One partition of a topic that is read back.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// How long a broker that answers may have nothing to give before it is an error.
    pub patience: Duration,
}

/// Where input comes from and where all goes to.
pub trait Log: Clone + Send + Sync + 'static {
    /// A member of the group that reads the input.
    type Consumer: LogConsumer;
    /// Sends what becomes visible whole or not at all.
    type Producer: LogProducer<Progress = <Self::Consumer as LogConsumer>::Progress>;

    /// As [`Consumer::join`].
    fn join(&self, membership: &Membership) -> Result<Self::Consumer, KafkaError>;

    /// As [`Producer::start`].
    fn start_producer(
        &self,
        transactional_id: &str,
        watchdog: &Watchdog,
        stop: &Stop,
        on_wait: impl FnMut(&KafkaError),
    ) -> Result<Self::Producer, KafkaError>;

    /// As [`Changelog::extent`].
    fn extent(&self, of: Place<'_>) -> Result<Extent, KafkaError>;

    /// As [`Changelog::read`].
    fn read(
        &self,
        from: Place<'_>,
        extent: Extent,
        stop: &Stop,
        each: impl FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError>;

    /// As [`Topics::shared_partitions`].
    fn shared_partitions(&self, topics: &[String]) -> Result<i32, KafkaError>;
}

/// Knows schemas by their ids.
pub trait Schemas: Clone + Send + Sync + 'static {
    /// As [`Registry::schema`].
    fn schema(&self, id: u32) -> Lookup;
}

/// A member of the group.
pub trait LogConsumer: Sized {
    /// A fetched record.
    type Message<'c>: LogMessage
    where
        Self: 'c;

    /// Input offsets that are to join a transaction, and in which generation of the group.
    type Progress: Send + 'static;

    /// Serves the group, whose decisions become [events](Self::event); to be called often. Gives a record that was fetched
    /// before its queue was made.
    ///
    /// # Errors
    /// When fetching cannot go on. Brokers that are away are no error here: they are waited for.
    fn serve(&self) -> Result<Option<Self::Message<'_>>, KafkaError>;

    /// The next record of a topic and partition, if it is fetched.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    fn take(&self, lane: usize, partition: i32) -> Result<Option<Self::Message<'_>>, KafkaError>;

    /// Waits until something is fetched that was waited for; not longer than `timeout`, and sometimes less.
    fn wait(&self, timeout: Duration);

    /// What the group decided since it was last asked.
    fn event(&self) -> Option<Event>;

    /// Fetches from these offsets on, and nothing else.
    ///
    /// # Errors
    /// When librdkafka refuses.
    fn assign(&self, offsets: &Offsets) -> Result<(), KafkaError>;

    /// Fetches nothing, and lets the group go on.
    ///
    /// # Errors
    /// When librdkafka refuses.
    fn unassign(&self) -> Result<(), KafkaError>;

    /// Whether another member took our name in the group, or still has it: nothing works any more, and another consumer is to
    /// be made.
    fn is_fenced(&self) -> bool;

    /// Whether the group has gone on without us: nothing can be committed.
    fn is_lost(&self) -> bool;

    /// The group's offsets of these partitions of all topics. Transactions under way are waited for.
    ///
    /// # Errors
    /// When the broker does not answer.
    fn committed(&self, partitions: &BTreeSet<i32>) -> Result<Offsets, KafkaError>;

    /// What is to join a transaction: these offsets, fenced by the group's generation as it is now.
    ///
    /// # Errors
    /// When this member is not one of the group any more.
    fn progress(&self, offsets: &Offsets) -> Result<Self::Progress, Failure>;

    /// The offset that the next record of each topic and partition will have, as far as a reader of committed records sees.
    ///
    /// # Errors
    /// When the broker does not answer.
    fn ends(&self, of: impl IntoIterator<Item = (usize, i32)>) -> Result<Offsets, KafkaError>;

    /// The offset of the first record that each topic and partition still has.
    ///
    /// # Errors
    /// When the broker does not answer.
    fn beginnings(&self, of: impl IntoIterator<Item = (usize, i32)>) -> Result<Offsets, KafkaError>;

    /// The fetch positions: they go past offsets that hold no records.
    ///
    /// # Errors
    /// When librdkafka refuses.
    fn positions(&self) -> Result<Offsets, KafkaError>;
}

/// A fetched record.
pub trait LogMessage {
    /// The topic, as its position in [`Membership::topics`].
    fn lane(&self) -> usize;

    /// The partition.
    fn partition(&self) -> i32;

    /// The offset.
    fn offset(&self) -> i64;

    /// The time the broker or the producer gave it, milliseconds since the epoch.
    fn timestamp_ms(&self) -> Option<i64>;

    /// The key.
    fn key(&self) -> Option<&[u8]>;

    /// The value.
    fn value(&self) -> Option<&[u8]>;

    /// The last header of each of these names.
    fn last_headers<const N: usize>(&self, names: [&str; N]) -> [Option<&[u8]>; N];

    /// Its headers, in order.
    fn headers(&self) -> Vec<(String, Option<Vec<u8>>)>;
}

/// Sends what becomes visible whole or not at all.
pub trait LogProducer: Sized + Send + 'static {
    /// [`LogConsumer::Progress`].
    type Progress;

    /// Sends a record as part of the transaction, which it begins if need be.
    ///
    /// # Errors
    /// [`Failure::Doubt`] when librdkafka does not take it.
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure>;

    /// Puts input offsets into the transaction.
    ///
    /// # Errors
    /// When the group has gone on since, or the broker refuses.
    fn send_offsets(&mut self, progress: &Self::Progress) -> Result<(), Failure>;

    /// Commits, once the broker has all that was sent.
    ///
    /// # Errors
    /// When a record was not taken, when it is aborted instead, or its outcome is not known.
    fn commit(&mut self) -> Result<(), Failure>;

    /// Aborts what is under way.
    ///
    /// # Errors
    /// [`Failure::Doubt`] when that fails, too.
    fn abort(&mut self) -> Result<(), Failure>;

    /// Gives up what is under way.
    fn close(self);
}

impl Schemas for Registry {
    fn schema(&self, id: u32) -> Lookup {
        self.schema(id)
    }
}

impl Log for Clients {
    type Consumer = Consumer;
    type Producer = Producer;

    fn join(&self, membership: &Membership) -> Result<Consumer, KafkaError> {
        Consumer::join(self, membership)
    }

    fn start_producer(
        &self,
        transactional_id: &str,
        watchdog: &Watchdog,
        stop: &Stop,
        on_wait: impl FnMut(&KafkaError),
    ) -> Result<Producer, KafkaError> {
        Producer::start(self, transactional_id, watchdog, stop, on_wait)
    }

    fn extent(&self, of: Place<'_>) -> Result<Extent, KafkaError> {
        self.changelog(of).extent()
    }

    fn read(
        &self,
        from: Place<'_>,
        extent: Extent,
        stop: &Stop,
        each: impl FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        self.changelog(from).read(extent.low, extent.high, stop, each)
    }

    fn shared_partitions(&self, topics: &[String]) -> Result<i32, KafkaError> {
        Topics::new(self)?.shared_partitions(topics)
    }
}

impl Clients {
    fn changelog<'a>(&'a self, Place { topic, partition, patience }: Place<'a>) -> Changelog<'a> {
        Changelog { clients: self, topic, partition, patience }
    }
}
