//! A partition's store brought up to the changelog, before its input is read.
//!
//! The group's committed offsets are asked for first, then the end of the changelog; whatever was committed for the
//! partition lies before that end. A store that is there is brought forward from where it stands, one that is not is
//! filled from the beginning. At the end the last marker must name exactly the offsets that the group has: state and
//! input are then at the same point. Anything else is a [`RestoreError`] that names what was found and what repairs it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;

use crate::kafka::changelog::{Changelog, Entry, Extent};
use crate::kafka::{Clients, KafkaError, Stop};
use crate::partition::is_customer;
use crate::store::rocks::{RocksStore, Shared};
use crate::store::{Batch, Store, StoreError, Update};
use crate::wire;

use super::clock::wall_ms;
use super::marker::{MARKER_KEY, Marker, StoredMarker, encode};

/// A store older than this may hold customers whose removal the changelog has forgotten (`delete.retention.ms`, a day).
const TRUSTED_MS: i64 = 20 * 3_600_000;
/// Customers written at a time.
const BATCH: usize = 5_000;
/// How long nothing may come from the changelog. An abandoned transaction is ended by the broker well before.
const PATIENCE: Duration = Duration::from_mins(2);

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
         `segue state repair --partition {partition}` sets the group to where the state is"
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
         to {high}: it was truncated, or made anew. If the changelog is right, `segue state wipe --partition {partition}` \
         removes the store, and the next start fills it from the changelog"
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
pub(super) struct Restore<'a> {
    pub(super) clients: &'a Clients,
    pub(super) changelog: &'a str,
    pub(super) partition: i32,
    /// How many partitions the input topics have.
    pub(super) partitions: i32,
    pub(super) path: &'a Path,
    pub(super) stores: &'a Shared,
    pub(super) inputs: &'a [String],
    /// The group's offset for each input topic; topics without one are left out.
    pub(super) committed: &'a BTreeMap<String, i64>,
    pub(super) trust_markers: bool,
    pub(super) stop: &'a Stop,
    /// How many offsets are still to be read.
    pub(super) remaining: &'a AtomicI64,
}

/// A partition brought to the point where its input goes on.
pub(super) struct Restored {
    pub(super) store: RocksStore,
    /// `None` when nothing was ever committed for it.
    pub(super) marker: Option<Marker>,
    /// How many members each segment has here, by the segment's key.
    pub(super) members: HashMap<u64, i64>,
}

