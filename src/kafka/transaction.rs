//! One worker's transactional producer: what a commit sends becomes visible whole, with the input offsets, or not at all.
//!
//! Every blocking call runs under the [`Watchdog`]. A failure says what may be done about it: after [`Failure::Aborted`]
//! the producer goes on; after [`Failure::Doubt`] nobody knows how the transaction ended, the producer is to be dropped and
//! another one made, which settles it; after [`Failure::Refused`] a person has to do something.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::consumer::Progress;
use super::log::LogProducer;
use super::topics::RECORD_BYTES_MAX;
use super::watchdog::{Watchdog, now};
use super::{Clients, KafkaError, Stop, patiently};

/// One call of librdkafka; it is repeated while it says that this makes sense.
const CALL: Duration = Duration::from_secs(5);
/// Between two looks whether the broker has all that was sent.
const LOOK_AGAIN: Duration = Duration::from_micros(250);
/// A call that takes this long will not return.
const OVERDUE: Duration = Duration::from_mins(1);

/// A transaction did not commit, or is not known to have.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// It is aborted; the same producer can begin another.
    #[error("transaction aborted: {0}")]
    Aborted(String),
    /// Its outcome is not known.
    #[error("transaction in doubt: {0}")]
    Doubt(String),
    /// The broker will never take it as it is: doing it again would fail in the same way.
    #[error("transaction refused: {0}")]
    Refused(String),
}

/// A record to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where to.
    pub topic: &'a str,
    /// The partition; by the key, as Java clients do, when `None`.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// A transactional producer.
pub struct Producer {
    inner: BaseProducer<Deliveries>,
    watchdog: Watchdog,
    begun: bool,
}

/// The first of the records sent that the broker did not take; nothing is told of those that it took.
#[derive(Default)]
struct Deliveries(Mutex<Option<Failure>>);

impl ClientContext for Deliveries {
    fn error(&self, error: RdKafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let mut failure = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| undelivered(message.topic(), error));
        }
    }
}

impl Producer {
    /// Makes a producer and fences whatever had its name before. Waits for the broker as long as it takes.
    ///
    /// # Errors
    /// When the broker refuses, or when `stop` is requested.
    pub fn start(
        clients: &Clients,
        transactional_id: &str,
        watchdog: &Watchdog,
        stop: &Stop,
        on_wait: impl FnMut(&KafkaError),
    ) -> Result<Self, KafkaError> {
        let config = clients.config(
            &[
                ("transaction.timeout.ms", "15000"),
                // About as long as it takes the input offsets to join the transaction.
                ("linger.ms", "2"),
                ("batch.num.messages", "20000"),
                ("queue.buffering.max.messages", "500000"),
                ("compression.type", "lz4"),
                ("retry.backoff.ms", "10"),
                ("reconnect.backoff.max.ms", "2000"),
                ("partitioner", "murmur2_random"),
                ("message.max.bytes", RECORD_BYTES_MAX),
            ],
            &[
                ("transactional.id", transactional_id),
                ("enable.idempotence", "true"),
                // A report for each record would have to be fetched.
                ("delivery.report.only.error", "true"),
            ],
        );
        let attempt = || {
            // A failed initialisation may leave the producer unusable, so that each attempt has its own.
            let inner: BaseProducer<Deliveries> = config
                .create_with_context(Deliveries::default())
                .map_err(|error| KafkaError::of("producer", &error))?;
            let result = watchdog.watch("init_transactions", OVERDUE, || inner.init_transactions(CALL * 4));
            match result {
                Ok(()) => Ok(Self { inner, watchdog: watchdog.clone(), begun: false }),
                Err(error) => {
                    watchdog.watch("closing a producer", OVERDUE, || drop(inner));
                    Err(passing_if_retriable("init_transactions", &error))
                }
            }
        };
        patiently(stop, attempt, on_wait)
    }

    /// Begins a transaction, unless one is under way.
    ///
    /// # Errors
    /// [`Failure::Doubt`] when librdkafka refuses.
    pub fn begin(&mut self) -> Result<(), Failure> {
        if self.begun {
            return Ok(());
        }
        drop(self.undelivered());
        self.inner.begin_transaction().map_err(|error| Failure::Doubt(format!("begin: {error}")))?;
        self.begun = true;
        Ok(())
    }

    /// Waits until the broker has all that was sent. The crate's own call to commit would do that as well, but looks only
    /// every 100 ms.
    fn settle(&self) -> Result<(), Failure> {
        // Deliveries fail by themselves once their time is over, so this ends.
        let deadline = now() + OVERDUE;
        while self.inner.in_flight_count() > 0 {
            // To poll for a millisecond is to poll without a pause: less than one is left at once.
            std::thread::sleep(LOOK_AGAIN);
            self.inner.poll(Duration::ZERO);
            if now() > deadline {
                return Err(Failure::Doubt("deliveries neither succeed nor fail".to_owned()));
            }
        }
        self.undelivered().map_or(Ok(()), Err)
    }

