//! A real Kafka broker of one node, and the few calls that tests make most.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{fs, io};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message as _};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use super::process::{Server, free_port, home, java, listens};
use super::proxy::Proxy;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A running broker.
pub struct Broker {
    port: u16,
    server: Mutex<Server>,
    directory: TempDir,
    n_names: AtomicU32,
}

/// A record as a subscriber sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// When the producer had it, milliseconds since the epoch.
    pub sent_at: i64,
}

impl Broker {
    /// Starts a broker of the caller's own: for tests that hurt it.
    pub fn start() -> Self {
        Self::start_with(|properties| properties)
    }

    /// Starts one that can also be reached through a proxy, which passes on to the port it is given.
    pub fn start_behind(proxy: &Proxy) -> Self {
        let port = free_port();
        let broker = Self::start_with(|properties| {
            let more = |before: &str, address: String| format!("{before},BEHIND://127.0.0.1:{address}");
            let lines = properties.lines().map(|line| match line.split_once('=') {
                Some(("listeners", _)) => more(line, port.to_string()),
                Some(("advertised.listeners", _)) => more(line, proxy.port().to_string()),
                _ => line.to_owned(),
            });
            let protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,BEHIND:PLAINTEXT";
            let map = format!("listener.security.protocol.map={protocols}");
            lines.chain([map]).collect::<Vec<_>>().join("\n")
        });
        proxy.pass_on_to(port);
        broker
    }

    fn start_with(change: impl Fn(String) -> String) -> Self {
        let home = home("SEGUE_KAFKA_HOME", "kafka");
        let directory = tempfile::tempdir().unwrap();
        copy(&home.join("formatted"), &directory.path().join("data")).unwrap();
        let port = free_port();
        let settings = include_str!("broker.properties")
            .replace("@PORT@", &port.to_string())
            .replace("@CONTROLLER_PORT@", &free_port().to_string())
            .replace("@DATA@", &directory.path().join("data").display().to_string());
        fs::write(directory.path().join("broker.properties"), change(settings)).unwrap();
        let server = serve(&home, directory.path());
        let broker = Self { port, server: Mutex::new(server), directory, n_names: AtomicU32::new(0) };
        broker.wait();
        broker
    }

    /// The one broker of this test binary: leave it alive, and use topics named by `topic`.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// What to configure as `kafka.brokers`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A name that no other test on this broker is given.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.n_names.fetch_add(1, Ordering::Relaxed))
    }

    /// Settings of a client that talks to this broker.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    /// Makes a topic, with settings such as `("cleanup.policy", "compact")`.
    pub fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let wanted = NewTopic {
            name: topic,
            num_partitions: partitions,
            replication: TopicReplication::Fixed(1),
            config: settings.to_vec(),
        };
        let answers = wait_for(admin.create_topics([&wanted], &AdminOptions::new().operation_timeout(Some(TIMEOUT))));
        answers.unwrap().remove(0).unwrap_or_else(|(topic, error)| panic!("{topic} was not made: {error}"));
    }

    /// Gives a topic a setting.
    pub fn configure_topic(&self, topic: &str, name: &str, value: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let wanted = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        wait_for(admin.alter_configs([&wanted], &AdminOptions::new())).unwrap().remove(0).unwrap();
    }

    /// Sends records to one partition, in order, and waits until the broker has them.
    pub fn produce<'a>(&self, topic: &str, partition: i32, records: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
        let producer: ThreadedProducer<DefaultProducerContext> =
            self.client().set("enable.idempotence", "true").set("message.max.bytes", "10000000").create().unwrap();
        for (key, value) in records {
            let record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
            producer.send(record).unwrap_or_else(|(error, _)| panic!("{topic} took no record: {error}"));
        }
        producer.flush(TIMEOUT).unwrap();
    }

    /// Whether there is such a topic.
    pub fn has_topic(&self, topic: &str) -> bool {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(None, TIMEOUT).unwrap();
        metadata.topics().iter().any(|known| known.name() == topic)
    }

    /// All that a `read_committed` subscriber sees now, partition by partition.
    pub fn read(&self, topic: &str) -> Vec<Message> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "a reader")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
        let partitions = metadata.topics()[0].partitions();
        assert!(!partitions.is_empty(), "there is no topic {topic}");
        partitions.iter().flat_map(|partition| read_partition(&consumer, topic, partition.id())).collect()
    }

    /// Kills the broker. `restart` brings it back.
    pub fn kill(&self) {
        self.server().kill();
    }

    /// Halts the broker: connections stay open and nothing moves.
    pub fn stop(&self) {
        self.server().signal("STOP");
    }

    /// Lets the broker go on after `stop`.
    pub fn cont(&self) {
        self.server().signal("CONT");
    }

    /// Starts the broker again after `kill`, on the same ports and data.
    pub fn restart(&self) {
        assert!(!listens(self.port), "kill the broker before it is started again");
        *self.server() = serve(&home("SEGUE_KAFKA_HOME", "kafka"), self.directory.path());
        self.wait();
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        self.server().log_end()
    }

    fn wait(&self) {
        let (port, config) = (self.port, self.client());
        self.server().wait_until(|| listens(port));
        let consumer: BaseConsumer = config.create().unwrap();
        self.server().wait_until(|| consumer.fetch_metadata(None, Duration::from_secs(1)).is_ok());
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(home: &Path, directory: &Path) -> Server {
    let mut command: Command = java(directory);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn").arg("-cp").arg(home.join("libs/*"));
    command.arg("kafka.Kafka").arg(directory.join("broker.properties"));
    Server::start("the broker", command, &directory.join("log"))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn read_partition(consumer: &BaseConsumer, topic: &str, partition: i32) -> Vec<Message> {
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let mut messages = Vec::new();
    loop {
        match consumer.poll(TIMEOUT) {
            Some(Ok(message)) => messages.push(Message {
                partition,
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: message.headers().map(headers).unwrap_or_default(),
                sent_at: message.timestamp().to_millis().unwrap(),
            }),
            Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => return messages,
            // The goodbye of the partition that was read before.
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => panic!("{topic} cannot be read: {error}"),
            None => panic!("{topic} cannot be read: the broker does not answer"),
        }
    }
}

fn headers(headers: &impl Headers) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect()
}
