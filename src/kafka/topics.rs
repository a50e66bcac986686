//! The topics an application needs: whether the input topics fit together, and making what is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;

use super::{Clients, KafkaError};

const ANSWER: Duration = Duration::from_secs(30);
/// Shorter, for it is asked at the start, where somebody waits to be told that no broker is there.
const METADATA_ANSWER: Duration = Duration::from_secs(5);

/// A topic that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// Topic settings, such as `cleanup.policy`.
    pub settings: Vec<(&'static str, &'static str)>,
}

/// Settings of a topic of which only the last value of each key matters.
pub const COMPACTED: [(&str, &str); 1] = [("cleanup.policy", "compact")];

/// The largest record that is sent, bytes: a customer of whom many aggregates remember thousands of values takes megabytes.
pub(super) const RECORD_BYTES_MAX: &str = "16000000";

/// Settings of the changelog: compacted, and soon, because a restore reads all of it.
pub const CHANGELOG: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("min.cleanable.dirty.ratio", "0.3"),
    ("segment.ms", "3600000"),
    (MAX_MESSAGE_BYTES, RECORD_BYTES_MAX),
];

/// The setting of a topic that says how large a batch of records may be, bytes.
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// Settings of a topic that keeps all it is given.
pub const KEPT: [(&str, &str); 2] = [("cleanup.policy", "delete"), ("retention.ms", "-1")];

/// Asks about and makes topics.
pub struct Topics<'a> {
    clients: &'a Clients,
    consumer: BaseConsumer,
}

impl<'a> Topics<'a> {
    /// Connects.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(clients: &'a Clients) -> Result<Self, KafkaError> {
        let consumer = clients.config(&[], &[("group.id", "segue-topics")]).create();
        let consumer = consumer.map_err(|error| KafkaError::of("topics", &error))?;
        Ok(Self { clients, consumer })
    }

    /// How many partitions each topic has; `None` for one that is not there.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn partitions(&self, topics: &[String]) -> Result<BTreeMap<String, Option<i32>>, KafkaError> {
        let unavailable = |error| KafkaError::Unavailable { what: "broker".to_owned(), message: error };
        let metadata = self.consumer.fetch_metadata(None, METADATA_ANSWER);
        let metadata = metadata.map_err(|error| unavailable(error.to_string()))?;
        let count = |name: &String| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            topic.map(|topic| topic.partitions().len()).filter(|count| *count > 0)
        };
        Ok(topics.iter().map(|name| (name.clone(), count(name).and_then(|count| i32::try_from(count).ok()))).collect())
    }

    /// The partition count that all input topics share.
    ///
    /// # Errors
    /// When one is missing or the counts differ, naming topics and counts; when the broker does not answer.
    pub fn shared_partitions(&self, inputs: &[String]) -> Result<i32, KafkaError> {
        agreed(&self.partitions(inputs)?)
    }

    /// Removes a topic. One that is not there is no error.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn delete(&self, topic: &str) -> Result<(), KafkaError> {
        let admin: AdminClient<DefaultClientContext> =
            self.clients.config(&[], &[]).create().map_err(|error| KafkaError::of("topics", &error))?;
        let options = AdminOptions::new().operation_timeout(Some(ANSWER)).request_timeout(Some(ANSWER));
        let results = wait_for(admin.delete_topics(&[topic], &options))?;
        for result in results.map_err(|error| KafkaError::of("removing a topic", &error))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((topic, code)) => {
                    let what = format!("removing topic {topic}");
                    return Err(KafkaError::Refused { what, message: code.to_string() });
                }
            }
        }
        Ok(())
    }

    /// Makes topics, with as many replicas as the broker makes by default. One that is there already is left as it is.
    ///
    /// # Errors
    /// When the broker refuses one.
    pub fn create(&self, topics: &[Wanted]) -> Result<(), KafkaError> {
        if topics.is_empty() {
            return Ok(());
        }
        let admin: AdminClient<DefaultClientContext> =
            self.clients.config(&[], &[]).create().map_err(|error| KafkaError::of("topics", &error))?;
        let wanted: Vec<_> = topics
            .iter()
            .map(|topic| NewTopic {
                name: &topic.name,
                num_partitions: topic.partitions,
                replication: TopicReplication::Fixed(-1),
                config: topic.settings.clone(),
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(ANSWER)).request_timeout(Some(ANSWER));
        let results = wait_for(admin.create_topics(&wanted, &options))?;
        for result in results.map_err(|error| KafkaError::of("creating topics", &error))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(KafkaError::Refused {
                        what: format!("creating topic {topic}"),
                        message: code.to_string(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Waits for an answer to an administrator's request.
pub(super) fn wait_for<T>(answer: impl Future<Output = T>) -> Result<T, KafkaError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| KafkaError::Settings(format!("cannot start a runtime: {error}")))?;
    Ok(runtime.block_on(answer))
}

/// The one partition count of several topics.
///
/// # Errors
/// When one is missing, or the counts differ.
pub fn agreed(partitions: &BTreeMap<String, Option<i32>>) -> Result<i32, KafkaError> {
    let refused = |message| KafkaError::Refused { what: "input topics".to_owned(), message };
    let missing: Vec<_> =
        partitions.iter().filter(|(_, count)| count.is_none()).map(|(name, _)| name.as_str()).collect();
    if !missing.is_empty() {
        return Err(refused(format!("{} missing: `segue topics create` makes what is missing", are(&missing))));
    }
    let mut counts = partitions.values().flatten();
    match counts.next() {
        Some(first) if counts.all(|count| count == first) => Ok(*first),
        Some(_) => {
            let list: Vec<_> =
                partitions.iter().map(|(name, count)| format!("{name} {}", count.unwrap_or_default())).collect();
            Err(refused(format!(
                "their partition counts differ ({}): they must be the same, because a customer's records of all topics \
                 must be in the partition of the same number",
                list.join(", ")
            )))
        }
        None => Err(refused("there are none".to_owned())),
    }
}

fn are(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(topics: &[(&str, Option<i32>)], expected: Result<i32, &str>) {
        let topics = topics.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        match (agreed(&topics), expected) {
            (Ok(count), Ok(expected)) => assert_eq!(count, expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (outcome, _) => panic!("{topics:?}: {outcome:?}"),
        }
    }

    #[test]
    fn input_topics_share_one_partition_count() {
        check(&[("clicks", Some(4)), ("purchases", Some(4))], Ok(4));
        check(&[("clicks", Some(4)), ("purchases", Some(3))], Err("(clicks 4, purchases 3)"));
        check(&[("clicks", Some(4)), ("purchases", None)], Err("purchases is missing"));
        check(&[("clicks", None), ("purchases", None)], Err("clicks, purchases are missing"));
        check(&[], Err("there are none"));
    }
}
