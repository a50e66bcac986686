//! The names of segments that customers may be members of. A membership names its segment by a key; once the segment is
//! no longer defined, only this tells who has to be told that they left what.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::catalog::{Catalog, key};
use crate::store::{Store, StoreError, Update};

/// The key of the list of names. No customer has it.
const KEY: &[u8] = b"names";
/// The version written today.
const VERSION: u32 = 1;

/// As stored: JSON, so that a person can read it in a console consumer.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    /// Segments by name, with the hash of the definition that was last at work.
    segments: BTreeMap<String, String>,
}

/// The segments ever defined.
#[derive(Debug)]
pub(super) struct Names {
    /// Name and definition by key, of those defined now.
    defined: BTreeMap<u64, (Arc<str>, Arc<str>)>,
    /// The same of those that once were.
    former: BTreeMap<u64, (Arc<str>, Arc<str>)>,
    /// Whether the store has them all.
    is_stored: bool,
}

impl Names {
    /// Those of a catalog.
    pub(super) fn of(catalog: &Catalog) -> Self {
        let segments = catalog.segments.iter();
        let named =
            segments.map(|segment| (segment.key, (segment.name.as_str().into(), segment.definition.as_str().into())));
        Self { defined: named.collect(), former: BTreeMap::new(), is_stored: false }
    }

    /// Adds those that a store has.
    pub(super) fn restore(&mut self, store: &impl Store) -> Result<(), StoreError> {
        let Some(bytes) = store.get(KEY)? else { return Ok(()) };
        let unreadable = || StoreError::Unreadable { path: store.location(), what: "list of segments".to_owned() };
        let written: Written = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
        if written.version != VERSION {
            return Err(unreadable());
        }
        let is_as_stored = |(name, definition): &(Arc<str>, Arc<str>)| {
            written.segments.get(&**name).map(String::as_str) == Some(definition)
        };
        self.is_stored = self.defined.values().all(is_as_stored);
        let stored =
            written.segments.into_iter().map(|(name, definition)| (key(&name), (name.into(), definition.into())));
        self.former = stored.filter(|(key, _)| !self.defined.contains_key(key)).collect();
        Ok(())
    }

    /// The name and the last definition of a segment that is no longer defined.
    pub(super) fn former(&self, key: u64) -> Option<(Arc<str>, Arc<str>)> {
        self.former.get(&key).cloned()
    }

    /// All of them, by key.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Arc<str>)> + '_ {
        self.defined.iter().chain(&self.former).map(|(key, (name, _))| (*key, name.clone()))
    }

    /// What the store does not have yet.
    pub(super) fn update(&self) -> Option<Update> {
        if self.is_stored {
            return None;
        }
        let text = |text: &Arc<str>| text.to_string();
        let segments = self
            .defined
            .values()
            .chain(self.former.values())
            .map(|(name, definition)| (text(name), text(definition)))
            .collect();
        // Texts always have a JSON form.
        let value = serde_json::to_vec(&Written { version: VERSION, segments }).unwrap_or_default();
        Some(Update { key: KEY.to_vec(), value: Some(value), previous_deadline: None, deadline: None })
    }

    pub(super) fn committed(&mut self) {
        self.is_stored = true;
    }
}
