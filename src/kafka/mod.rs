//! The log: everything that talks to Kafka or to the schema registry, and the only folder that knows rdkafka.

pub mod changelog;
pub mod consumer;
pub mod group;
mod handover;
pub mod inspect;
pub mod log;
pub mod members;
pub mod merge;
pub mod partitioner;
pub(crate) mod pause;
pub mod reader;
pub mod registry;
pub mod tail;
pub mod topics;
pub mod transaction;
pub mod watchdog;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;

/// Properties that guarantees rest on, and why a configuration cannot change them.
const RESERVED: [(&str, &str); 11] = [
    ("bootstrap.servers", "it is the setting kafka.brokers"),
    ("group.id", "it is the setting application.id"),
    ("group.instance.id", "it follows from application.id, the host and data_dir"),
    ("group.remote.assignor", "the equal-numbered partitions of all topics must go to one owner"),
    ("partition.assignment.strategy", "the equal-numbered partitions of all topics must go to one owner"),
    ("transactional.id", "it follows from application.id, the host and data_dir"),
    ("enable.idempotence", "exactly-once needs it"),
    ("isolation.level", "exactly-once needs read_committed"),
    ("enable.auto.commit", "offsets are part of the transaction"),
    ("enable.auto.offset.store", "offsets are part of the transaction"),
    ("auto.offset.reset", "the engine never guesses where to start"),
];

/// Talking to Kafka failed.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The broker is away or busy; later may be better.
    #[error("{what}: {message}; trying again")]
    Unavailable {
        /// What was being done.
        what: String,
        /// What librdkafka said.
        message: String,
    },
    /// The broker refused, or what it holds is not as it must be.
    #[error("{what}: {message}")]
    Refused {
        /// What was being done.
        what: String,
        /// What librdkafka said.
        message: String,
    },
    /// The process is to end.
    #[error("stopped")]
    Stopped,
}

impl KafkaError {
    fn of(what: impl Into<String>, error: &rdkafka::error::KafkaError) -> Self {
        let (what, message) = (what.into(), error.to_string());
        match error.rdkafka_error_code() {
            Some(code) if is_passing(code) => Self::Unavailable { what, message },
            _ => Self::Refused { what, message },
        }
    }

    /// Whether it may work later without anyone doing anything.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// Errors that go away when a broker comes back or a leader is found.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::NodeUpdate
            | Code::WaitingForCoordinator
            | Code::InProgress
            | Code::PreviousInProgress
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::ConcurrentTransactions
            | Code::UnstableOffsetCommit
            | Code::RebalanceInProgress
            | Code::KafkaStorageError
            // A leader that is not quite up yet.
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::ListenerNotFound
            | Code::EligibleLeadersNotAvailable
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::UnknownTopicId
            | Code::Retry
    )
}

/// Asks whoever holds it to end. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Sleeps, but not long after it was asked.
    ///
    /// # Errors
    /// When it was asked.
    pub fn sleep(&self, duration: Duration) -> Result<(), KafkaError> {
        const SLICE: Duration = Duration::from_millis(50);
        let mut left = duration;
        while !left.is_zero() && !self.is_requested() {
            let slice = left.min(SLICE);
            pause::pause(slice);
            left -= slice;
        }
        if self.is_requested() { Err(KafkaError::Stopped) } else { Ok(()) }
    }
}

/// Who shares the partitions out among the members of a group: `group.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GroupProtocol {
    /// The members themselves.
    Classic,
    /// The broker, partition by partition (KIP-848; Kafka 4.0 or later).
    Consumer,
}

/// What all clients of a process have in common.
#[derive(Debug, Clone)]
pub struct Clients {
    brokers: String,
    /// Without `group.protocol`, which is for the readers of the input only.
    properties: BTreeMap<String, String>,
    group_protocol: GroupProtocol,
}

impl Clients {
    /// Takes the configured brokers and librdkafka properties.
    ///
    /// # Errors
    /// When a property is [not to be set](check_property) like that.
    pub fn new(brokers: &str, properties: &BTreeMap<String, String>) -> Result<Self, KafkaError> {
        for (name, value) in properties {
            check_property(name, value)
                .map_err(|message| KafkaError::Settings(format!("kafka.properties: {message}")))?;
        }
        let mut properties = properties.clone();
        let group_protocol = match properties.remove("group.protocol").as_deref() {
            Some("consumer") => GroupProtocol::Consumer,
            _ => GroupProtocol::Classic,
        };
        Ok(Self { brokers: brokers.to_owned(), properties, group_protocol })
    }

    /// Clients of a broker that is not there.
    #[cfg(test)]
    pub fn nowhere() -> Self {
        Self { brokers: "127.0.0.1:1".to_owned(), properties: BTreeMap::new(), group_protocol: GroupProtocol::Classic }
    }

    /// The configured bootstrap servers.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// What clients call themselves.
    fn name(&self) -> &str {
        self.properties.get("client.id").map_or("segue", String::as_str)
    }

    /// A client's settings: `defaults` give way to configured properties, `required` do not.
    fn config(&self, defaults: &[(&str, &str)], required: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "segue");
        config.set("allow.auto.create.topics", "false");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        for (name, value) in required {
            config.set(*name, *value);
        }
        config
    }
}

/// Whether librdkafka knows a property, takes its value, and may be told.
///
/// # Errors
/// What is wrong, in words.
pub fn check_property(name: &str, value: &str) -> Result<(), String> {
    if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Err(format!("{name} cannot be set: {why}"));
    }
    if name == "group.protocol" && !["classic", "consumer"].contains(&value) {
        return Err(format!("{name} is `classic` or `consumer`, not `{value}`"));
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        // Of a value it does not take, librdkafka may give the property another name.
        Err(rdkafka::error::KafkaError::ClientConfig(_, why, ..)) if why.contains(name) => Err(why),
        Err(rdkafka::error::KafkaError::ClientConfig(_, why, ..)) => Err(format!("{name}: {why}")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// Does something until it works, waiting longer after each failure that may pass.
///
/// # Errors
/// The first failure that does not pass by itself, or `Stopped`.
pub fn patiently<T>(
    stop: &Stop,
    mut attempt: impl FnMut() -> Result<T, KafkaError>,
    mut on_wait: impl FnMut(&KafkaError),
) -> Result<T, KafkaError> {
    const LONGEST: Duration = Duration::from_secs(5);
    let mut pause = Duration::from_millis(100);
    loop {
        match attempt() {
            Err(error) if error.is_passing() => {
                on_wait(&error);
                stop.sleep(pause)?;
                pause = (pause * 2).min(LONGEST);
            }
            done => return done,
        }
    }
}
