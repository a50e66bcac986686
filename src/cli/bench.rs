//! `segue bench`: what these definitions cost on this machine, from a sample of the site's own events.

mod only;
mod sizing;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use crate::engine::catalog::{Catalog, SegmentId};
use crate::engine::effects::Outcome;
use crate::engine::record::{Origin, Record};
use crate::partition::customer_id_of;
use crate::store::Store as _;
use crate::testing::{Options, Replay};
use crate::wire::schema::SchemaSet;

use super::events::{EventFiles, Heard};
use super::exit::{Blame as _, Exit, Failure};
use super::progress::Progress;
use super::set::Surroundings;
use sizing::{Measured, Sizing, Volumes};

/// Measure what definitions cost on this machine, and estimate what given volumes need.
///
/// Runs the real engine over a sample of events on one core, without Kafka and without a disk: how many events it takes a
/// second, how large customers become, which definitions cost most, and from that cores, memory, disk and traffic.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue bench --definitions my-segments --events sample.jsonl\n  \
segue bench --definitions my-segments --events sample.avro --rate 20000 --customers 5000000 --json")]
pub(super) struct Args {
    /// Directory of definition files (YAML)
    #[arg(long, value_name = "DIR")]
    definitions: PathBuf,
    /// Files of sample events (JSON lines, or `.avro`), in the order to read them
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    events: Vec<PathBuf>,
    /// Events a second to estimate for
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    rate: u64,
    /// Customers to estimate for
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    customers: u64,
    /// Time between commits to estimate for, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100)]
    commit_ms: u64,
    #[command(flatten)]
    surroundings: Surroundings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Definitions told of at most.
const DEAREST: usize = 10;
/// With more segments than this only those that read most are measured one by one.
const MEASURED_MAX: usize = 200;
/// Records that one definition is measured with.
const SAMPLE_MAX: usize = 50_000;

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let schemas = args.surroundings.schemas()?;
    let catalog = Arc::new(args.surroundings.definitions(&args.definitions, &schemas)?.catalog);
    let progress = Progress::of_files(&args.events);
    let files = EventFiles { files: &args.events, schemas: &schemas, ignore_after: i64::MAX, progress: &progress };
    files.must_exist()?;
    // Commits as large as they would be at that rate; never so small that the sample is one of commits.
    let commit_every = usize::try_from(args.rate * args.commit_ms / 1_000).unwrap_or(usize::MAX).max(100);
    let sample = read(&files, &catalog, &schemas)?;
    if sample.records.is_empty() {
        return Err(anyhow::anyhow!("there is no event in the sample that counts")).blame(Exit::Wrong);
    }
    let measured = measure(&sample, &catalog, &schemas, commit_every)?;
    let dearest = dearest(&sample, &catalog, &schemas)?;
    let volumes = Volumes { events_per_second: args.rate, customers: args.customers };
    let report =
        Report { n_refused: sample.n_refused, measured, dearest, sizing: Sizing::of(&measured, volumes), volumes };
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", report.json())?;
    } else {
        write!(out, "{}", report.page())?;
    }
    Ok(if sample.n_refused == 0 { Exit::Done } else { Exit::Refused })
}

/// The events, decoded, and what reading, decoding and applying them took.
struct Sample {
    records: Vec<Record>,
    read_seconds: f64,
    n_refused: usize,
}

fn read(files: &EventFiles<'_>, catalog: &Arc<Catalog>, schemas: &SchemaSet) -> Result<Sample, Failure> {
    let mut replay = Replay::new(catalog.clone(), schemas, Options::default());
    let mut sample = Sample { records: Vec::new(), read_seconds: 0.0, n_refused: 0 };
    let began = now();
    files.read(&mut replay, &mut |replay, heard| {
        match heard {
            Heard::Counted => sample.records.push(replay.record().clone()),
            Heard::Bad(complaint) => {
                sample.n_refused += 1;
                writeln!(io::stderr(), "{complaint}")?;
            }
            Heard::Silence => {}
        }
        replay.take_changes();
        Ok(())
    })?;
    sample.read_seconds = began.elapsed().as_secs_f64();
    Ok(sample)
}

fn measure(
    sample: &Sample,
    catalog: &Arc<Catalog>,
    schemas: &SchemaSet,
    commit_every: usize,
) -> Result<Measured, Failure> {
    let mut replay = Replay::new(catalog.clone(), schemas, Options::default());
    let (mut n_changes, mut changelog_bytes) = (0, 0);
    let (mut apply_seconds, mut encode_seconds) = (0.0, 0.0);
    for batch in sample.records.chunks(commit_every) {
        let began = now();
        take_in(&mut replay, batch)?;
        apply_seconds += began.elapsed().as_secs_f64();
        let began = now();
        let partition = replay.partition();
        n_changes += partition.take_changes().len();
        partition.changed(|key, value| {
            changelog_bytes += key.len() + value.map_or(0, <[u8]>::len);
            Ok::<_, Failure>(())
        })?;
        partition.commit(1.0)?;
        encode_seconds += began.elapsed().as_secs_f64();
    }
    // Reading the sample also applied it; what is left is reading and decoding.
    let decode_seconds = (sample.read_seconds - apply_seconds).max(0.0);
    let (n_customers, state_bytes) = stored(&mut replay)?;
    Ok(Measured {
        n_events: sample.records.len(),
        apply_seconds: apply_seconds + encode_seconds,
        decode_seconds,
        n_changes,
        changelog_bytes,
        n_customers,
        state_bytes,
    })
}

