//! A worker's consumer of the input topics: polled by one thread, which also handles what the group decides.
//!
//! A rebalance is not acted upon inside librdkafka's callback: it becomes an [`Event`] that the worker handles between two
//! polls, on its own thread, and acknowledges by [`Consumer::assign`] or [`Consumer::unassign`]. Fetching starts where the
//! worker says, never where the group's offsets or a reset policy would.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol};
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _, Message as _};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::handover::{Handover, TopicPartition};
use super::log::{LogConsumer, LogMessage};
use super::members::client_id;
use super::transaction::Failure;
use super::{Clients, GroupProtocol, KafkaError};

/// How long a question to a broker may take.
const ANSWER: Duration = Duration::from_secs(10);

/// How long closing a consumer may take.
const CLOSE: Duration = Duration::from_secs(5);

/// How soon the group does without a member that is silent, and how often one speaks.
const SESSION: [(&str, &str); 2] = [("session.timeout.ms", "10000"), ("heartbeat.interval.ms", "1000")];

/// Who a consumer is.
#[derive(Debug, Clone)]
pub struct Membership {
    /// The consumer group.
    pub group: String,
    /// This member's name in it, the same after a restart.
    pub instance: String,
    /// Where this process answers HTTP, told to the other members; empty if nowhere.
    pub address: String,
    /// The input topics. The position of a topic here is its lane.
    pub topics: Vec<String>,
    /// How many partitions each of them has.
    pub partitions: i32,
}

/// What the group decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// These partition numbers are ours from now on; acknowledge with [`Consumer::assign`], even of nothing yet.
    Assigned(BTreeSet<i32>),
    /// Nothing is ours any more; acknowledge with [`Consumer::unassign`] once all is put down. `lost` when the group has
    /// already gone on without us, so that nothing can be committed.
    Revoked {
        /// Too late to commit.
        lost: bool,
    },
    /// Some of what was just given to us does not fit together, and why; only the rest was named as ours. It happens for a
    /// moment while a broker that starts does not show all topics, while members with other topics are in the group, and
    /// for ever if the partition counts differ.
    Torn(String),
}

/// An offset of a topic (by lane) and partition.
pub type Offsets = BTreeMap<(usize, i32), i64>;

/// Input offsets that are to join a transaction, and in which generation of the group.
pub struct Progress {
    pub(super) offsets: TopicPartitionList,
    pub(super) metadata: ConsumerGroupMetadata,
}

/// The consumer of one worker.
///
/// Each topic and partition is fetched into a queue of its own, from which the worker takes what it wants next. What it does
/// not take stays there, and fills up: that is all it takes to fetch one topic no further than the others. (Pausing would
/// throw away what was fetched ahead, again and again.)
pub struct Consumer {
    inner: Arc<BaseConsumer<Context>>,
    /// Made when they are first asked for, by lane and partition.
    queues: Vec<Vec<OnceCell<PartitionQueue<Context>>>>,
    /// Dropped when those before have let go of what it closes, and at once.
    _closing: Closing,
    /// Asks what the broker holds, over connections of its own: a broker answers what comes over one connection in order,
    /// and a fetch that finds nothing is answered late.
    asking: BaseConsumer,
    topics: Vec<String>,
    /// Who waits for records.
    waiting: Thread,
    /// Where the broker shares the partitions out.
    handover: Option<Handover>,
}

/// Closes a consumer, for which librdkafka may take for ever.
struct Closing(Option<Arc<BaseConsumer<Context>>>);

/// A fetched record, in librdkafka's memory.
pub struct Message<'c> {
    inner: BorrowedMessage<'c>,
    lane: usize,
}

#[derive(Default)]
struct Context {
    events: Mutex<VecDeque<RawEvent>>,
    /// Nobody handles events any more.
    closing: AtomicBool,
}

/// A rebalance as librdkafka tells it.
enum RawEvent {
    Assign(Vec<TopicPartition>),
    Revoke {
        lost: bool,
        partitions: Vec<TopicPartition>,
    },
    /// What was not taken away is ours again.
    Kept,
    Torn(String),
}

