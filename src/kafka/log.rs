//! What a worker asks of Kafka, and no more: the seam at which a simulation takes the place of librdkafka.
//!
//! What each call promises is said where it is done: [`super::consumer`], [`super::transaction`], [`super::changelog`].

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use super::changelog::{Changelog, Entry, Extent};
use super::consumer::{Consumer, Event, Membership, Message, Offsets};
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
    type Producer: LogProducer<Consumer = Self::Consumer>;

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

/// A member of the group.
pub trait LogConsumer: Sized {
    /// A fetched record.
    type Message<'c>: LogMessage
    where
        Self: 'c;

    /// As [`Consumer::serve`].
    fn serve(&self) -> Result<Option<Self::Message<'_>>, KafkaError>;
    /// As [`Consumer::take`].
    fn take(&self, lane: usize, partition: i32) -> Result<Option<Self::Message<'_>>, KafkaError>;
    /// As [`Consumer::wait`].
    fn wait(&self, timeout: Duration);
    /// As [`Consumer::event`].
    fn event(&self) -> Option<Event>;
    /// As [`Consumer::assign`].
    fn assign(&self, offsets: &Offsets) -> Result<(), KafkaError>;
    /// As [`Consumer::unassign`].
    fn unassign(&self) -> Result<(), KafkaError>;
    /// As [`Consumer::is_fenced`].
    fn is_fenced(&self) -> bool;
    /// As [`Consumer::is_lost`].
    fn is_lost(&self) -> bool;
    /// As [`Consumer::committed`].
    fn committed(&self, partitions: &BTreeSet<i32>) -> Result<Offsets, KafkaError>;
    /// As [`Consumer::ends`].
    fn ends(&self, of: impl IntoIterator<Item = (usize, i32)>) -> Result<Offsets, KafkaError>;
    /// As [`Consumer::beginnings`].
    fn beginnings(&self, of: impl IntoIterator<Item = (usize, i32)>) -> Result<Offsets, KafkaError>;
    /// As [`Consumer::positions`].
    fn positions(&self) -> Result<Offsets, KafkaError>;
}

/// A fetched record. As [`Message`].
#[expect(missing_docs, reason = "said at the type that was there first")]
pub trait LogMessage {
    fn lane(&self) -> usize;
    fn partition(&self) -> i32;
    fn offset(&self) -> i64;
    fn timestamp_ms(&self) -> Option<i64>;
    fn key(&self) -> Option<&[u8]>;
    fn value(&self) -> Option<&[u8]>;
    fn header(&self, name: &str) -> Option<&[u8]>;
    fn headers(&self) -> Vec<(String, Option<Vec<u8>>)>;
}

/// Sends what becomes visible whole or not at all.
pub trait LogProducer: Sized {
    /// Whose offsets join the transaction.
    type Consumer: LogConsumer;

    /// As [`Producer::send`].
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure>;
    /// As [`Producer::send_offsets`].
    fn send_offsets(&mut self, consumer: &Self::Consumer, offsets: &Offsets) -> Result<(), Failure>;
    /// As [`Producer::commit`].
    fn commit(&mut self) -> Result<(), Failure>;
    /// As [`Producer::abort`].
    fn abort(&mut self) -> Result<(), Failure>;
    /// As [`Producer::close`].
    fn close(self);
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

impl LogConsumer for Consumer {
    type Message<'c> = Message<'c>;

    fn serve(&self) -> Result<Option<Message<'_>>, KafkaError> {
        self.serve()
    }

    fn take(&self, lane: usize, partition: i32) -> Result<Option<Message<'_>>, KafkaError> {
        self.take(lane, partition)
    }

    fn wait(&self, timeout: Duration) {
        self.wait(timeout);
    }

    fn event(&self) -> Option<Event> {
        self.event()
    }

    fn assign(&self, offsets: &Offsets) -> Result<(), KafkaError> {
        self.assign(offsets)
    }

    fn unassign(&self) -> Result<(), KafkaError> {
        self.unassign()
    }

    fn is_fenced(&self) -> bool {
        self.is_fenced()
    }

    fn is_lost(&self) -> bool {
        self.is_lost()
    }

    fn committed(&self, partitions: &BTreeSet<i32>) -> Result<Offsets, KafkaError> {
        self.committed(partitions)
    }

    fn ends(&self, of: impl IntoIterator<Item = (usize, i32)>) -> Result<Offsets, KafkaError> {
        self.ends(of)
    }

    fn beginnings(&self, of: impl IntoIterator<Item = (usize, i32)>) -> Result<Offsets, KafkaError> {
        self.beginnings(of)
    }

    fn positions(&self) -> Result<Offsets, KafkaError> {
        self.positions()
    }
}

impl LogMessage for Message<'_> {
    fn lane(&self) -> usize {
        self.lane()
    }

    fn partition(&self) -> i32 {
        self.partition()
    }

    fn offset(&self) -> i64 {
        self.offset()
    }

    fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms()
    }

    fn key(&self) -> Option<&[u8]> {
        self.key()
    }

    fn value(&self) -> Option<&[u8]> {
        self.value()
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.header(name)
    }

    fn headers(&self) -> Vec<(String, Option<Vec<u8>>)> {
        self.headers()
    }
}

impl LogProducer for Producer {
    type Consumer = Consumer;

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        self.send(record)
    }

    fn send_offsets(&mut self, consumer: &Consumer, offsets: &Offsets) -> Result<(), Failure> {
        self.send_offsets(consumer, offsets)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.commit()
    }

    fn abort(&mut self) -> Result<(), Failure> {
        self.abort()
    }

    fn close(self) {
        self.close();
    }
}