/// How many customers the store holds, and the bytes of them.
fn stored(replay: &mut Replay) -> Result<(usize, usize), Failure> {
    const PAGE: usize = 1_000;
    replay.partition().save(None)?;
    let store = replay.partition().store();
    let (mut n_customers, mut n_bytes, mut after) = (0, 0, None::<Vec<u8>>);
    loop {
        let page = store.scan(after.as_deref(), PAGE)?;
        // A partition keeps a few things of its own beside them.
        let customers = page.iter().filter(|(key, _)| customer_id_of(key).is_some());
        let sizes: Vec<usize> = customers.map(|(key, value)| key.len() + value.len()).collect();
        (n_customers, n_bytes) = (n_customers + sizes.len(), n_bytes + sizes.iter().sum::<usize>());
        if page.len() < PAGE {
            return Ok((n_customers, n_bytes));
        }
        after = page.into_iter().next_back().map(|(key, _)| key);
    }
}

fn take_in(replay: &mut Replay, records: &[Record]) -> Result<(), Failure> {
    let origin = Origin::default();
    for record in records {
        // Refused ones were told of when the sample was read.
        let _: Outcome = replay.partition().offer(record, &origin, None)?;
    }
    Ok(())
}

/// A definition and what it costs by itself, microseconds an event.
#[derive(Debug, Clone)]
struct Dear {
    segment: String,
    us_per_event: f64,
}

/// Each definition by itself, with what it reads, less what no definition at all costs.
fn dearest(sample: &Sample, catalog: &Arc<Catalog>, schemas: &SchemaSet) -> Result<Vec<Dear>, Failure> {
    let records = sample.records.get(..SAMPLE_MAX).unwrap_or(&sample.records);
    let cost = |of: Option<SegmentId>| -> Result<f64, Failure> {
        let catalog = Arc::new(only::only(catalog, of));
        let mut replay = Replay::new(catalog, schemas, Options::default());
        let began = now();
        take_in(&mut replay, records)?;
        #[expect(clippy::cast_precision_loss, reason = "a count of records")]
        let us_per_event = began.elapsed().as_secs_f64() * 1e6 / records.len().max(1) as f64;
        Ok(us_per_event)
    };
    // The first run pays for cold caches.
    cost(None)?;
    let nothing = cost(None)?;
    let mut all = Vec::new();
    for id in only::largest(catalog, MEASURED_MAX) {
        let Some(segment) = catalog.segments.get(id.index()) else { continue };
        let us_per_event = (cost(Some(id))? - nothing).max(0.0);
        all.push(Dear { segment: segment.name.clone(), us_per_event });
    }
    all.sort_by(|a, b| b.us_per_event.total_cmp(&a.us_per_event));
    all.truncate(DEAREST);
    Ok(all)
}

/// All that is told.
struct Report {
    n_refused: usize,
    measured: Measured,
    dearest: Vec<Dear>,
    sizing: Sizing,
    volumes: Volumes,
}

impl Report {
    fn json(&self) -> serde_json::Value {
        let Self { n_refused, measured, dearest, sizing, volumes } = self;
        let dearest = dearest.iter().map(|dear| json!({"segment": dear.segment, "us_per_event": dear.us_per_event}));
        json!({
            "sample": {"events": measured.n_events, "refused": n_refused, "customers": measured.n_customers},
            "events_per_second_per_core": measured.events_per_second(),
            "us_per_event": {"apply_and_encode": measured.apply_us(), "read_and_decode": measured.decode_us()},
            "bytes_per_customer": measured.bytes_per_customer(),
            "changes_per_event": measured.changes_per_event(),
            "dearest_definitions": dearest.collect::<Vec<_>>(),
            "volumes": {"events_per_second": volumes.events_per_second, "customers": volumes.customers},
            "estimate": sizing.json(),
        })
    }

    fn page(&self) -> String {
        use std::fmt::Write as _;
        let Self { measured, dearest, sizing, volumes, .. } = self;
        let mut page = String::new();
        let _ = writeln!(
            page,
            "sample      {} events of {} customers, {:.2} changes an event\n\
             engine      {:.0} events a second on one core: {:.2} us to apply and encode, {:.2} us to read and decode\n\
             customer    {:.0} bytes\n\n\
             The dearest definitions, each by itself with all that it reads (shared parts count for each):",
            measured.n_events,
            measured.n_customers,
            measured.changes_per_event(),
            measured.events_per_second(),
            measured.apply_us(),
            measured.decode_us(),
            measured.bytes_per_customer(),
        );
        for Dear { segment, us_per_event } in dearest {
            let _ = writeln!(page, "  {us_per_event:8.3} us an event  {segment}");
        }
        let Volumes { events_per_second, customers } = volumes;
        let _ = writeln!(page, "\nEstimate for {events_per_second} events a second and {customers} customers:");
        page.push_str(&sizing.page());
        page
    }
}

#[expect(clippy::disallowed_methods, reason = "this command measures")]
fn now() -> Instant {
    Instant::now()
}