    /// One transactional call, repeated while librdkafka says that it may be.
    fn call(
        &self,
        what: &'static str,
        call: impl Fn(&BaseProducer<Deliveries>) -> Result<(), RdKafkaError>,
    ) -> Result<(), Failure> {
        // The broker ends a transaction by itself after its time-out, so there is no use in longer.
        let deadline = now() + OVERDUE;
        loop {
            match self.watchdog.watch(what, OVERDUE, || call(&self.inner)) {
                Ok(()) => return Ok(()),
                Err(RdKafkaError::Transaction(error)) if error.txn_requires_abort() && !error.is_fatal() => {
                    return Err(Failure::Aborted(format!("{what}: {error}")));
                }
                Err(RdKafkaError::Transaction(error)) if error.is_retriable() && now() < deadline => {
                    tracing::warn!(%error, what, "asking again");
                }
                Err(error) => return Err(Failure::Doubt(format!("{what}: {error}"))),
            }
        }
    }

    /// Why the broker did not take a record, if there is one; that says more than a call that failed because of it.
    fn undelivered(&self) -> Option<Failure> {
        self.inner.poll(Duration::ZERO);
        self.inner.context().0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl LogProducer for Producer {
    type Progress = Progress;

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        self.begin()?;
        let mut queued: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(record.topic);
        queued.partition = record.partition;
        queued.key = record.key;
        queued.payload = record.value;
        if !record.headers.is_empty() {
            queued.headers = Some(headers(record.headers));
        }
        loop {
            match self.inner.send(queued) {
                Ok(()) => break,
                Err((RdKafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    std::thread::sleep(LOOK_AGAIN);
                    self.inner.poll(Duration::ZERO);
                    queued = refused;
                }
                Err((error, _)) => return Err(undelivered(record.topic, &error)),
            }
        }
        Ok(())
    }

    fn send_offsets(&mut self, Progress { offsets, metadata }: &Progress) -> Result<(), Failure> {
        self.call("send_offsets_to_transaction", |inner| inner.send_offsets_to_transaction(offsets, metadata, CALL))
            .map_err(|failure| self.undelivered().unwrap_or(failure))
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.settle()?;
        self.call("commit_transaction", |inner| inner.commit_transaction(CALL))
            .map_err(|failure| self.undelivered().unwrap_or(failure))?;
        self.begun = false;
        Ok(())
    }

    fn abort(&mut self) -> Result<(), Failure> {
        if !std::mem::take(&mut self.begun) {
            return Ok(());
        }
        let is_done = AtomicBool::new(false);
        let result = std::thread::scope(|scope| {
            // What was not delivered yet fails now, and the call waits until that is fetched.
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    self.inner.poll(Duration::from_millis(10));
                }
            });
            let result = self.call("abort_transaction", |inner| inner.abort_transaction(CALL));
            is_done.store(true, Ordering::Relaxed);
            result
        });
        result.map_err(|failure| Failure::Doubt(failure.to_string()))
    }

    fn close(self) {
        let Self { inner, watchdog, .. } = self;
        watchdog.watch("closing a producer", OVERDUE, || drop(inner));
    }
}

/// Why a topic did not take a record, and whether it ever will.
fn undelivered(topic: &str, error: &RdKafkaError) -> Failure {
    use RDKafkaErrorCode as Code;
    let what = format!("{topic} took no record: {error}");
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge) => Failure::Refused(format!(
            "{what}; the topic's max.message.bytes must be larger, and message.max.bytes where kafka.properties has it"
        )),
        Some(
            Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::InvalidTopic
            | Code::InvalidRecord
            | Code::PolicyViolation
            | Code::UnsupportedForMessageFormat,
        ) => Failure::Refused(what),
        _ => Failure::Doubt(what),
    }
}

fn headers(headers: &[(&str, Option<&[u8]>)]) -> OwnedHeaders {
    let start = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(start, |all, (key, value)| all.insert(Header { key, value: *value }))
}

fn passing_if_retriable(what: &str, error: &RdKafkaError) -> KafkaError {
    match error {
        RdKafkaError::Transaction(inner) if inner.is_retriable() => {
            KafkaError::Unavailable { what: what.to_owned(), message: inner.to_string() }
        }
        RdKafkaError::Transaction(inner) if super::is_passing(inner.code()) => {
            KafkaError::Unavailable { what: what.to_owned(), message: inner.to_string() }
        }
        _ => KafkaError::of(what, error),
    }
}
