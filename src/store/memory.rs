//! The in-memory twin: replay, tests, the demo.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::{Batch, Entry, Store, StoreError};

/// A store in ordered maps.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    customers: BTreeMap<Vec<u8>, Vec<u8>>,
    deadlines: BTreeSet<(i64, Vec<u8>)>,
    marker: Option<Vec<u8>>,
}

impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory".into()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.customers.get(key).cloned())
    }

    fn due(&self, before: i64, after: Option<(i64, &[u8])>, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let start = match after {
            Some((instant, key)) => Bound::Excluded((instant, key.to_vec())),
            None => Bound::Unbounded,
        };
        let due = self.deadlines.range((start, Bound::Unbounded)).take_while(|(instant, _)| *instant < before);
        Ok(due.take(limit).cloned().collect())
    }

    fn scan(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec()));
        let page = self.customers.range::<Vec<u8>, _>((start, Bound::Unbounded)).take(limit);
        Ok(page.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.marker.clone())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for update in &batch.updates {
            if let Some(previous) = update.previous_deadline {
                self.deadlines.remove(&(previous, update.key.clone()));
            }
            match &update.value {
                Some(value) => self.customers.insert(update.key.clone(), value.clone()),
                None => self.customers.remove(&update.key),
            };
            if let Some(deadline) = update.deadline {
                self.deadlines.insert((deadline, update.key.clone()));
            }
        }
        if batch.marker.is_some() {
            self.marker.clone_from(&batch.marker);
        }
        Ok(())
    }
}
