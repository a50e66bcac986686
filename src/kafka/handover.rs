//! Partitions that the broker gives and takes away one by one (`group.protocol: consumer`, KIP-848), handled as the classic
//! protocol has it: all are put down before any is given or taken away.
//!
//! librdkafka then allows neither `assign` nor `unassign`. What the group gave stays given, and is paused where the worker does
//! not want it fetched; where fetching starts is sought.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaError;
use super::pause::pause;

/// A topic and a partition of it.
pub(super) type TopicPartition = (String, i32);

/// A partition that was just given may not be there to be sought in for a moment: so often it is tried, with this pause.
const TRIES: u32 = 100;
const AGAIN: Duration = Duration::from_millis(20);
const ANSWER: Duration = Duration::from_secs(10);

/// What the group has given to us.
pub(super) struct Handover {
    held: RefCell<BTreeSet<TopicPartition>>,
    /// What the group wants back, and waits for even if it is nothing: it gets it once all is put down.
    wanted_back: RefCell<Option<Vec<TopicPartition>>>,
    is_put_down: Cell<bool>,
}

impl Handover {
    /// Nothing is given yet.
    pub(super) fn new() -> Self {
        Self { held: RefCell::default(), wanted_back: RefCell::default(), is_put_down: Cell::new(true) }
    }

    /// Whether nothing of what is held is worked with.
    pub(super) fn is_put_down(&self) -> bool {
        self.is_put_down.get()
    }

    /// Takes what the group gives, if only nothing, none of it to be fetched yet.
    pub(super) fn take<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, given: Vec<TopicPartition>) {
        // Where it really starts is sought later; the end is a place that is always there.
        let result = list(&given, Offset::End)
            .and_then(|list| consumer.incremental_assign(&list).and_then(|()| consumer.pause(&list)));
        match result {
            Ok(()) => self.held.borrow_mut().extend(given),
            // The group has changed its mind meanwhile, and is about to say so.
            Err(error) => tracing::warn!(%error, "taking partitions"),
        }
    }

    /// All that is held, to be worked with from now on.
    pub(super) fn take_up(&self) -> Vec<TopicPartition> {
        self.is_put_down.set(false);
        self.held.borrow().iter().cloned().collect()
    }

    /// The group wants these back.
    pub(super) fn want_back(&self, partitions: Vec<TopicPartition>) {
        self.wanted_back.borrow_mut().get_or_insert_default().extend(partitions);
    }

    /// Fetches nothing, and gives back what the group wants; whether anything is left.
    pub(super) fn put_down<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>) -> Result<bool, RdKafkaError> {
        self.is_put_down.set(true);
        let mut held = self.held.borrow_mut();
        consumer.pause(&list(&*held, Offset::Invalid)?)?;
        if let Some(wanted_back) = self.wanted_back.take() {
            held.retain(|partition| !wanted_back.contains(partition));
            consumer.incremental_unassign(&list(&wanted_back, Offset::Invalid)?)?;
        }
        Ok(!held.is_empty())
    }

    /// Fetches from these offsets on, and nothing else.
    pub(super) fn fetch<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        from: &TopicPartitionList,
    ) -> Result<(), KafkaError> {
        let failed = |error: RdKafkaError| KafkaError::of("assign", &error);
        consumer.pause(&list(&*self.held.borrow(), Offset::Invalid).map_err(failed)?).map_err(failed)?;
        if from.count() == 0 {
            return Ok(());
        }
        let mut tries = 0;
        loop {
            match seek(consumer, from) {
                Err(error) if tries < TRIES && error.rdkafka_error_code() == Some(RDKafkaErrorCode::State) => {
                    tries += 1;
                    pause(AGAIN);
                }
                result => {
                    result.map_err(failed)?;
                    return consumer.resume(from).map_err(failed);
                }
            }
        }
    }
}

fn seek<C: ConsumerContext>(consumer: &BaseConsumer<C>, to: &TopicPartitionList) -> Result<(), RdKafkaError> {
    let answer = consumer.seek_partitions(to.clone(), ANSWER)?;
    answer.elements().iter().try_for_each(TopicPartitionListElem::error)
}

fn list<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
    offset: Offset,
) -> Result<TopicPartitionList, RdKafkaError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}
