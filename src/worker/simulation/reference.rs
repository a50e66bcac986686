//! What an engine that never failed would say: one that takes in the same records under the same definitions.
//!
//! Which definitions were at work when is a matter of which process had a partition when, and so is how far the partition
//! clock had come when they changed. So the reference follows the transactions that were committed, one by one: each says in
//! its marker how far it went, and under which definitions. What follows from that is the reference's own.

use std::collections::{BTreeMap, BTreeSet};

use super::broker::Committed;
use super::site::{limits, site};
use super::traffic::{Arrival, INPUTS};
use crate::engine::Engine;
use crate::engine::effects::{Change, Outcome};
use crate::engine::record::{Body, Envelope, Origin, Record};
use crate::partition::{ErasureKey, Partition, customer_id_of, is_customer};
use crate::store::Store as _;
use crate::store::memory::MemoryStore;
use crate::wire::json::JsonDecoder;
use crate::worker::marker::Marker;

/// All records that arrived.
#[derive(Default)]
pub(super) struct Reference {
    /// By partition, in order of arrival, with their offsets.
    arrived: BTreeMap<i32, Vec<(i64, Arrival)>>,
}

/// What customers are and were told in one partition.
pub(super) struct Told {
    /// As the changelog should hold them.
    pub(super) customers: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(super) changes: Vec<Change>,
    /// Records refused, as topic, partition and offset.
    pub(super) refused: Vec<(String, i32, i64)>,
}

impl Reference {
    pub(super) fn arrive(&mut self, arrival: Arrival, number: i32, offset: i64) {
        if arrival.is_seen() {
            self.arrived.entry(number).or_default().push((offset, arrival));
        }
    }

    /// What is to follow from what was committed of a partition.
    pub(super) fn follow(&self, number: i32, commits: &[Committed]) -> Told {
        let mut follower = Follower::new(number);
        let arrived = self.arrived.get(&number).map_or(&[][..], Vec::as_slice);
        for commit in commits {
            follower.take_up(commit);
            let is_of = |(offset, arrival): &&(i64, Arrival)| {
                let topic = INPUTS[arrival.lane].1;
                let end = |marker: &Marker| marker.offsets.get(topic).copied().unwrap_or_default();
                (end(&follower.marker)..end(&commit.marker)).contains(offset)
            };
            let new: Vec<_> = arrived.iter().filter(is_of).collect();
            for (offset, arrival) in new {
                follower.offer(*offset, arrival);
            }
            follower.marker = commit.marker.clone();
            if let Some(clock) = commit.marker.clock {
                follower.partition.advance(clock, usize::MAX).unwrap();
            }
        }
        follower.finish()
    }
}

/// An engine that never fails, on its way through one partition.
struct Follower {
    number: i32,
    partition: Partition<MemoryStore>,
    json: JsonDecoder,
    /// Of the last commit.
    marker: Marker,
    /// Customers who were not looked at yet under the definitions at work.
    unseen: BTreeSet<Vec<u8>>,
    refused: Vec<(String, i32, i64)>,
    changes: Vec<Change>,
}

impl Follower {
    fn new(number: i32) -> Self {
        let marker = Marker::new(0, BTreeMap::new(), None, 0, site().catalogs[0].hash);
        let (partition, json) = under(marker.definitions, None, MemoryStore::default());
        Self { number, partition, json, marker, unseen: BTreeSet::new(), refused: Vec::new(), changes: Vec::new() }
    }

    /// Goes over to the definitions of a commit, and looks at the customers at whom it has looked.
    fn take_up(&mut self, commit: &Committed) {
        let Committed { marker, customers } = commit;
        if marker.definitions != self.marker.definitions {
            let store = self.put_down();
            let entries = store.scan(None, usize::MAX).unwrap().into_iter();
            self.unseen = entries.map(|(key, _)| key).filter(|key| is_customer(key)).collect();
            (self.partition, self.json) = under(marker.definitions, self.marker.clock, store);
        }
        let seen = self.unseen.extract_if(.., |key| !marker.unfinished || customers.contains(key));
        for key in seen {
            if let Some(id) = customer_id_of(&key) {
                self.partition.redefine(id).unwrap();
            }
        }
    }

    fn offer(&mut self, offset: i64, arrival: &Arrival) {
        let topic = INPUTS[arrival.lane].1;
        if arrival.is_refused {
            self.refused.push((topic.to_owned(), self.number, offset));
            return;
        }
        let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
        self.json.decode_into(arrival.meaning.as_bytes(), &mut record).unwrap();
        let origin = Origin { topic: topic.into(), partition: self.number, offset };
        let outcome = self.partition.offer(&record, &origin, Some(arrival.at)).unwrap();
        assert!(!matches!(outcome, Outcome::Refused(_)), "refused: {}", arrival.meaning);
    }

    /// A store with all that there is.
    fn put_down(&mut self) -> MemoryStore {
        self.changes.append(&mut self.partition.take_changes());
        self.partition.commit(1.0).unwrap();
        self.partition.save(None).unwrap();
        self.partition.store().clone()
    }

    fn finish(mut self) -> Told {
        let entries = self.put_down().scan(None, usize::MAX).unwrap().into_iter();
        let customers = entries.filter(|(key, _)| is_customer(key)).map(|(key, value)| (key, Some(value))).collect();
        Told { customers, changes: self.changes, refused: self.refused }
    }
}

/// A partition under definitions with this hash, over what a store holds.
fn under(definitions: u64, clock: Option<i64>, store: MemoryStore) -> (Partition<MemoryStore>, JsonDecoder) {
    let site = site();
    let catalog = site.catalog(definitions).unwrap();
    let engine = Engine::new(catalog.clone(), limits());
    let partition = Partition::new(engine, store, ErasureKey::default(), clock).resumed().unwrap();
    (partition, JsonDecoder::new(&site.schemas, catalog))
}
