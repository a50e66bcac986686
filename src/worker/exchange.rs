//! How values are distributed over the customers of other partitions, for percentiles: told in the transactions of those
//! who own them, through a compacted topic that every process follows.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::catalog::Catalog;
use crate::engine::percentile::Distribution;
use crate::kafka::changelog::{Entry, Extent};
use crate::kafka::log::{Log, Place};
use crate::kafka::{KafkaError, Stop};
use crate::wire::distribution::{Dated, decode};

use super::clock::{now, since};

/// How long a partition waits for the distributions of others that are behind, or that nobody owns.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the topic is looked at while somebody waits.
const LOOK: Duration = Duration::from_millis(200);

/// The distributions of all partitions, as far as they are known here. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Exchange {
    latest: Arc<Mutex<HashMap<Vec<u8>, Latest>>>,
    is_awaited: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Latest {
    at: i64,
    distribution: Arc<Distribution>,
}

/// Distributions that this partition tells the others.
pub(super) struct Told {
    /// As of when, milliseconds since the epoch.
    pub(super) at: i64,
    /// Whether the others can read it.
    pub(super) is_committed: bool,
    percentiles: Vec<u64>,
    since: Instant,
}

impl Told {
    pub(super) fn new(at: i64, catalog: &Catalog) -> Self {
        let percentiles = catalog.percentiles.iter().map(|percentile| percentile.key).collect();
        Self { at, is_committed: false, percentiles, since: now() }
    }
}

/// The key of a record: partition and percentile.
pub(super) fn key_of(partition: i32, percentile: u64) -> Vec<u8> {
    format!("{partition}/{percentile:016x}").into_bytes()
}

impl Exchange {
    /// For each percentile the distributions of all partitions but one; `None` while some are worth waiting for.
    pub(super) fn others(&self, told: &Told, number: i32, partitions: i32) -> Option<Vec<Vec<Arc<Distribution>>>> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let others = || (0..partitions).filter(|other| *other != number);
        let of = |percentile: u64| others().map(move |other| key_of(other, percentile)).map(|key| latest.get(&key));
        let is_new = |latest: &Latest| latest.at >= told.at;
        let mut all = told.percentiles.iter().flat_map(|percentile| of(*percentile));
        if !all.all(|latest| latest.is_some_and(is_new)) && since(told.since) < PATIENCE {
            self.is_awaited.store(true, Ordering::Relaxed);
            return None;
        }
        let known = |percentile: &u64| of(*percentile).flatten().map(|latest| latest.distribution.clone()).collect();
        Some(told.percentiles.iter().map(known).collect())
    }

    fn take(&self, entry: &Entry<'_>) {
        let Some(value) = entry.value else { return };
        match decode(value) {
            Ok(Dated { at, distribution, .. }) => {
                let latest = Latest { at, distribution: Arc::new(distribution) };
                self.latest.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.key.to_vec(), latest);
            }
            // Its partition is left out, or counted as it was: percentiles are off, and come right with the next.
            Err(error) => tracing::warn!(offset = entry.offset, %error, "skipping what another partition told"),
        }
    }
}

/// Reads what is told whenever somebody waits for it, until it is told to stop.
pub(super) fn follow(exchange: &Exchange, log: &impl Log, topic: &str, stop: &Stop) {
    let place = Place { topic, partition: 0, patience: PATIENCE };
    let mut position = None;
    while stop.sleep(LOOK).is_ok() {
        if !exchange.is_awaited.swap(false, Ordering::Relaxed) {
            continue;
        }
        let read = log.extent(place).and_then(|extent| {
            let from = position.filter(|position| (extent.low..=extent.high).contains(position)).unwrap_or(extent.low);
            log.read(place, Extent { low: from, ..extent }, stop, |entry| {
                exchange.take(&entry);
                ControlFlow::Continue(())
            })?;
            Ok(extent.high)
        });
        match read {
            Ok(high) => position = Some(high),
            Err(KafkaError::Stopped) => return,
            Err(error) => tracing::warn!(%error, "reading the topic of percentiles"),
        }
    }
}
