//! Entries of the changelog on their way into a store.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, Ordering};

use hashbrown::HashMap;

use crate::kafka::changelog::Entry;
use crate::partition::is_customer;
use crate::store::durable::DurableStore;
use crate::store::{Batch, Store, StoreError, Update};
use crate::wire;

use super::failpoint::reach;
use super::marker::{MARKER_KEY, Marker, UnreadableMarker};
use super::restore::RestoreError;

/// Customers written at a time.
const BATCH: usize = 5_000;

/// Takes entries, writes them, and remembers the last marker.
pub(super) struct Filling<'a, S> {
    store: &'a mut S,
    /// The store was empty: its deadlines are listed once all is there, which spares a look at what each entry replaces.
    is_fresh: bool,
    /// How many offsets are still to be read.
    remaining: &'a AtomicI64,
    /// The last value of each key.
    updates: HashMap<Vec<u8>, Option<Vec<u8>>>,
    marker: Option<Marker>,
    failed: Option<Failed>,
}

enum Failed {
    Store(StoreError),
    Marker(UnreadableMarker, i64),
}

impl<'a, S: DurableStore> Filling<'a, S> {
    pub(super) fn new(store: &'a mut S, is_fresh: bool, remaining: &'a AtomicI64) -> Self {
        Self { store, is_fresh, remaining, updates: HashMap::new(), marker: None, failed: None }
    }

    /// Takes the next entry; breaks off when that fails.
    pub(super) fn take(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        self.remaining.fetch_sub(1, Ordering::Relaxed);
        let result = if entry.key == MARKER_KEY {
            let marker = Marker::decode(entry.value.unwrap_or_default());
            marker.map(|marker| self.marker = Some(marker)).map_err(|error| Failed::Marker(error, entry.offset))
        } else {
            self.updates.insert(entry.key.to_vec(), entry.value.map(<[u8]>::to_vec));
            if self.updates.len() >= BATCH { self.flush().map_err(Failed::Store) } else { Ok(()) }
        };
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Writes what was collected.
    fn flush(&mut self) -> Result<(), StoreError> {
        reach("filling");
        if self.is_fresh {
            self.store.fill(self.updates.iter().map(|(key, value)| (key.as_slice(), value.as_deref())))?;
            self.updates.clear();
            return Ok(());
        }
        // The deadline is part of the customer; the one it is listed under now is that of the customer the store has now.
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
        self.store.write(&Batch { updates, marker: None })
    }

    /// Writes the rest; gives the last marker.
    pub(super) fn finish(
        mut self,
        unreadable: impl FnOnce(&UnreadableMarker, i64) -> RestoreError,
    ) -> Result<Option<Marker>, RestoreError> {
        match self.failed.take() {
            Some(Failed::Store(error)) => return Err(error.into()),
            Some(Failed::Marker(error, offset)) => return Err(unreadable(&error, offset)),
            None => {}
        }
        self.flush()?;
        Ok(self.marker)
    }
}

fn deadline(store: &impl Store, key: &[u8], customer: &[u8]) -> Result<Option<i64>, StoreError> {
    if !is_customer(key) {
        return Ok(None);
    }
    let head = wire::customer::head(customer)
        .map_err(|_| StoreError::Unreadable { path: store.location(), what: "customer".to_owned() })?;
    Ok(head.deadline)
}
