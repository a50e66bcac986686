//! That the memory for customers is used, and not more than that: what a partition takes of it, in bytes, beside what it may.
//!
//! One test in a file of its own: the counting allocator counts for the whole process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot prepare what it measures has failed")]
#![allow(clippy::print_stdout, reason = "what was measured, for who asks with `--nocapture`")]

#[path = "../bench/chance.rs"]
#[allow(dead_code, reason = "a part of it is enough here")]
mod chance;
#[path = "../bench/encode.rs"]
mod encode;
#[path = "../bench/traffic.rs"]
#[allow(dead_code, reason = "a part of it is enough here")]
mod traffic;

use std::alloc::System;
use std::sync::Arc;

use hashbrown::HashMap;
use jiff::tz::TimeZone;
use segue::definition::load_texts;
use segue::engine::Engine;
use segue::engine::customer::Limits;
use segue::engine::record::{Body, Envelope, Origin, Record};
use segue::partition::{ErasureKey, Partition};
use segue::store::{Batch, Entry, Store, StoreError};
use segue::wire::avro::Decoder;
use segue::wire::framing::{Frame, fingerprint, frame};
use segue::wire::schema::SchemaSet;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use encode::Encoder;
use traffic::{Size, Traffic};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What the customers may take.
const BUDGET: usize = 4 << 20;
const RETAIL: &str = include_str!("../bench/retail/retail.yaml");

#[test]
fn customers_take_the_memory_they_may() {
    for (name, definitions, customers, events) in [
        ("few events each", RETAIL, 20_000, 40_000),
        ("some events each", RETAIL, 8_000, 80_000),
        ("many events each", RETAIL, 1_000, 100_000),
        ("hardly any state", "segments: [{name: a, when: did(purchase)}]", 40_000, 80_000),
    ] {
        let taken = taken_by_customers(definitions, &Size { events, customers, days: 10, seed: 1 });
        println!("{name}: {taken} bytes of {BUDGET}");
        assert!((BUDGET * 7 / 10..BUDGET * 13 / 10).contains(&taken), "{name}: {taken} bytes of {BUDGET}");
    }
}

/// What a partition takes once it has let go of all it should.
fn taken_by_customers(definitions: &str, size: &Size) -> usize {
    let schemas = SchemaSet::shipped().unwrap();
    let files = [("memory.yaml".to_owned(), definitions.to_owned())];
    let catalog = Arc::new(load_texts(&files, schemas.schemas(), TimeZone::UTC).unwrap().catalog);
    let mut decoders = HashMap::new();
    for record in schemas.records() {
        if let Some(id) = catalog.event_type_id(&record.name) {
            let projection = &catalog.event_types[id.index()].projection;
            decoders.insert(fingerprint(&record.avro), Decoder::new(&record.avro, record, id, projection).unwrap());
        }
    }
    let encoder = Encoder::new(&schemas).unwrap();
    let mut traffic = Traffic::new(size, 1_780_000_000_000);
    let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
    let mut partition =
        Partition::new(Engine::new(catalog.clone(), Limits::default()), Nowhere, ErasureKey::default(), None);
    partition.limit_memory(BUDGET);
    let mut taken = 0;
    let mut value = Vec::new();
    while let Some(event) = traffic.next() {
        value.clear();
        encoder.write(&event, &mut traffic.details(&event), &mut value);
        let Ok(Frame::SingleObject { fingerprint, body }) = frame(&value) else { panic!("it is single-object") };
        decoders.get_mut(&fingerprint).unwrap().decode_into(body, &mut record).unwrap();
        let region = Region::new(ALLOCATOR);
        partition.offer(&record, &Origin::default(), None).unwrap();
        drop(partition.take_changes());
        if event.number % 200 == 0 {
            partition.changed(|_, _| Ok::<_, StoreError>(())).unwrap();
            partition.commit(1.0).unwrap();
        }
        let change = region.change();
        taken += change.bytes_allocated;
        taken -= change.bytes_deallocated.min(taken);
    }
    taken
}

/// A store that takes nothing, because it is not its memory that counts.
#[derive(Debug)]
struct Nowhere;

impl Store for Nowhere {
    fn location(&self) -> String {
        "nowhere".to_owned()
    }

    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn due(&self, _: i64, _: Option<(i64, &[u8])>, _: usize) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }

    fn scan(&self, _: Option<&[u8]>, _: usize) -> Result<Vec<Entry>, StoreError> {
        Ok(Vec::new())
    }

    fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn write(&mut self, _: &Batch) -> Result<(), StoreError> {
        Ok(())
    }
}
