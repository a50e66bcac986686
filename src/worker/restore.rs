//! A partition's store brought up to the changelog, before its input is read.
//!
//! The group's committed offsets are asked for first, then the end of the changelog; whatever was committed for the
//! partition lies before that end. A store that is there is brought forward from where it stands, one that is not is
//! filled from the beginning. At the end the last marker must name exactly the offsets that the group has: state and
//! input are then at the same point. Anything else is a [`RestoreError`] that names what was found and what repairs it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;

use crate::kafka::changelog::Extent;
use crate::kafka::log::{Log, Place};
use crate::kafka::{KafkaError, Stop};
use crate::store::durable::Stores as _;
use crate::store::{Batch, Store as _, StoreError};

use super::clock::{now, since, wall_ms};
use super::failpoint::reach;
use super::filling::Filling;
use super::marker::{Marker, StoredMarker, encode};
use super::world::{StoreOf, World};

/// A store older than this may hold customers whose removal the changelog has forgotten (`delete.retention.ms`, a day). In
/// the simulation all of that takes seconds.
pub(super) const TRUSTED_MS: i64 = if cfg!(test) { 3_000 } else { 20 * 3_600_000 };
/// How long nothing may come from the changelog, and how long a store may be in use by somebody else. An abandoned
/// transaction is ended by the broker well before, and so is a worker's wait for it.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// A partition cannot be brought to the point where its input goes on.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Kafka failed.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The last marker and the group name different offsets.
    #[error(
        "partition {partition}: the state in {changelog} goes up to offset {marker} of {topic}, and the consumer group \
         would go on at {group}. Events between the two would be lost or counted twice, so nothing was started. \
         `segue state repair --partition {partition} --config FILE` sets the group to where the state is"
    )]
    Disagreement {
        /// The partition.
        partition: i32,
        /// The changelog.
        changelog: String,
        /// The input topic.
        topic: String,
        /// The offset of the marker.
        marker: String,
        /// The offset of the group.
        group: String,
    },
    /// The store stands where the changelog no longer (or not yet) is.
    #[error(
        "partition {partition}: the store in {path} stands at offset {position} of {changelog}, which holds offsets {low} \
         to {high}: it was truncated, or made anew. If the changelog is right, \
         `segue state wipe --partition {partition} --config FILE` removes the store, and the next start fills it from the \
         changelog"
    )]
    Truncated {
        /// The partition.
        partition: i32,
        /// The store.
        path: String,
        /// Where the store stands.
        position: i64,
        /// The changelog.
        changelog: String,
        /// Its first offset.
        low: i64,
        /// Its end.
        high: i64,
    },
    /// The changelog does not go back to the beginning, and there is no store to begin with.
    #[error(
        "partition {partition}: the records of {changelog} before offset {low} were removed, and there is no store in {path} \
         that has them: customers would be forgotten. If the store was moved away, put it back. Otherwise \
         `segue state reset --config FILE` starts from the beginning of the input"
    )]
    Removed {
        /// The partition.
        partition: i32,
        /// Where the store would be.
        path: String,
        /// The changelog.
        changelog: String,
        /// Its first offset.
        low: i64,
    },
    /// The input topics had another number of partitions when the state was made.
    #[error(
        "partition {partition}: the state in {changelog} was made when the input topics had {then} partitions, and now they \
         have {now}: customers would be looked for in the wrong partition. Give the topics {then} partitions again, or \
         start a new application.id, which reads everything from the beginning"
    )]
    PartitionCount {
        /// The partition.
        partition: i32,
        /// The changelog.
        changelog: String,
        /// How many there were.
        then: i32,
        /// How many there are.
        now: i32,
    },
    /// A customer cannot be read.
    #[error(
        "partition {partition}: {changelog} holds a customer that this version cannot read: run the version that wrote it"
    )]
    Customer {
        /// The partition.
        partition: i32,
        /// The changelog.
        changelog: String,
    },
    /// A marker cannot be read.
    #[error("partition {partition}: {message} in {place}")]
    Marker {
        /// The partition.
        partition: i32,
        /// What is wrong with it.
        message: String,
        /// Where it is.
        place: String,
    },
}

/// What is to be restored, and with what it must agree.
pub(super) struct Restore<'a, W: World> {
    pub(super) clients: &'a W::Log,
    pub(super) changelog: &'a str,
    pub(super) partition: i32,
    /// How many partitions the input topics have.
    pub(super) partitions: i32,
    pub(super) path: &'a Path,
    pub(super) stores: &'a W::Stores,
    pub(super) inputs: &'a [String],
    /// The group's offset for each input topic; topics without one are left out.
    pub(super) committed: &'a BTreeMap<String, i64>,
    pub(super) is_mock: bool,
    pub(super) stop: &'a Stop,
    /// How many offsets are still to be read.
    pub(super) remaining: &'a AtomicI64,
}

/// A partition brought to the point where its input goes on.
pub(super) struct Restored<W: World> {
    pub(super) store: StoreOf<W>,
    /// `None` when nothing was ever committed for it.
    pub(super) marker: Option<Marker>,
    /// What its customers come to.
    pub(super) census: Census,
    /// The end of the changelog, as it was before the group's offsets were compared.
    pub(super) changelog_end: i64,
}

/// What the customers of a store come to.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// How many members each segment has, by the segment's key.
    pub(super) members: HashMap<u64, i64>,
    /// How many customers have a deadline.
    pub(super) n_deadlines: u64,
}

