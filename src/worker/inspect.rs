//! Stopped stores looked at from outside: what they hold, and whether the changelog says the same.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

use crate::kafka::changelog::{Changelog, Extent};
use crate::kafka::{Clients, KafkaError, Stop};
use crate::partition::{customer_id_of, is_customer};
use crate::store::durable::{DurableStore as _, Figures};
use crate::store::rocks::{Budget, RocksStore, Shared};
use crate::store::{Store, StoreError};
use crate::wire;

use super::marker::{MARKER_KEY, Marker, StoredMarker};
use super::settings::Settings;

const PAGE: usize = 1_000;
const PATIENCE: Duration = Duration::from_mins(1);

/// A store cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The changelog.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

/// A partition's store, stopped.
pub struct Stopped {
    /// The store.
    pub store: RocksStore,
    /// How far it got; `None` when it was left half filled.
    pub marker: Option<StoredMarker>,
}

/// What a store holds.
#[derive(Debug)]
pub struct Contents {
    /// Customers, remains of erased ones included.
    pub n_customers: u64,
    /// Customers with a deadline.
    pub n_deadlines: u64,
    /// Bytes of all encoded customers.
    pub customers_bytes: u64,
    /// The database's own figures.
    pub figures: Figures,
}

/// What a partition of the changelog holds.
pub struct Logged {
    /// From where to where it goes.
    pub extent: Extent,
    /// The last marker.
    pub marker: Option<Marker>,
    /// Hashes of the last value of each key written before the position asked about; removed keys are left out.
    before: HashMap<Vec<u8>, u64>,
    /// Keys written later.
    after: HashSet<Vec<u8>>,
}

/// How a store differs from the changelog at the same point.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Customers compared.
    pub n_compared: u64,
    /// Customers whose values differ.
    pub n_different: u64,
    /// Customers that only the changelog has.
    pub n_missing: u64,
    /// Customers that only the store has.
    pub n_surplus: u64,
    /// Customers that are not listed under their deadline, and deadlines of customers who have none there.
    pub n_misfiled: u64,
}

impl Differences {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        self.n_different + self.n_missing + self.n_surplus + self.n_misfiled == 0
    }
}

impl Stopped {
    /// Opens the store of a partition; `None` when there is none.
    ///
    /// # Errors
    /// When it is in use, or damaged.
    pub fn open(settings: &Settings, partition: i32) -> Result<Option<Self>, StoreError> {
        let path = settings.store_path(partition);
        if !path.is_dir() {
            return Ok(None);
        }
        let budget = Budget { cache_bytes: 64 << 20, write_buffer_bytes: 16 << 20, n_stores: 1, ..Budget::default() };
        let store = RocksStore::open(&path, &Shared::new(budget))?;
        let marker = store.marker()?.map(|bytes| StoredMarker::decode(&bytes)).transpose();
        let unreadable = || StoreError::Unreadable { path: store.location(), what: "marker".to_owned() };
        let marker = marker.map_err(|_| unreadable())?;
        Ok(Some(Self { store, marker }))
    }

    /// Counts what it holds.
    ///
    /// # Errors
    /// When the database fails.
    pub fn contents(&self) -> Result<Contents, StoreError> {
        let (mut n_customers, mut n_deadlines, mut customers_bytes) = (0, 0, 0);
        self.each_entry(|key, value, deadline| {
            n_customers += u64::from(is_customer(key));
            n_deadlines += u64::from(deadline.is_some());
            customers_bytes += value.len() as u64;
        })?;
        Ok(Contents { n_customers, n_deadlines, customers_bytes, figures: self.store.figures() })
    }

    /// The next deadlines and whose they are, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub fn deadlines(&self, limit: usize) -> Result<Vec<(i64, String)>, StoreError> {
        let due = self.store.due(i64::MAX, None, limit)?;
        Ok(due.into_iter().map(|(at, key)| (at, customer_id_of(&key).unwrap_or("(erased)").to_owned())).collect())
    }

    /// Compares it with the changelog as it was where the store stands.
    ///
    /// # Errors
    /// When the database fails.
    pub fn compare(&self, mut logged: Logged) -> Result<Differences, StoreError> {
        let mut found = Differences::default();
        let mut deadlines = BTreeSet::new();
        self.each_entry(|key, value, deadline| {
            deadlines.extend(deadline.map(|at| (at, key.to_vec())));
            let expected = logged.before.remove(key);
            if logged.after.contains(key) {
                // What it was at this point may be compacted away.
                return;
            }
            found.n_compared += 1;
            match expected {
                None => found.n_surplus += 1,
                Some(hash) if hash != xxh3_64(value) => found.n_different += 1,
                Some(_) => {}
            }
        })?;
        found.n_missing = logged.before.keys().filter(|key| !logged.after.contains(*key)).count() as u64;
        let mut after: Option<(i64, Vec<u8>)> = None;
        loop {
            let page = self.store.due(i64::MAX, after.as_ref().map(|(at, key)| (*at, key.as_slice())), PAGE)?;
            found.n_misfiled += page.iter().filter(|entry| !deadlines.remove(*entry)).count() as u64;
            if page.len() < PAGE {
                break;
            }
            after = page.into_iter().next_back();
        }
        found.n_misfiled += deadlines.len() as u64;
        Ok(found)
    }

    /// Each entry and its deadline, if it is a customer who has one.
    fn each_entry(&self, mut each: impl FnMut(&[u8], &[u8], Option<i64>)) -> Result<(), StoreError> {
        self.store.visit(|key, value| {
            let unreadable = |_| StoreError::Unreadable { path: self.store.location(), what: "customer".to_owned() };
            let head = is_customer(key).then(|| wire::customer::head(value).map_err(unreadable)).transpose()?;
            each(key, value, head.and_then(|head| head.deadline));
            Ok(())
        })
    }
}

/// Reads a partition of the changelog, split at a position.
///
/// # Errors
/// When the broker refuses, or a marker cannot be read.
pub fn read_changelog(
    clients: &Clients,
    settings: &Settings,
    partition: i32,
    position: i64,
) -> Result<Logged, InspectError> {
    let topic = settings.changelog();
    let changelog = Changelog { clients, topic: &topic, partition, patience: PATIENCE };
    let extent = changelog.extent()?;
    let mut logged = Logged { extent, marker: None, before: HashMap::new(), after: HashSet::new() };
    let mut unreadable = None;
    changelog.read(extent.low, extent.high, &Stop::default(), |entry| {
        if entry.key == MARKER_KEY {
            match Marker::decode(entry.value.unwrap_or_default()) {
                Ok(marker) => logged.marker = Some(marker),
                Err(error) => unreadable = Some(error),
            }
        } else if entry.offset >= position {
            logged.after.insert(entry.key.to_vec());
        } else if let Some(value) = entry.value {
            logged.before.insert(entry.key.to_vec(), xxh3_64(value));
        } else {
            logged.before.remove(entry.key);
        }
        ControlFlow::Continue(())
    })?;
    match unreadable {
        Some(error) => Err(KafkaError::Refused { what: topic, message: error.to_string() }.into()),
        None => Ok(logged),
    }
}

/// The partitions that have a store on this disk, in order.
///
/// # Errors
/// When the directory cannot be read.
pub fn stored_partitions(settings: &Settings) -> std::io::Result<Vec<i32>> {
    let directory = settings.data_dir.join(&settings.application);
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut partitions = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("partition-"));
        partitions.extend(number.and_then(|number| number.parse::<i32>().ok()));
    }
    partitions.sort_unstable();
    Ok(partitions)
}
