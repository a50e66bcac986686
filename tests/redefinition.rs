//! What becomes of customers when other definitions are put to work over the same state: each change once, with the
//! definition as its cause.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::sync::Arc;

use jiff::tz::TimeZone;
use segue::definition::load_texts;
use segue::engine::Engine;
use segue::engine::catalog::Catalog;
use segue::engine::customer::Limits;
use segue::engine::effects::Cause;
use segue::engine::record::{Body, Envelope, Origin, Record};
use segue::partition::{ErasureKey, Partition, customer_id_of};
use segue::store::Store;
use segue::store::memory::MemoryStore;
use segue::wire::json::JsonDecoder;
use segue::wire::schema::SchemaSet;

/// The instant of what is bought.
const AT: i64 = 1_767_225_600_000;

fn catalog(definitions: &str) -> Arc<Catalog> {
    let files = [("set.yaml".to_owned(), definitions.to_owned())];
    let definitions = load_texts(&files, SchemaSet::shipped().unwrap().schemas(), TimeZone::UTC);
    Arc::new(definitions.unwrap().catalog)
}

/// A partition over a store under definitions.
fn partition(store: MemoryStore, clock: Option<i64>, catalog: &Arc<Catalog>) -> Partition<MemoryStore> {
    let engine = Engine::new(catalog.clone(), Limits::default());
    Partition::new(engine, store, ErasureKey::default(), clock).resumed().unwrap()
}

fn commit(mut partition: Partition<MemoryStore>) -> (MemoryStore, Option<i64>) {
    partition.commit(1.0).unwrap();
    partition.save(None).unwrap();
    (partition.store().clone(), partition.clock())
}

/// Ada and Ben buy for 100 and 10 under the first definitions; then the others follow, each over the state of the ones
/// before. The changes that each brings: sequence, direction, segment.
#[track_caller]
fn check(definitions: &[&str], expected: &[&[(&str, u64, &str)]]) {
    let first = catalog(definitions[0]);
    let mut one = partition(MemoryStore::default(), None, &first);
    let mut decoder = JsonDecoder::new(&SchemaSet::shipped().unwrap(), &first);
    let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
    for (customer, total) in [("ada", 100), ("ben", 10)] {
        let event = format!(
            r#"{{"type":"purchase","event_id":"e","customer_id":"{customer}","occurred_at":{AT},"total":{total}}}"#
        );
        decoder.decode_into(event.as_bytes(), &mut record).unwrap();
        one.offer(&record, &Origin::default(), None).unwrap();
    }
    one.advance(AT + 5_000, usize::MAX).unwrap();
    one.take_changes();
    let mut state = commit(one);
    let mut catalogs = vec![first];
    for (definitions, expected) in definitions[1..].iter().zip(expected) {
        catalogs.push(catalog(definitions));
        let mut next = partition(state.0, state.1, &catalogs[catalogs.len() - 1]);
        for (key, _) in next.store().scan(None, usize::MAX).unwrap() {
            if let Some(customer_id) = customer_id_of(&key) {
                next.redefine(customer_id).unwrap();
            }
        }
        let changes = next.take_changes();
        let found: Vec<(&str, u64, String)> = changes
            .iter()
            .map(|change| {
                assert_eq!((&change.cause, change.at), (&Cause::Definition, AT + 5_000));
                let sign = if change.entered { "+" } else { "-" };
                (change.customer_id.as_str(), change.sequence, format!("{sign}{}", change.segment))
            })
            .collect();
        let expected: Vec<_> =
            expected.iter().map(|(who, sequence, what)| (*who, *sequence, (*what).to_owned())).collect();
        assert_eq!(found, expected, "{definitions}");
        for change in &changes {
            let of_segment = |catalog: &Catalog| {
                let found = catalog.segments.iter().find(|segment| segment.name == *change.segment);
                found.map(|segment| segment.definition.clone())
            };
            // The one that was last at work.
            let definition = catalogs.iter().rev().find_map(|catalog| of_segment(catalog)).unwrap();
            assert_eq!(*change.definition, *definition, "{}", change.segment);
        }
        state = commit(next);
    }
}

#[test]
fn who_is_in_a_segment_that_is_no_more_leaves_it() {
    check(
        &[
            "segments: [{name: buyer, when: did(purchase)}, {name: m, when: sum(purchase.total) >= 50}]",
            "segments: [{name: m, when: sum(purchase.total) >= 50}, {name: alone, when: did(purchase)}]",
            "segments: [{name: m, when: sum(purchase.total) >= 50}, {name: alone, when: did(purchase)}]",
        ],
        &[&[("ada", 3, "-buyer"), ("ada", 4, "+alone"), ("ben", 2, "-buyer"), ("ben", 3, "+alone")], &[]],
    );
}

#[test]
fn a_new_name_is_a_new_segment_and_a_new_condition_is_not() {
    check(
        &[
            "segments: [{name: old, when: did(purchase)}, {name: rich, when: sum(purchase.total) >= 50}]",
            "segments: [{name: new, when: did(purchase)}, {name: rich, when: sum(purchase.total) >= 5}]",
            "segments: [{name: new, when: did(purchase)}, {name: rich, when: sum(purchase.total) >= 500}]",
            "segments: [{name: old, when: did(purchase)}, {name: rich, when: sum(purchase.total) >= 500}]",
        ],
        &[
            &[("ada", 3, "-old"), ("ada", 4, "+new"), ("ben", 2, "-old"), ("ben", 3, "+new"), ("ben", 4, "+rich")],
            &[("ada", 5, "-rich"), ("ben", 5, "-rich")],
            &[("ada", 6, "-new"), ("ada", 7, "+old"), ("ben", 6, "-new"), ("ben", 7, "+old")],
        ],
    );
}

#[test]
fn tiers_come_and_go() {
    check(
        &[
            "groups: [{name: g, tiers: [{name: a, when: sum(purchase.total) >= 50}, {name: b, when: did(purchase)}]}]",
            "groups: [{name: g, tiers: [{name: b, when: did(purchase)}]}]",
            "groups: []",
        ],
        &[&[("ada", 2, "-g.a"), ("ada", 3, "+g.b")], &[("ada", 4, "-g.b"), ("ben", 2, "-g.b")]],
    );
}
