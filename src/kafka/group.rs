//! The consumer group seen from outside, for the state tools: who is in it, and its offsets.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::{Clients, KafkaError};

const ANSWER: Duration = Duration::from_secs(30);

/// Offsets by topic and partition.
pub type GroupOffsets = BTreeMap<(String, i32), i64>;

/// A group that this process is not in.
pub struct Group<'a> {
    clients: &'a Clients,
    name: &'a str,
    consumer: BaseConsumer,
}

impl<'a> Group<'a> {
    /// Connects.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(clients: &'a Clients, name: &'a str) -> Result<Self, KafkaError> {
        let required = [("group.id", name), ("enable.auto.commit", "false"), ("isolation.level", "read_committed")];
        let consumer = clients.config(&[], &required).create();
        Ok(Self { clients, name, consumer: consumer.map_err(|error| KafkaError::of("consumer group", &error))? })
    }

    /// How many members the group has; those that ended without a word count until their session is over.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn n_members(&self) -> Result<usize, KafkaError> {
        let groups = self.consumer.fetch_group_list(Some(self.name), ANSWER);
        let groups = groups.map_err(|error| KafkaError::of("consumer group", &error))?;
        let known = groups.groups().iter().find(|group| group.name() == self.name);
        Ok(known.map_or(0, |group| group.members().len()))
    }

    /// The group's offsets of one partition of some topics; those it has none of are left out.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn offsets(&self, topics: &[String], partition: i32) -> Result<GroupOffsets, KafkaError> {
        let mut list = TopicPartitionList::new();
        for topic in topics {
            list.add_partition(topic, partition);
        }
        let answer = self.consumer.committed_offsets(list, ANSWER);
        let answer = answer.map_err(|error| KafkaError::of("committed offsets", &error))?;
        let mut offsets = GroupOffsets::new();
        for element in answer.elements() {
            element
                .error()
                .map_err(|error| KafkaError::of(format!("committed offset of {}", element.topic()), &error))?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert((element.topic().to_owned(), element.partition()), offset);
            }
        }
        Ok(offsets)
    }

    /// Sets offsets. The broker takes it only while nobody is in the group.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn set_offsets(&self, offsets: &GroupOffsets) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in offsets {
            let added = list.add_partition_offset(topic, *partition, Offset::Offset(*offset));
            added.map_err(|error| KafkaError::of("offsets", &error))?;
        }
        let committed = self.consumer.commit(&list, CommitMode::Sync);
        committed.map_err(|error| KafkaError::of("setting the group's offsets", &error))
    }

    /// Removes the group and its offsets. One that is not there is no error.
    ///
    /// # Errors
    /// When the broker refuses, as it does while somebody is in the group.
    pub fn delete(&self) -> Result<(), KafkaError> {
        let admin: AdminClient<DefaultClientContext> =
            self.clients.config(&[], &[]).create().map_err(|error| KafkaError::of("consumer group", &error))?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        let results = super::topics::wait_for(admin.delete_groups(&[self.name], &options))?;
        for result in results.map_err(|error| KafkaError::of("removing the group", &error))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
                Err((group, code)) => {
                    let what = format!("removing group {group}");
                    return Err(KafkaError::Refused { what, message: code.to_string() });
                }
            }
        }
        Ok(())
    }
}
