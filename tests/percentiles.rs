//! Percentiles over several partitions: near enough, the same after a restart and after an abort, and told to others.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;
use segue::definition::load_texts;
use segue::engine::Engine;
use segue::engine::catalog::Catalog;
use segue::engine::customer::Limits;
use segue::engine::effects::{Cause, Change};
use segue::engine::percentile::Distribution;
use segue::engine::record::{Body, Envelope, Origin, Record};
use segue::partition::{ErasureKey, Partition, Refresh};
use segue::store::Store;
use segue::store::memory::MemoryStore;
use segue::wire::distribution::decode;
use segue::wire::json::JsonDecoder;
use segue::wire::schema::SchemaSet;

const HOUR: i64 = 3_600_000;
/// The start of an hour.
const START: i64 = 480_000 * HOUR;
const PAGE: usize = 64;

const DEFINITIONS: &str = "
segments:
  - {name: tenth, when: percentile(sum(purchase.total)) >= 90}
  - {name: active, when: percentile(count(purchase over 1d)) * 2 > 100}
";

fn catalog() -> Arc<Catalog> {
    let files = [("set.yaml".to_owned(), DEFINITIONS.to_owned())];
    let definitions = load_texts(&files, SchemaSet::shipped().unwrap().schemas(), TimeZone::UTC);
    Arc::new(definitions.unwrap().catalog)
}

/// A partition and where its clock was when it was committed.
struct Side {
    partition: Partition<MemoryStore>,
    decoder: JsonDecoder,
    record: Record,
}

impl Side {
    fn over(store: MemoryStore, clock: Option<i64>) -> Self {
        let engine = Engine::new(catalog(), Limits::default());
        let partition = Partition::new(engine, store, ErasureKey::default(), clock).resumed().unwrap();
        let decoder = JsonDecoder::new(&SchemaSet::shipped().unwrap(), &catalog());
        Self { partition, decoder, record: Record { envelope: Envelope::default(), body: Body::Erasure } }
    }

    fn new() -> Self {
        Self::over(MemoryStore::default(), None)
    }

    fn buys(&mut self, customer: usize, at: i64, total: i64) {
        let event = format!(
            r#"{{"type":"purchase","event_id":"{customer}-{at}","customer_id":"c{customer}","occurred_at":{at},"total":{total}}}"#
        );
        self.decoder.decode_into(event.as_bytes(), &mut self.record).unwrap();
        self.partition.offer(&self.record, &Origin::default(), Some(at)).unwrap();
    }

    /// Lets the clock pass an instant, and collects what the others are to be told.
    fn collect(&mut self, clock: i64) -> Vec<Arc<Distribution>> {
        self.partition.advance(clock, usize::MAX).unwrap();
        loop {
            match self.partition.refresh(PAGE).unwrap() {
                Refresh::Going => {}
                Refresh::Collected(_) => break,
                Refresh::Done => panic!("nothing was collected"),
            }
        }
        let told = self.partition.collected();
        told.map(|(_, bytes)| Arc::new(decode(&bytes).unwrap().distribution)).collect()
    }

    fn apply(&mut self, others: &[Arc<Distribution>]) -> Vec<Change> {
        let others: Vec<_> = others.iter().map(|other| vec![other.clone()]).collect();
        self.partition.put_in_force(&others);
        self.finish()
    }

    fn finish(&mut self) -> Vec<Change> {
        while self.partition.refresh(PAGE).unwrap() != Refresh::Done {}
        self.partition.take_changes()
    }

    fn commit(&mut self) {
        self.partition.commit(1.0).unwrap();
        self.partition.save(None).unwrap();
    }

    /// What a restart finds.
    fn restarted(self) -> Self {
        Self::over(self.partition.store().clone(), self.partition.clock())
    }
}

/// Many customers on two sides, values in no order and many of them equal.
fn crowd() -> (Side, Side, BTreeMap<String, i64>) {
    let (mut one, mut other) = (Side::new(), Side::new());
    let mut values = BTreeMap::new();
    for customer in 0..3_000 {
        let n = i64::try_from(customer).unwrap();
        let total = if n % 3 == 0 { 7 } else { (n * n * 31) % 5_003 };
        let side = if customer % 5 == 0 { &mut other } else { &mut one };
        side.buys(customer, START + 60_000 + n, total);
        values.insert(format!("c{customer}"), total);
        if customer % 700 == 699 {
            one.commit();
        }
    }
    (one, other, values)
}

