//! The topics: those that come in must fit together and to the state, those that we write are made when they are missing.

use std::ops::ControlFlow;

use crate::kafka::changelog::Extent;
use crate::kafka::log::{Log, Place};
use crate::kafka::topics::{CHANGELOG, COMPACTED, KEPT, MAX_MESSAGE_BYTES, Topics, Wanted};
use crate::kafka::{Clients, KafkaError, Stop, patiently};

use super::marker::{MARKER_KEY, Marker};
use super::restore::{PATIENCE, RestoreError};
use super::settings::Settings;

/// Markers are looked for in so many offsets at the end of a partition; in more if there is none.
const NEAR_END: i64 = 10_000;

/// The partition count of the input topics, once the topics that we write are there. `on_wait` is told what it waits for, and
/// `None` in the end.
///
/// # Errors
/// When they do not fit together or to the state, or the broker refuses.
pub(super) fn prepare(
    clients: &Clients,
    settings: &Settings,
    on_wait: impl Fn(Option<&KafkaError>),
    stop: &Stop,
) -> Result<i32, KafkaError> {
    // One client for all attempts, so that a connection that takes longer than an attempt is made in the end.
    let topics = Topics::new(clients)?;
    let attempt = || {
        let partitions = topics.shared_partitions(&settings.input_topics())?;
        let wanted = written(settings, partitions);
        let names: Vec<String> = wanted.iter().map(|topic| topic.name.clone()).collect();
        let present = topics.partitions(&names)?;
        let changelog = settings.changelog();
        if let Some(count) = present.get(&changelog).copied().flatten() {
            refuse_other_count(clients, &changelog, count, partitions, stop)?;
        }
        let missing: Vec<_> = wanted.into_iter().filter(|topic| present.get(&topic.name) == Some(&None)).collect();
        for topic in &missing {
            tracing::info!(topic = topic.name, partitions, "making a topic that is missing");
        }
        topics.create(&missing)?;
        Ok(partitions)
    };
    let partitions = patiently(stop, attempt, |error| {
        tracing::warn!(%error, "waiting for the broker");
        on_wait(Some(error));
    });
    on_wait(None);
    partitions
}

/// The topics that the engine writes, as it makes them when they are missing.
pub fn written(settings: &Settings, partitions: i32) -> Vec<Wanted> {
    // A dead letter is what was refused, which may be as large as the broker takes, and its explanation.
    let dead_letters = [KEPT.as_slice(), &[(MAX_MESSAGE_BYTES, "4000000")]].concat();
    let wanted = |name: &str, settings: &[_]| Wanted { name: name.to_owned(), partitions, settings: settings.to_vec() };
    vec![
        wanted(&settings.changelog(), &CHANGELOG),
        Wanted { partitions: 1, ..wanted(&settings.percentiles(), &COMPACTED) },
        wanted(&settings.changes, &KEPT),
        wanted(&settings.memberships, &COMPACTED),
        wanted(&settings.dead_letters, &dead_letters),
    ]
}

/// Refuses a changelog of `count` partitions, or made when the input topics had another number of them than `partitions`:
/// a customer's state would be in another partition than what happens to them from now on.
///
/// # Errors
/// That; and when the broker does not answer.
pub(super) fn refuse_other_count(
    clients: &impl Log,
    changelog: &str,
    count: i32,
    partitions: i32,
    stop: &Stop,
) -> Result<(), KafkaError> {
    let refused = |message| Err(KafkaError::Refused { what: "topics".to_owned(), message });
    if count != partitions {
        return refused(format!(
            "{changelog} has {count} partitions and the input topics have {partitions}: the state of a partition is in the \
             partition of the same number, so the counts must be the same"
        ));
    }
    // Each partition that was ever worked on has a marker, and the new ones have none.
    for partition in 0..count {
        let place = Place { topic: changelog, partition, patience: PATIENCE };
        match some_marker(clients, place, stop)? {
            Some(marker) if marker.partitions != partitions => {
                let (changelog, then) = (changelog.to_owned(), marker.partitions);
                let error = RestoreError::PartitionCount { partition, changelog, then, now: partitions };
                return refused(error.to_string());
            }
            Some(_) => return Ok(()),
            None => {}
        }
    }
    Ok(())
}

/// A marker from somewhere near the end of a partition of the changelog, if it holds any.
fn some_marker(clients: &impl Log, place: Place<'_>, stop: &Stop) -> Result<Option<Marker>, KafkaError> {
    let Extent { low, high } = clients.extent(place)?;
    let (mut until, mut n_offsets) = (high, NEAR_END);
    while until > low {
        let from = low.max(until - n_offsets);
        let mut found = None;
        clients.read(place, Extent { low: from, high: until }, stop, |entry| {
            // One that cannot be read is found again, and told of, when its partition is restored.
            found = entry.value.filter(|_| entry.key == MARKER_KEY).and_then(|value| Marker::decode(value).ok());
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if found.is_some() {
            return Ok(found);
        }
        (until, n_offsets) = (from, n_offsets * 8);
    }
    Ok(None)
}