impl<W: World> Restore<'_, W> {
    /// Does it. A store that turns out to be damaged is filled again.
    pub(super) fn run(&self) -> Result<Restored<W>, RestoreError> {
        match self.attempt() {
            Err(RestoreError::Store(error)) if error.beyond_repair().is_some() => {
                tracing::warn!(partition = self.partition, %error, "filling the store again from the changelog");
                self.stores.destroy(self.path)?;
                self.attempt().map_err(|error| match error {
                    // What is damaged now came so from the changelog.
                    RestoreError::Store(StoreError::Unreadable { .. }) => {
                        RestoreError::Customer { partition: self.partition, changelog: self.changelog.to_owned() }
                    }
                    error => error,
                })
            }
            result => result,
        }
    }

    fn attempt(&self) -> Result<Restored<W>, RestoreError> {
        let changelog = Place { topic: self.changelog, partition: self.partition, patience: PATIENCE };
        let asked_at = wall_ms();
        let extent = self.clients.extent(changelog)?;
        let (mut store, stored) = self.open(extent)?;
        let from = stored.as_ref().map_or(extent.low, |stored| stored.changelog_position);
        self.remaining.store((extent.high - from).max(0), Ordering::Relaxed);
        let mut filling = Filling::new(&mut store, stored.is_none(), self.remaining)?;
        let ahead = Extent { low: from, ..extent };
        self.clients.read(changelog, ahead, self.stop, |entry| filling.take(&entry))?;
        let found = filling
            .marker(|error, offset| self.marker_error(error, &format!("{} at offset {offset}", self.changelog)))?;
        let marker = found.or_else(|| stored.map(|stored| stored.marker));
        self.verify(marker.as_ref())?;
        let census = filling.finish(self.stop)?;
        reach("restored");
        if let Some(marker) = &marker {
            let position = extent.high.max(from);
            let marker = StoredMarker { changelog_position: position, written_at: asked_at, marker: marker.clone() };
            store.write(&Batch { updates: Vec::new(), marker: Some(encode(&marker)) })?;
        }
        self.remaining.store(0, Ordering::Relaxed);
        Ok(Restored { store, marker, census, changelog_end: extent.high.max(from) })
    }

    /// Opens the store if it can be brought forward, and an empty one in its place otherwise.
    fn open(&self, extent: Extent) -> Result<(StoreOf<W>, Option<StoredMarker>), RestoreError> {
        let store = self.open_patiently()?;
        let stored = store.marker()?.map(|bytes| StoredMarker::decode(&bytes)).transpose();
        let stored =
            stored.map_err(|_| StoreError::Unreadable { path: store.location(), what: "marker".to_owned() })?;
        match stored {
            Some(stored) if !(extent.low..=extent.high).contains(&stored.changelog_position) => {
                Err(RestoreError::Truncated {
                    partition: self.partition,
                    path: self.path.display().to_string(),
                    position: stored.changelog_position,
                    changelog: self.changelog.to_owned(),
                    low: extent.low,
                    high: extent.high,
                })
            }
            Some(stored) if wall_ms().saturating_sub(stored.written_at) <= TRUSTED_MS => Ok((store, Some(stored))),
            _ if extent.low > 0 => Err(RestoreError::Removed {
                partition: self.partition,
                path: self.path.display().to_string(),
                changelog: self.changelog.to_owned(),
                low: extent.low,
            }),
            // Nothing to go on from: too old, or left behind half filled.
            _ => {
                drop(store);
                self.stores.destroy(self.path)?;
                Ok((self.open_patiently()?, None))
            }
        }
    }

    /// Whoever had the partition before may be about to close the store, or be held up by a broker that does not answer.
    fn open_patiently(&self) -> Result<StoreOf<W>, RestoreError> {
        let (asked_at, mut tries) = (now(), 0);
        loop {
            tries += 1;
            match self.stores.open(self.path) {
                Err(error @ StoreError::InUse { .. }) if since(asked_at) < PATIENCE => {
                    if tries == 50 {
                        tracing::warn!(partition = self.partition, %error, "waiting for a store");
                    }
                }
                opened => return Ok(opened?),
            }
            self.stop.sleep(Duration::from_millis(100))?;
        }
    }

    fn verify(&self, marker: Option<&Marker>) -> Result<(), RestoreError> {
        if let Some(marker) = marker
            && marker.partitions != self.partitions
        {
            return Err(RestoreError::PartitionCount {
                partition: self.partition,
                changelog: self.changelog.to_owned(),
                then: marker.partitions,
                now: self.partitions,
            });
        }
        if self.is_mock && self.committed.is_empty() {
            return Ok(());
        }
        // A topic that was dropped from the configuration keeps its offset in the marker; the group is not asked about it.
        for topic in self.inputs {
            let in_marker = marker.and_then(|marker| marker.offsets.get(topic));
            let in_group = self.committed.get(topic);
            if in_marker != in_group {
                return Err(self.disagreement(topic, in_marker, in_group));
            }
        }
        Ok(())
    }

    fn disagreement(&self, topic: &str, marker: Option<&i64>, group: Option<&i64>) -> RestoreError {
        let text = |offset: Option<&i64>| offset.map_or_else(|| "none at all".to_owned(), ToString::to_string);
        RestoreError::Disagreement {
            partition: self.partition,
            changelog: self.changelog.to_owned(),
            topic: topic.to_owned(),
            marker: text(marker),
            group: text(group),
        }
    }

    fn marker_error(&self, error: &impl ToString, place: &str) -> RestoreError {
        RestoreError::Marker { partition: self.partition, message: error.to_string(), place: place.to_owned() }
    }
}
