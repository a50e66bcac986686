//! Entries of the changelog on their way into a store.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, Ordering};

use hashbrown::HashMap;

use crate::kafka::changelog::Entry;
use crate::kafka::{KafkaError, Stop};
use crate::partition::is_customer;
use crate::store::durable::{DurableStore, Fill as _};
use crate::store::{Batch, StoreError, Update};
use crate::wire;
use crate::wire::customer::Head;

use super::failpoint::reach;
use super::marker::{MARKER_KEY, Marker, UnreadableMarker};
use super::restore::{Census, RestoreError};

/// Entries after which those for a store that holds customers already are written.
const BATCH: usize = 5_000;

/// Takes entries, writes them, and remembers the last marker.
pub(super) struct Filling<'a, S: DurableStore> {
    store: &'a mut S,
    way: Way<S>,
    n_taken: usize,
    /// How many offsets are still to be read.
    remaining: &'a AtomicI64,
    marker: Option<Marker>,
    failed: Option<Failed>,
}

/// How entries get into the store.
enum Way<S: DurableStore> {
    /// It was empty: all at once, in the end.
    Fill(S::Filling),
    /// Step by step; the last value of each key, so far.
    Forward(HashMap<Vec<u8>, Option<Vec<u8>>>),
}

enum Failed {
    Store(StoreError),
    Marker(UnreadableMarker, i64),
}

impl<'a, S: DurableStore> Filling<'a, S> {
    pub(super) fn new(store: &'a mut S, is_empty: bool, remaining: &'a AtomicI64) -> Result<Self, StoreError> {
        let way = if is_empty { Way::Fill(store.start_filling()?) } else { Way::Forward(HashMap::new()) };
        Ok(Self { store, way, n_taken: 0, remaining, marker: None, failed: None })
    }

    /// Takes the next entry; breaks off when that fails.
    pub(super) fn take(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        self.remaining.fetch_sub(1, Ordering::Relaxed);
        let result = if entry.key == MARKER_KEY {
            let marker = Marker::decode(entry.value.unwrap_or_default());
            marker.map(|marker| self.marker = Some(marker)).map_err(|error| Failed::Marker(error, entry.offset))
        } else {
            self.take_value(entry.key, entry.value).map_err(Failed::Store)
        };
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn take_value(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        match &mut self.way {
            Way::Fill(filling) => filling.take(key, value)?,
            Way::Forward(updates) => drop(updates.insert(key.to_vec(), value.map(<[u8]>::to_vec))),
        }
        self.n_taken += 1;
        if self.n_taken.is_multiple_of(BATCH) { self.write() } else { Ok(()) }
    }

    /// Writes what was collected for a store that holds customers already.
    fn write(&mut self) -> Result<(), StoreError> {
        reach("filling");
        let Way::Forward(collected) = &mut self.way else { return Ok(()) };
        // The deadline is part of the customer; the one it is listed under now is that of the customer the store has now.
        let mut updates = Vec::with_capacity(collected.len());
        for (key, value) in collected.drain() {
            let deadline = |bytes: &Vec<u8>| Ok(head(&*self.store, &key, bytes)?.and_then(|head| head.deadline));
            let present = self.store.get(&key)?;
            let listed = present.as_ref().map(deadline).transpose()?.flatten();
            let next = value.as_ref().map(deadline).transpose()?.flatten();
            updates.push(Update::relisted(key, value, listed, next));
        }
        self.store.write(&Batch { updates, marker: None })
    }

    /// The last marker, once all was read.
    pub(super) fn marker(
        &mut self,
        unreadable: impl FnOnce(&UnreadableMarker, i64) -> RestoreError,
    ) -> Result<Option<Marker>, RestoreError> {
        match self.failed.take() {
            Some(Failed::Store(error)) => Err(error.into()),
            Some(Failed::Marker(error, offset)) => Err(unreadable(&error, offset)),
            None => Ok(self.marker.take()),
        }
    }

    /// Writes the rest, and looks at every customer.
    pub(super) fn finish(mut self, stop: &Stop) -> Result<Census, RestoreError> {
        self.write()?;
        let mut census = Census::default();
        let store = &*self.store;
        let mut look = |key: &[u8], value: &[u8]| {
            if stop.is_requested() {
                return Err(RestoreError::from(KafkaError::Stopped));
            }
            let Some(head) = head(store, key, value)? else { return Ok(None) };
            for segment in head.memberships {
                *census.members.entry(segment).or_default() += 1;
            }
            census.n_deadlines += u64::from(head.deadline.is_some());
            Ok(head.deadline)
        };
        match self.way {
            Way::Fill(filling) => filling.finish(look)?,
            Way::Forward(_) => store.visit(|key, value| look(key, value).map(drop))?,
        }
        Ok(census)
    }
}

/// What is to be told of an entry; `None` if it is no customer.
fn head(store: &impl DurableStore, key: &[u8], value: &[u8]) -> Result<Option<Head>, StoreError> {
    let unreadable = |_| StoreError::Unreadable { path: store.location(), what: "customer".to_owned() };
    is_customer(key).then(|| wire::customer::head(value).map_err(unreadable)).transpose()
}
