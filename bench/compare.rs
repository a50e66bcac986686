//! Whether segue and a peer did the same work: the same changes of the same customers, at the same instants, in the same
//! order. Said of instants that both have passed; how long after the last event each goes on is its own affair.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::broker::Broker;
use crate::change::{Change, Output};

const TIMEOUT: Duration = Duration::from_secs(30);
type Story = BTreeMap<String, Vec<Change>>;

/// What came of it.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Comparison {
    /// With whom.
    pub(crate) peer: &'static str,
    pub(crate) customers: usize,
    pub(crate) changes: usize,
    pub(crate) customers_that_differ: usize,
    /// Some of those, in words.
    pub(crate) examples: Vec<String>,
}

/// Compares what segue and each of its peers have told of instants before `until_ms`.
pub(crate) fn compare(
    broker: &Broker,
    ours: Output,
    peers: &[(&'static str, Output)],
    until_ms: i64,
) -> Result<Vec<Comparison>> {
    let ours = read(broker, ours, until_ms)?;
    peers.iter().map(|&(name, theirs)| Ok(compare_with(name, &ours, &read(broker, theirs, until_ms)?))).collect()
}

fn compare_with(peer: &'static str, ours: &Story, theirs: &Story) -> Comparison {
    let nothing = Vec::new();
    let mut comparison = Comparison {
        peer,
        customers: ours.len(),
        changes: ours.values().map(Vec::len).sum(),
        customers_that_differ: 0,
        examples: Vec::new(),
    };
    let everybody: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for customer in everybody {
        let (mine, other) = (ours.get(customer).unwrap_or(&nothing), theirs.get(customer).unwrap_or(&nothing));
        if mine != other {
            comparison.customers_that_differ += 1;
            if comparison.examples.len() < 5 {
                let place = mine.iter().zip(other).take_while(|(mine, other)| mine == other).count();
                let (mine_next, other_next) = (mine.get(place), other.get(place));
                comparison.examples.push(format!("{customer}, change {place}: {mine_next:?} or {other_next:?}"));
            }
        }
    }
    comparison
}

fn read(broker: &Broker, (topic, decode): Output, until_ms: i64) -> Result<Story> {
    let partitions = broker.ends(topic)?.len();
    let mut list = TopicPartitionList::new();
    for number in 0..partitions {
        list.add_partition_offset(topic, i32::try_from(number)?, Offset::Beginning)?;
    }
    let consumer: BaseConsumer = broker
        .client()
        .set("group.id", "compare")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    consumer.assign(&list)?;
    let (mut story, mut n_ended) = (Story::new(), 0);
    while n_ended < partitions {
        match consumer.poll(TIMEOUT) {
            Some(Ok(message)) => {
                let (customer, change) = decode(message.payload().context("a change without a value")?)?;
                if change.2 < until_ms {
                    story.entry(customer).or_default().push(change);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => n_ended += 1,
            Some(Err(error)) => return Err(error.into()),
            None => bail!("{topic} cannot be read"),
        }
    }
    Ok(story)
}
