//! Many customers who leave at one instant: their flips happen some at a time, and change nothing by that.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use std::cell::RefCell;
use std::sync::Arc;

use segue::definition::load_texts;
use segue::engine::Engine;
use segue::engine::catalog::TimeZone;
use segue::engine::customer::Limits;
use segue::engine::record::{Body, Envelope, Origin, Record};
use segue::partition::{ErasureKey, Partition};
use segue::store::memory::MemoryStore;
use segue::store::{Batch, Entry, Store, StoreError};
use segue::testing::{Options, Replay};
use segue::wire::json::JsonDecoder;
use segue::wire::schema::SchemaSet;

const DEFINITIONS: &str = "segments:\n  - {name: warm, when: did(click over 1m)}\n";
const N_CUSTOMERS: usize = 500;
const BUDGET: usize = 60;

fn click(id: &str, customer: &str, at: i64) -> Vec<u8> {
    format!("{{\"type\":\"click\",\"event_id\":\"{id}\",\"customer_id\":\"{customer}\",\"occurred_at\":{at}}}")
        .into_bytes()
}

/// A replay in which many customers are in a segment, all of whom leave at 61,000.
fn crowd(schemas: &SchemaSet) -> Replay {
    let files = [("segments.yaml".to_owned(), DEFINITIONS.to_owned())];
    let definitions = load_texts(&files, schemas.schemas(), TimeZone::default().0).unwrap();
    let mut replay = Replay::new(Arc::new(definitions.catalog), schemas, Options::default());
    for number in 0..N_CUSTOMERS {
        replay.offer_json(&click(&format!("e{number}"), &format!("c{number}"), 1_000), &Origin::default()).unwrap();
    }
    replay
}

#[test]
fn a_record_lets_others_leave_first_some_at_a_time() {
    let schemas = SchemaSet::shipped().unwrap();
    let (mut at_once, mut in_turns) = (crowd(&schemas), crowd(&schemas));
    let late = click("late", "c7", 200_000);
    at_once.offer_json(&late, &Origin::default()).unwrap();

    let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
    JsonDecoder::new(&schemas, in_turns.catalog()).decode_into(&late, &mut record).unwrap();
    let mut changes = in_turns.take_changes();
    let mut n_turns = 0;
    while !in_turns.partition().make_way(&record, None, BUDGET).unwrap() {
        let some = in_turns.take_changes();
        assert!(some.len() <= BUDGET, "{} at once", some.len());
        changes.extend(some);
        n_turns += 1;
    }
    assert!(n_turns >= N_CUSTOMERS / BUDGET, "{n_turns}");
    in_turns.offer_json(&late, &Origin::default()).unwrap();
    changes.extend(in_turns.take_changes());
    assert_eq!(changes, at_once.take_changes());
}

#[test]
fn a_record_that_will_not_count_moves_nothing() {
    let schemas = SchemaSet::shipped().unwrap();
    let mut replay = crowd(&schemas);
    replay.take_changes();
    let clock = replay.partition().clock();
    let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
    let seen = click("e7", "c7", 200_000);
    JsonDecoder::new(&schemas, replay.catalog()).decode_into(&seen, &mut record).unwrap();
    assert!(replay.partition().make_way(&record, None, BUDGET).unwrap());
    assert_eq!((replay.partition().clock(), replay.take_changes()), (clock, Vec::new()));
}

/// An instant and a key.
type Position = Option<(i64, Vec<u8>)>;

/// A store that notes from where on deadlines are asked for.
#[derive(Default)]
struct Noting {
    store: MemoryStore,
    asked: RefCell<Vec<Position>>,
}

impl Store for Noting {
    fn location(&self) -> String {
        self.store.location()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(key)
    }

    fn due(&self, before: i64, after: Option<(i64, &[u8])>, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        self.asked.borrow_mut().push(after.map(|(instant, key)| (instant, key.to_vec())));
        self.store.due(before, after, limit)
    }

    fn scan(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.store.scan(after, limit)
    }

    fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.marker()
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.store.write(batch)
    }
}

/// Commits, and lets nobody stay in memory; how many changes there were.
fn commit(partition: &mut Partition<Noting>) -> usize {
    partition.changed(|_, _| Ok::<_, ()>(())).unwrap();
    partition.commit(1.0).unwrap();
    partition.take_changes().len()
}

/// A database passes over what was deleted one by one, so that to begin anew with each commit would take ever longer.
#[test]
fn deadlines_that_are_done_are_not_looked_for_again() {
    let schemas = SchemaSet::shipped().unwrap();
    let files = [("segments.yaml".to_owned(), DEFINITIONS.to_owned())];
    let catalog = Arc::new(load_texts(&files, schemas.schemas(), TimeZone::default().0).unwrap().catalog);
    let engine = Engine::new(catalog.clone(), Limits::default());
    let mut partition = Partition::new(engine, Noting::default(), ErasureKey::default(), None);
    partition.limit_memory(0);
    let mut decoder = JsonDecoder::new(&schemas, &catalog);
    let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
    for number in 0..N_CUSTOMERS {
        decoder.decode_into(&click(&format!("e{number}"), &format!("c{number}"), 1_000), &mut record).unwrap();
        partition.offer(&record, &Origin::default(), None).unwrap();
    }
    assert_eq!(commit(&mut partition), N_CUSTOMERS);
    partition.store().asked.borrow_mut().clear();
    let (mut n_left, mut n_turns) = (0, 0);
    while !partition.advance(200_000, BUDGET).unwrap() {
        n_left += commit(&mut partition);
        n_turns += 1;
    }
    n_left += commit(&mut partition);
    assert_eq!(n_left, N_CUSTOMERS);
    let asked = partition.store().asked.take();
    assert!(asked.len() >= n_turns, "asked {} times in {n_turns} turns", asked.len());
    assert!(asked.is_sorted_by(|before, after| before < after), "{asked:?}");
}
