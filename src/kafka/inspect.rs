//! What a cluster and its topics are like, for who wants to know before the engine runs: asked once, never insisting.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::TopicPartitionListElem;

use super::{Clients, KafkaError};

const ANSWER: Duration = Duration::from_secs(10);

/// What a broker tells of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// How many brokers there are.
    pub brokers: usize,
    /// Topics, by name.
    pub topics: BTreeMap<String, Topic>,
}

/// What a topic is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topic {
    /// How many partitions it has.
    pub partitions: i32,
    /// The least number of copies of any of them.
    pub replicas: usize,
    /// Partitions that nobody leads at the moment.
    pub leaderless: usize,
    /// Settings, such as `cleanup.policy`; empty where they may not be seen.
    pub settings: BTreeMap<String, String>,
}

/// Asks a cluster.
pub struct Inspector<'a> {
    clients: &'a Clients,
}

impl<'a> Inspector<'a> {
    /// Asks with these clients' settings.
    pub fn new(clients: &'a Clients) -> Self {
        Self { clients }
    }

    /// The cluster and, of the wanted topics, those that are there.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn cluster(&self, wanted: &BTreeSet<String>) -> Result<Cluster, KafkaError> {
        let consumer = self.consumer("segue-inspector")?;
        let metadata = consumer.fetch_metadata(None, ANSWER);
        let metadata = metadata
            .map_err(|error| KafkaError::Unavailable { what: "metadata".to_owned(), message: error.to_string() })?;
        let mut topics = BTreeMap::new();
        for topic in metadata.topics().iter().filter(|topic| wanted.contains(topic.name())) {
            let partitions = topic.partitions();
            let found = Topic {
                partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
                replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or_default(),
                leaderless: partitions.iter().filter(|partition| partition.leader() < 0).count(),
                settings: BTreeMap::new(),
            };
            if found.partitions > 0 {
                topics.insert(topic.name().to_owned(), found);
            }
        }
        Ok(Cluster { brokers: metadata.brokers().len(), topics })
    }

    /// Fills in the topics' settings.
    ///
    /// # Errors
    /// When the broker does not answer, or does not tell.
    pub fn settings(&self, topics: &mut BTreeMap<String, Topic>) -> Result<(), KafkaError> {
        if topics.is_empty() {
            return Ok(());
        }
        let failed = |error| KafkaError::of("topic settings", &error);
        let admin: AdminClient<DefaultClientContext> = self.clients.config(&[], &[]).create().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| KafkaError::Settings(format!("cannot start a runtime: {error}")))?;
        let names: Vec<String> = topics.keys().cloned().collect();
        let wanted: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        let answers = runtime.block_on(admin.describe_configs(&wanted, &options)).map_err(failed)?;
        for (name, answer) in names.iter().zip(answers) {
            let code = |code| KafkaError::Refused { what: format!("settings of {name}"), message: format!("{code}") };
            let entries = answer.map_err(code)?.entries.into_iter();
            let settings = entries.filter_map(|entry| Some((entry.name, entry.value?))).collect();
            if let Some(topic) = topics.get_mut(name) {
                topic.settings = settings;
            }
        }
        Ok(())
    }

    /// Whether a group's offsets may be read, which joining it needs too.
    ///
    /// # Errors
    /// Why not.
    pub fn group(&self, group: &str, topic: &str) -> Result<(), KafkaError> {
        let consumer = self.consumer(group)?;
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, 0);
        let answer = consumer.committed_offsets(list, ANSWER);
        let failed = |error: &_| KafkaError::of(format!("group {group}"), error);
        let answer = answer.map_err(|error| failed(&error))?;
        answer.elements().iter().try_for_each(TopicPartitionListElem::error).map_err(|error| failed(&error))
    }

    /// Whether transactions can be begun under a transactional id and, where topics are named, records written to them. What
    /// is written is aborted, so that no reader of committed records sees it.
    ///
    /// # Errors
    /// Why not.
    pub fn transactions(&self, transactional_id: &str, topics: &[String]) -> Result<(), KafkaError> {
        let config = self.clients.config(
            &[("message.timeout.ms", "10000"), ("transaction.timeout.ms", "15000")],
            &[("transactional.id", transactional_id), ("enable.idempotence", "true")],
        );
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error| KafkaError::of(what, &error)
        };
        let producer: BaseProducer = config.create().map_err(failed("producer"))?;
        producer.init_transactions(ANSWER).map_err(failed("init_transactions"))?;
        producer.begin_transaction().map_err(failed("begin"))?;
        for topic in topics {
            let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).key("segue-doctor").partition(0);
            producer.send(record).map_err(|(error, _)| KafkaError::of(topic.as_str(), &error))?;
        }
        let flushed = producer.flush(ANSWER).map_err(failed("writing"));
        let aborted = producer.abort_transaction(ANSWER).map_err(failed("abort"));
        flushed.and(aborted)
    }

    fn consumer(&self, group: &str) -> Result<BaseConsumer, KafkaError> {
        let required = [("group.id", group), ("enable.auto.commit", "false")];
        self.clients.config(&[], &required).create().map_err(|error| KafkaError::of("consumer", &error))
    }
}