impl Restore<'_> {
    /// Does it.
    pub(super) fn run(&self) -> Result<Restored, RestoreError> {
        let changelog =
            Changelog { clients: self.clients, topic: self.changelog, partition: self.partition, patience: PATIENCE };
        let extent = changelog.extent()?;
        let (mut store, stored) = self.open(extent)?;
        let from = stored.as_ref().map_or(extent.low, |stored| stored.changelog_position);
        self.remaining.store((extent.high - from).max(0), Ordering::Relaxed);
        let mut filling =
            Filling { restore: self, store: &mut store, updates: HashMap::new(), marker: None, failed: None };
        changelog.read(from, extent.high, self.stop, |entry| filling.take(&entry))?;
        let found = filling.finish()?;
        let marker = found.or_else(|| stored.map(|stored| stored.marker));
        self.verify(marker.as_ref())?;
        if let Some(marker) = &marker {
            let position = extent.high.max(from);
            let marker = StoredMarker { changelog_position: position, written_at: wall_ms(), marker: marker.clone() };
            store.write(&Batch { updates: Vec::new(), marker: Some(encode(&marker)) })?;
        }
        let members = self.count_members(&store)?;
        self.remaining.store(0, Ordering::Relaxed);
        Ok(Restored { store, marker, members })
    }

    /// Opens the store if it can be brought forward, and an empty one in its place otherwise.
    fn open(&self, extent: Extent) -> Result<(RocksStore, Option<StoredMarker>), RestoreError> {
        let store = self.open_patiently()?;
        let stored = store.marker()?.map(|bytes| StoredMarker::decode(&bytes)).transpose();
        let stored = stored.map_err(|error| self.marker_error(&error, &self.path.display().to_string()))?;
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
            // Nothing to go on from: too old, or left behind half filled.
            _ => {
                drop(store);
                RocksStore::destroy(self.path)?;
                Ok((self.open_patiently()?, None))
            }
        }
    }

    /// Whoever had the partition before may be about to close the store.
    fn open_patiently(&self) -> Result<RocksStore, RestoreError> {
        const TRIES: u32 = 50;
        for _ in 0..TRIES {
            if let Ok(store) = RocksStore::open(self.path, self.stores) {
                return Ok(store);
            }
            self.stop.sleep(Duration::from_millis(100))?;
        }
        Ok(RocksStore::open(self.path, self.stores)?)
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
        if self.trust_markers && self.committed.is_empty() {
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

    fn count_members(&self, store: &RocksStore) -> Result<HashMap<u64, i64>, RestoreError> {
        const PAGE: usize = 1_000;
        let mut members = HashMap::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            if self.stop.is_requested() {
                return Err(KafkaError::Stopped.into());
            }
            let page = store.scan(after.as_deref(), PAGE)?;
            for (_, bytes) in page.iter().filter(|(key, _)| is_customer(key)) {
                let customer = wire::customer::decode(bytes).map_err(|_| unreadable(store))?;
                for (key, _) in customer.standings.iter().filter(|(_, standing)| standing.member) {
                    *members.entry(*key).or_default() += 1;
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => after = Some(last.clone()),
                _ => return Ok(members),
            }
        }
    }
}

/// Entries of the changelog on their way into the store.
struct Filling<'a> {
    restore: &'a Restore<'a>,
    store: &'a mut RocksStore,
    /// The last value of each key.
    updates: HashMap<Vec<u8>, Option<Vec<u8>>>,
    marker: Option<Marker>,
    failed: Option<RestoreError>,
}

impl Filling<'_> {
    fn take(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        self.restore.remaining.fetch_sub(1, Ordering::Relaxed);
        let result = if entry.key == MARKER_KEY {
            self.take_marker(entry)
        } else {
            self.updates.insert(entry.key.to_vec(), entry.value.map(<[u8]>::to_vec));
            if self.updates.len() >= BATCH { self.flush() } else { Ok(()) }
        };
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn take_marker(&mut self, entry: &Entry<'_>) -> Result<(), RestoreError> {
        let place = || format!("{} at offset {}", self.restore.changelog, entry.offset);
        let marker = Marker::decode(entry.value.unwrap_or_default());
        self.marker = Some(marker.map_err(|error| self.restore.marker_error(&error, &place()))?);
        Ok(())
    }

    /// Writes what was collected. The deadline is part of the customer; the one it is listed under now is that of the
    /// customer the store has now.
    fn flush(&mut self) -> Result<(), RestoreError> {
        let mut updates = Vec::with_capacity(self.updates.len());
        for (key, value) in self.updates.drain() {
            let present = self.store.get(&key)?;
            updates.push(Update {
                previous_deadline: present.map(|bytes| deadline(self.store, &key, &bytes)).transpose()?.flatten(),
                deadline: value.as_ref().map(|bytes| deadline(self.store, &key, bytes)).transpose()?.flatten(),
                key,
                value,
            });
        }
        Ok(self.store.write(&Batch { updates, marker: None })?)
    }

    fn finish(mut self) -> Result<Option<Marker>, RestoreError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.flush()?;
        Ok(self.marker)
    }
}

fn deadline(store: &RocksStore, key: &[u8], customer: &[u8]) -> Result<Option<i64>, StoreError> {
    if !is_customer(key) {
        return Ok(None);
    }
    Ok(wire::customer::decode(customer).map_err(|_| unreadable(store))?.deadline)
}

fn unreadable(store: &RocksStore) -> StoreError {
    StoreError::Unreadable { path: store.location(), what: "customer".to_owned() }
}