impl Context {
    fn lock(&self) -> MutexGuard<'_, VecDeque<RawEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    fn error(&self, error: RdKafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka consumer");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Relaxed) {
            // Closing waits until what is taken away is put down.
            leave(consumer, partitions);
            return;
        }
        let elements = partitions.elements();
        let named = elements.iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        let event = if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            RawEvent::Assign(named)
        } else {
            RawEvent::Revoke { lost: consumer.assignment_lost(), partitions: named }
        };
        self.lock().push_back(event);
    }

    fn main_queue_min_poll_interval(&self) -> rdkafka::util::Timeout {
        rdkafka::util::Timeout::After(Duration::from_millis(100))
    }
}

/// Puts down what the group gave, or still waits to be put down.
fn leave(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
    let result = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        _ => consumer.unassign(),
    };
    if let Err(error) = result {
        tracing::warn!(%error, "leaving the group");
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.inner.context().closing.store(true, Ordering::Relaxed);
        // What the group decided last is answered while somebody listens. What is not taken in before librdkafka closes is
        // void, and whoever answers it then waits for ever.
        while self.inner.poll(Duration::ZERO).is_some() {}
        let events = std::mem::take(&mut *self.inner.context().lock());
        let Some(handover) = &self.handover else {
            if !events.is_empty() {
                leave(&self.inner, &TopicPartitionList::new());
            }
            return;
        };
        // What the group waits for would be waited for on closing.
        for event in events {
            match event {
                RawEvent::Assign(given) => handover.take(&self.inner, given),
                RawEvent::Revoke { partitions, .. } => handover.want_back(partitions),
                RawEvent::Kept | RawEvent::Torn(_) => {}
            }
        }
        if let Err(error) = handover.put_down(&self.inner) {
            tracing::warn!(%error, "leaving the group");
        }
    }
}

impl Drop for Closing {
    /// The group may decide something in the moment between our last look and the close, to which the answer never returns
    /// (<https://github.com/confluentinc/librdkafka/issues/4884>). By then all is put down: what is left is a thread that
    /// sleeps, and a member without which the group does once its session is over, as after any end of a static member.
    fn drop(&mut self) {
        let consumer = self.0.take();
        if !within(CLOSE, move || drop(consumer)) {
            tracing::warn!("the client library does not close the consumer: going without it");
        }
    }
}

/// Does something in a thread of its own; whether it was done in time.
fn within(limit: Duration, act: impl FnOnce() + Send + 'static) -> bool {
    let (sender, done) = channel();
    let act = move || {
        act();
        // Nobody who has given it up waits.
        let _ = sender.send(());
    };
    let thread = std::thread::Builder::new().name("closing".to_owned());
    thread.spawn(act).is_ok() && done.recv_timeout(limit).is_ok()
}

