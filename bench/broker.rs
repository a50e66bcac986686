//! A Kafka broker of its own for a run: one node on this machine, tuned to be fast, with what `./dev setup` fetched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::process::{Child, free_port};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Topics of events, in the order of [`crate::traffic::Kind`].
pub(crate) const INPUTS: [&str; 3] = ["clicks", "purchases", "cart-abandonments"];

/// A running broker.
pub(crate) struct Broker {
    pub(crate) child: Child,
    port: u16,
    data: PathBuf,
}

impl Broker {
    /// Starts one whose data is below `directory`.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let home = PathBuf::from(std::env::var_os("SEGUE_KAFKA_HOME").context("SEGUE_KAFKA_HOME: use `./dev bench`")?);
        let data = directory.join("broker");
        fs::create_dir_all(&data)?;
        for entry in fs::read_dir(home.join("formatted")).context("the broker is not set up: ./dev setup")? {
            let entry = entry?;
            fs::copy(entry.path(), data.join(entry.file_name()))?;
        }
        let port = free_port()?;
        let mut settings = include_str!("../tests/support/broker.properties")
            .replace("@PORT@", &port.to_string())
            .replace("@CONTROLLER_PORT@", &free_port()?.to_string())
            .replace("@DATA@", &data.display().to_string())
            .replace("log.segment.bytes=67108864", "log.segment.bytes=268435456");
        // Nothing is compacted while it is measured, so that what was written can be counted afterwards.
        settings.push_str("\nlog.cleaner.backoff.ms=86400000\nlog.retention.check.interval.ms=86400000\n");
        let file = directory.join("broker.properties");
        fs::write(&file, settings)?;
        let mut command = Command::new("java");
        command.arg(format!("-Djava.io.tmpdir={}", directory.display()));
        command.args(["-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]);
        command.arg(home.join("libs/*")).arg("kafka.Kafka").arg(file);
        let mut broker = Self { child: Child::start("broker", &command, directory)?, port, data };
        let consumer: BaseConsumer = broker.client().create()?;
        broker.child.wait_until(|| consumer.fetch_metadata(None, Duration::from_secs(1)).is_ok())?;
        Ok(broker)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set("log_level", "3");
        config
    }

    /// Makes topics that keep what they are given.
    pub(crate) fn create_topics(&self, names: &[&str], partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let topics: Vec<_> = names
            .iter()
            .map(|name| NewTopic {
                name,
                num_partitions: partitions,
                replication: TopicReplication::Fixed(1),
                config: [&[("retention.ms", "-1")], settings].concat(),
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for answer in runtime.block_on(admin.create_topics(&topics, &options))? {
            answer.map_err(|(topic, error)| anyhow!("{topic} was not made: {error}"))?;
        }
        Ok(())
    }

    /// The offset after the last record of each partition of a topic.
    pub(crate) fn ends(&self, topic: &str) -> Result<Vec<i64>> {
        let consumer: BaseConsumer = self.client().create()?;
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
        let Some(topic_metadata) = metadata.topics().first() else { bail!("there is no topic {topic}") };
        let numbers = topic_metadata.partitions().iter();
        numbers.map(|partition| Ok(consumer.fetch_watermarks(topic, partition.id(), TIMEOUT)?.1)).collect()
    }

    /// What the logs of a topic hold on disk, bytes; internal topics of a name's ending included.
    pub(crate) fn bytes_of(&self, topic: &str) -> Result<u64> {
        let mut sum = 0;
        for entry in fs::read_dir(&self.data)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_it =
                name.rsplit_once('-').is_some_and(|(name, number)| name == topic && number.parse::<u32>().is_ok());
            if is_it {
                for file in fs::read_dir(entry.path())? {
                    let file = file?;
                    if file.path().extension().is_some_and(|extension| extension == "log") {
                        sum += file.metadata()?.len();
                    }
                }
            }
        }
        Ok(sum)
    }
}

/// How far a consumer group has committed, summed over the input topics.
pub(crate) struct Progress {
    consumer: BaseConsumer,
    list: TopicPartitionList,
    pub(crate) end: i64,
}

impl Progress {
    pub(crate) fn of(broker: &Broker, group: &str) -> Result<Self> {
        let consumer: BaseConsumer = broker.client().set("group.id", group).create()?;
        let mut list = TopicPartitionList::new();
        let mut end = 0;
        for topic in INPUTS {
            for (number, offset) in broker.ends(topic)?.into_iter().enumerate() {
                list.add_partition(topic, i32::try_from(number)?);
                end += offset;
            }
        }
        Ok(Self { consumer, list, end })
    }

    pub(crate) fn committed(&self) -> Result<i64> {
        let list = match self.consumer.committed_offsets(self.list.clone(), TIMEOUT) {
            // A broker that has just started is still making the topic that offsets are in.
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotCoordinator)) => return Ok(0),
            list => list?,
        };
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        Ok(list.elements().iter().map(|element| offset(element.offset())).sum())
    }
}