fn members(changes: &[Change], segment: &str) -> BTreeSet<String> {
    let of_segment = changes.iter().filter(|change| &*change.segment == segment);
    of_segment.map(|change| change.customer_id.to_string()).collect()
}

#[test]
fn ranks_over_two_partitions_are_right_to_a_point() {
    let (mut one, mut other, values) = crowd();
    let (from_one, from_other) = (one.collect(START + HOUR + 1), other.collect(START + HOUR + 1));
    let mut changes = one.apply(&from_other);
    changes.extend(other.apply(&from_one));
    assert!(changes.iter().all(|change| change.cause == Cause::Time && change.at == START + HOUR && change.entered));
    let inside = members(&changes, "tenth");
    let n_customers = values.len();
    for (customer, value) in &values {
        let below = values.values().filter(|other| *other < value).count();
        let is_sure = below * 100 >= 91 * n_customers || below * 100 < 89 * n_customers;
        assert!(!is_sure || inside.contains(customer) == (below * 100 >= 90 * n_customers), "{customer} {below}");
    }
    assert!(inside.len() > n_customers / 20);
    // Nothing is told twice, and the next hour brings nothing new.
    assert_eq!(one.finish(), []);
    let (from_one, from_other) = (one.collect(START + 2 * HOUR + 1), other.collect(START + 2 * HOUR + 1));
    assert_eq!((one.apply(&from_other), other.apply(&from_one)), (vec![], vec![]));
}

#[test]
fn a_restart_goes_on_with_what_was_in_force() {
    let (mut one, mut other, _) = crowd();
    let (_, from_other) = (one.collect(START + HOUR + 1), other.collect(START + HOUR + 1));
    // Put down before everybody was compared: whoever was not is compared after it.
    let others: Vec<_> = from_other.iter().map(|distribution| vec![distribution.clone()]).collect();
    one.partition.put_in_force(&others);
    one.partition.refresh(PAGE).unwrap();
    let mut changes = one.partition.take_changes();
    one.commit();
    let mut again = one.restarted();
    changes.extend(again.finish());
    let (mut one, mut other, _) = crowd();
    let (_, from_other) = (one.collect(START + HOUR + 1), other.collect(START + HOUR + 1));
    let whole = one.apply(&from_other);
    assert_eq!(members(&changes, "tenth"), members(&whole, "tenth"));
    assert_eq!(changes.len(), whole.len());
    // An event is compared with what was in force.
    again.commit();
    let mut again = again.restarted();
    again.buys(3, START + HOUR + 5_000, 1_000_000);
    let entered = again.partition.take_changes();
    assert_eq!(members(&entered, "tenth"), ["c3".to_owned()].into());
}

#[test]
fn an_abort_takes_back_what_was_put_in_force() {
    let (mut one, mut other, _) = crowd();
    one.commit();
    let (_, from_other) = (one.collect(START + HOUR + 1), other.collect(START + HOUR + 1));
    let first = one.apply(&from_other);
    one.partition.discard();
    assert_eq!(one.partition.take_changes(), []);
    let changed = one.partition.changed(|key, _| Err(key.to_vec()));
    assert_eq!(changed, Ok(()), "something is still to be committed");
    one.collect(START + HOUR + 1);
    let second = one.apply(&from_other);
    assert_eq!(members(&first, "tenth"), members(&second, "tenth"));
    assert_eq!(first.len(), second.len());
}

#[test]
fn a_store_with_distributions_is_still_one_of_customers() {
    let (mut one, mut other, _) = crowd();
    one.collect(START + HOUR + 1);
    let from_other = other.collect(START + HOUR + 1);
    one.apply(&from_other);
    one.commit();
    let entries = one.partition.store().scan(None, usize::MAX).unwrap();
    let others: Vec<_> = entries.iter().filter(|(key, _)| !segue::partition::is_customer(key)).collect();
    let n_applied = others.iter().filter(|(_, bytes)| decode(bytes).is_ok_and(|dated| dated.applied)).count();
    // And the names of the segments.
    assert_eq!((n_applied, others.len()), (2, 3));
}