impl Consumer {
    /// Joins the group. Whoever calls this is who [waits](Self::wait).
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn join(clients: &Clients, membership: &Membership) -> Result<Self, KafkaError> {
        let is_classic = clients.group_protocol == GroupProtocol::Classic;
        // Otherwise they are the broker's.
        let session: &[_] = if is_classic { &SESSION } else { &[] };
        let defaults = [
            ("max.poll.interval.ms", "300000"),
            ("fetch.wait.max.ms", "100"),
            ("fetch.queue.backoff.ms", "5"),
            // Of each topic and partition.
            ("queued.min.messages", "20000"),
            ("queued.max.messages.kbytes", "8192"),
            ("reconnect.backoff.max.ms", "2000"),
            // New partitions are noticed, and refused, within this time.
            ("topic.metadata.refresh.interval.ms", "30000"),
        ];
        let what = || "consumer".to_owned();
        let asking = clients.config(
            &[("reconnect.backoff.max.ms", "2000")],
            // It never joins.
            &[("group.id", &membership.group), ("isolation.level", "read_committed")],
        );
        let asking = asking.create().map_err(|error| KafkaError::of(what(), &error))?;
        let mut config = clients.config(
            &[&defaults, session].concat(),
            &[
                ("group.id", &membership.group),
                ("group.instance.id", &membership.instance),
                ("client.id", &client_id(clients.name(), &membership.address)),
                ("isolation.level", "read_committed"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
            ],
        );
        // Equal numbers of all topics go to one member.
        if is_classic {
            config.set("partition.assignment.strategy", "range");
        } else {
            config.set("group.protocol", "consumer").set("group.remote.assignor", "range");
        }
        let inner: BaseConsumer<Context> =
            config.create_with_context(Context::default()).map_err(|error| KafkaError::of(what(), &error))?;
        let topics: Vec<_> = membership.topics.iter().map(String::as_str).collect();
        inner.subscribe(&topics).map_err(|error| KafkaError::of(what(), &error))?;
        let queues = || (0..membership.partitions).map(|_| OnceCell::new()).collect();
        let inner = Arc::new(inner);
        Ok(Self {
            _closing: Closing(Some(Arc::clone(&inner))),
            inner,
            asking,
            topics: membership.topics.clone(),
            queues: topics.iter().map(|_| queues()).collect(),
            waiting: std::thread::current(),
            handover: (!is_classic).then(Handover::new),
        })
    }

    fn queue(&self, lane: usize, partition: i32) -> Option<&PartitionQueue<Context>> {
        let cell = self.queues.get(lane)?.get(usize::try_from(partition).ok()?)?;
        if cell.get().is_none() {
            let mut queue = self.inner.split_partition_queue(self.topics.get(lane)?, partition)?;
            let waiting = self.waiting.clone();
            queue.set_nonempty_callback(move || waiting.unpark());
            // Nobody else is there to have set it meanwhile.
            let _ = cell.set(queue);
        }
        cell.get()
    }

    fn message<'c>(
        &self,
        polled: Option<Result<BorrowedMessage<'c>, RdKafkaError>>,
    ) -> Result<Option<Message<'c>>, KafkaError> {
        match polled {
            None => Ok(None),
            Some(Ok(message)) => {
                let lane = self.topics.iter().position(|topic| topic == message.topic());
                let lane = lane.ok_or_else(|| refused("poll", format!("not asked for topic {}", message.topic())))?;
                Ok(Some(Message { inner: message, lane }))
            }
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Err(refused(
                    "input",
                    format!("the broker no longer holds the records that are next in order ({error})"),
                )),
                _ if matches!(error, RdKafkaError::MessageConsumptionFatal(_)) => Err(KafkaError::of("input", &error)),
                _ => {
                    tracing::warn!(%error, "reading input");
                    Ok(None)
                }
            },
        }
    }

    /// One request per broker, however many partitions are asked about.
    fn ask(&self, of: impl IntoIterator<Item = (usize, i32)>, what: Offset) -> Result<Offsets, KafkaError> {
        let list = self.list(of.into_iter().map(|(lane, partition)| (lane, partition, what)))?;
        if list.count() == 0 {
            return Ok(Offsets::new());
        }
        // It fetches nothing, but has its errors told.
        drop(self.asking.poll(Duration::ZERO));
        let answer = self.asking.offsets_for_times(list, ANSWER);
        self.offsets("offsets", answer)
    }

    fn each(&self, partitions: &BTreeSet<i32>, offset: Offset) -> impl Iterator<Item = (usize, i32, Offset)> {
        let lanes = 0..self.topics.len();
        lanes.flat_map(move |lane| partitions.iter().map(move |partition| (lane, *partition, offset)))
    }

    fn list(&self, entries: impl IntoIterator<Item = (usize, i32, Offset)>) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for (lane, partition, offset) in entries {
            let topic = self.topics.get(lane).ok_or_else(|| refused("topics", format!("there is no topic {lane}")))?;
            list.add_partition_offset(topic, partition, offset).map_err(|error| KafkaError::of("offsets", &error))?;
        }
        Ok(list)
    }

    /// The offsets of an answer; partitions without one are left out.
    fn offsets(&self, what: &str, answer: Result<TopicPartitionList, RdKafkaError>) -> Result<Offsets, KafkaError> {
        let answer = answer.map_err(|error| KafkaError::of(what, &error))?;
        let mut offsets = Offsets::new();
        for element in answer.elements() {
            element.error().map_err(|error| {
                KafkaError::of(format!("{what} of {} {}", element.topic(), element.partition()), &error)
            })?;
            let lane = self.topics.iter().position(|topic| topic == element.topic());
            if let (Some(lane), Offset::Offset(offset)) = (lane, element.offset()) {
                offsets.insert((lane, element.partition()), offset);
            }
        }
        Ok(offsets)
    }
}

