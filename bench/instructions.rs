//! What the pure layers cost, in a form that can be counted: `./dev guard` runs this under callgrind, which counts the
//! instructions of one of the functions called `measured_…`. Counts do not depend on what else the machine does.
//!
//! `instructions [SEGMENTS [THRESHOLD]]` also tells times, changes and memory; with SEGMENTS, so many random segments take
//! the place of bench/retail, with thresholds of up to THRESHOLD (1,000) events and 200 times as much money.

mod chance;
mod encode;
mod random_segments;
mod traffic;

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use segue::definition::load_texts;
use segue::engine::Engine;
use segue::engine::catalog::{Catalog, TimeZone};
use segue::engine::customer::Limits;
use segue::engine::record::{Body, Envelope, Origin, Record};
use segue::partition::{ErasureKey, Partition};
use segue::store::StoreError;
use segue::store::memory::MemoryStore;
use segue::wire::avro::Decoder;
use segue::wire::framing::{Frame, frame};
use segue::wire::schema::SchemaSet;

use encode::Encoder;
use traffic::{Size, Traffic};

const SIZE: Size = Size { events: 20_000, customers: 4_000, days: 10, seed: 1 };
/// The last event's instant: some time in 2026.
const END_MS: i64 = 1_780_000_000_000;
/// Records of a commit.
const COMMIT_EVERY: usize = 1_000;

type Decoders = HashMap<[u8; 8], Decoder>;

fn main() -> Result<(), Box<dyn Error>> {
    let n_segments = std::env::args().nth(1).map(|count| count.parse::<usize>()).transpose()?;
    let greatest = std::env::args().nth(2).map_or(Ok(1_000), |greatest| greatest.parse::<u64>())?;
    let random = |count| random_segments::definitions(count, greatest);
    let text = n_segments.map_or_else(|| include_str!("retail/retail.yaml").to_owned(), random);
    let before = resident_bytes();
    let schemas = SchemaSet::shipped()?;
    let definitions = load_texts(&[("bench".to_owned(), text)], schemas.schemas(), TimeZone::default().0);
    let catalog = Arc::new(definitions.map_err(|problems| format!("{problems:?}"))?.catalog);
    let limits = Limits::default();
    let mut partition =
        Partition::new(Engine::new(catalog.clone(), limits), MemoryStore::default(), ErasureKey::default(), None);
    let loaded = resident_bytes();

    let values = values(&schemas)?;
    let mut decoders = decoders(&schemas, &catalog)?;
    let mut records = vec![Record { envelope: Envelope::default(), body: Body::Erasure }; values.len()];
    let (mut seconds, mut n_changes) = ([0.0; 3], 0);
    timed(&mut seconds[0], || measured_decode(&mut decoders, &values, &mut records))?;
    for batch in records.chunks(COMMIT_EVERY) {
        n_changes += timed(&mut seconds[1], || measured_apply(&mut partition, batch))?;
        timed(&mut seconds[2], || measured_commit(&mut partition))?;
    }
    report(n_segments.unwrap_or(catalog.segments.len()), &seconds, n_changes, loaded.saturating_sub(before));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is asked for figures")]
fn report(n_segments: usize, seconds: &[f64; 3], n_changes: usize, bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a count of thousands")]
    let per_event = |seconds: f64| seconds / SIZE.events as f64 * 1e6;
    println!("segments = {n_segments}");
    for (name, seconds) in ["decode", "apply", "commit"].iter().zip(seconds) {
        println!("{name}_us = {:.3}", per_event(*seconds));
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of millions")]
    let changes = n_changes as f64 / SIZE.events as f64;
    println!("changes = {changes:.3}");
    println!("bytes_per_segment = {}", bytes / n_segments.max(1) as u64);
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    *seconds += began.elapsed().as_secs_f64();
    done
}

#[inline(never)]
fn measured_decode(decoders: &mut Decoders, values: &[Vec<u8>], records: &mut [Record]) -> Result<(), Box<dyn Error>> {
    for (value, record) in values.iter().zip(records) {
        let Frame::SingleObject { fingerprint, body } = frame(value)? else { return Err("not single-object".into()) };
        decoders.get_mut(&fingerprint).ok_or("unknown schema")?.decode_into(body, record)?;
    }
    Ok(())
}

#[inline(never)]
fn measured_apply(partition: &mut Partition<MemoryStore>, records: &[Record]) -> Result<usize, Box<dyn Error>> {
    let origin = Origin { topic: "clicks".into(), ..Origin::default() };
    for record in records {
        partition.offer(record, &origin, None)?;
    }
    Ok(partition.take_changes().len())
}

#[inline(never)]
fn measured_commit(partition: &mut Partition<MemoryStore>) -> Result<(), Box<dyn Error>> {
    partition.changed(|_, _| Ok::<_, StoreError>(()))?;
    Ok(partition.commit(1.0)?)
}

fn values(schemas: &SchemaSet) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let encoder = Encoder::new(schemas).ok_or("a shipped schema is missing")?;
    let mut traffic = Traffic::new(&SIZE, END_MS);
    let mut values = Vec::new();
    while let Some(event) = traffic.next() {
        let mut value = Vec::new();
        encoder.write(&event, &mut traffic.details(&event), &mut value);
        values.push(value);
    }
    Ok(values)
}

fn decoders(schemas: &SchemaSet, catalog: &Catalog) -> Result<Decoders, Box<dyn Error>> {
    let mut decoders = Decoders::new();
    for record in schemas.records() {
        let Some(id) = catalog.event_type_id(&record.name) else { continue };
        let projection = &catalog.event_types[id.index()].projection;
        let fingerprint = segue::wire::framing::fingerprint(&record.avro);
        decoders.insert(fingerprint, Decoder::new(&record.avro, record, id, projection)?);
    }
    Ok(decoders)
}

/// Memory this process has now; 0 where that cannot be told.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4_096
}