fn refused(what: &str, message: String) -> KafkaError {
    KafkaError::Refused { what: what.to_owned(), message }
}

/// The numbers that are ours of every topic, and what is wrong with the first that is not.
pub fn whole_numbers(topics: &[String], partitions: &[(String, i32)]) -> (BTreeSet<i32>, Option<String>) {
    let mut numbers: BTreeSet<i32> = partitions.iter().map(|(_, number)| *number).collect();
    let owned: BTreeSet<(&str, i32)> = partitions.iter().map(|(topic, number)| (topic.as_str(), *number)).collect();
    let mut torn = None;
    numbers.retain(|number| {
        let Some(topic) = topics.iter().find(|topic| !owned.contains(&(topic.as_str(), *number))) else {
            return true;
        };
        torn.get_or_insert_with(|| {
            format!(
                "partition {number} of {topic} went to another member than that of the other topics: members with \
                 other topics are in the group, or the topics' partition counts differ"
            )
        });
        false
    });
    (numbers, torn)
}

impl LogConsumer for Consumer {
    type Message<'c> = Message<'c>;
    type Progress = Progress;

    fn serve(&self) -> Result<Option<Message<'_>>, KafkaError> {
        self.message(self.inner.poll(Duration::ZERO))
    }

    fn take(&self, lane: usize, partition: i32) -> Result<Option<Message<'_>>, KafkaError> {
        match self.queue(lane, partition) {
            Some(queue) => self.message(queue.poll(Duration::ZERO)),
            None => Ok(None),
        }
    }

    fn wait(&self, timeout: Duration) {
        std::thread::park_timeout(timeout);
    }

    fn event(&self) -> Option<Event> {
        let mut events = self.inner.context().lock();
        match events.pop_front()? {
            RawEvent::Revoke { lost, partitions } => {
                if let Some(handover) = &self.handover {
                    handover.want_back(partitions);
                }
                Some(Event::Revoked { lost })
            }
            RawEvent::Torn(why) => Some(Event::Torn(why)),
            event if self.handover.as_ref().is_some_and(|handover| !handover.is_put_down()) => {
                events.push_front(event);
                Some(Event::Revoked { lost: false })
            }
            event => {
                let given = if let RawEvent::Assign(given) = event { Some(given) } else { None };
                let partitions = match &self.handover {
                    Some(handover) => {
                        if let Some(given) = given {
                            handover.take(&self.inner, given);
                        }
                        handover.take_up()
                    }
                    None => given.unwrap_or_default(),
                };
                let (whole, torn) = whole_numbers(&self.topics, &partitions);
                if let Some(why) = torn {
                    events.push_front(RawEvent::Torn(why));
                }
                Some(Event::Assigned(whole))
            }
        }
    }

    fn assign(&self, offsets: &Offsets) -> Result<(), KafkaError> {
        let list =
            self.list(offsets.iter().map(|(&(lane, partition), &offset)| (lane, partition, Offset::Offset(offset))))?;
        match &self.handover {
            Some(handover) => handover.fetch(&self.inner, &list),
            None => self.inner.assign(&list).map_err(|error| KafkaError::of("assign", &error)),
        }
    }

    fn unassign(&self) -> Result<(), KafkaError> {
        let result = match &self.handover {
            None => self.inner.unassign(),
            Some(handover) => handover.put_down(&self.inner).map(|is_left| {
                // What is left is ours again; what comes besides says so itself.
                let mut events = self.inner.context().lock();
                if is_left && !matches!(events.front(), Some(RawEvent::Assign(_) | RawEvent::Kept)) {
                    events.push_front(RawEvent::Kept);
                }
            }),
        };
        result.map_err(|error| KafkaError::of("unassign", &error))
    }

    fn is_fenced(&self) -> bool {
        let fatal = self.inner.client().fatal_error();
        let codes = [RDKafkaErrorCode::FencedInstanceId, RDKafkaErrorCode::UnreleasedInstanceId];
        fatal.is_some_and(|(code, _)| codes.contains(&code))
    }

    fn is_lost(&self) -> bool {
        self.inner.assignment_lost()
    }

    fn committed(&self, partitions: &BTreeSet<i32>) -> Result<Offsets, KafkaError> {
        let list = self.list(self.each(partitions, Offset::Invalid))?;
        let answer = self.inner.committed_offsets(list, ANSWER);
        self.offsets("committed offsets", answer)
    }

    fn progress(&self, offsets: &Offsets) -> Result<Progress, Failure> {
        let list = self.list(offsets.iter().map(|(&(lane, partition), &next)| (lane, partition, Offset::Offset(next))));
        let offsets = list.map_err(|error| Failure::Doubt(error.to_string()))?;
        let metadata = self.inner.group_metadata();
        // Asked after the metadata was read: a member that the group dropped has no generation, and a commit without one
        // is not fenced while the group is empty.
        let metadata = metadata.filter(|_| !self.inner.assignment_lost());
        let metadata =
            metadata.ok_or_else(|| Failure::Aborted("the group has gone on without this member".to_owned()))?;
        Ok(Progress { offsets, metadata })
    }

    fn ends(&self, of: impl IntoIterator<Item = (usize, i32)>) -> Result<Offsets, KafkaError> {
        self.ask(of, Offset::End)
    }

    fn beginnings(&self, of: impl IntoIterator<Item = (usize, i32)>) -> Result<Offsets, KafkaError> {
        self.ask(of, Offset::Beginning)
    }

    fn positions(&self) -> Result<Offsets, KafkaError> {
        self.offsets("positions", self.inner.position())
    }
}

impl LogMessage for Message<'_> {
    fn lane(&self) -> usize {
        self.lane
    }

    fn partition(&self) -> i32 {
        self.inner.partition()
    }

    fn offset(&self) -> i64 {
        self.inner.offset()
    }

    fn timestamp_ms(&self) -> Option<i64> {
        self.inner.timestamp().to_millis()
    }

    fn key(&self) -> Option<&[u8]> {
        self.inner.key()
    }

    fn value(&self) -> Option<&[u8]> {
        self.inner.payload()
    }

    fn last_headers<const N: usize>(&self, names: [&str; N]) -> [Option<&[u8]>; N] {
        let mut values = [None; N];
        // librdkafka takes them apart anew for whoever asks, even if there are none.
        for header in self.inner.headers().into_iter().flat_map(BorrowedHeaders::iter) {
            for (_, value) in names.iter().zip(&mut values).filter(|(name, _)| **name == header.key) {
                *value = header.value;
            }
        }
        values
    }

    fn headers(&self) -> Vec<(String, Option<Vec<u8>>)> {
        let headers = self.inner.headers().into_iter().flat_map(BorrowedHeaders::iter);
        headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_given_up() {
        let (open, never) = channel::<()>();
        let wait = move || {
            let _ = never.recv();
        };
        assert!(!within(Duration::from_millis(10), wait));
        drop(open);
        assert!(within(Duration::from_mins(1), || ()));
    }
}
