//! Events in, changes out, time by hand: the real engine over an in-memory store, as one partition and without Kafka. For
//! `replay`, `explain` and the tests that definition files hold, and for tests of segue itself.

mod cases;

use std::sync::Arc;

use jiff::tz::TimeZone;

pub use cases::{Failure, run_case};

use crate::definition::diagnostic::Diagnostic;
use crate::definition::{Definitions, load_texts};
use crate::engine::Engine;
use crate::engine::catalog::Catalog;
use crate::engine::customer::{Customer, Limits};
use crate::engine::effects::{Change, Outcome, Refusal};
use crate::engine::record::{Body, Envelope, Origin, Record};
use crate::partition::{ErasureKey, Partition};
use crate::store::StoreError;
use crate::store::memory::MemoryStore;
use crate::wire::json::{JsonDecoder, JsonError};
use crate::wire::schema::SchemaSet;

/// How a replay runs.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How much and how far back is remembered and accepted. Grace is 0 in a replay unless asked for.
    pub limits: Limits,
    /// Commits after every so many records, and every other time saves and forgets what is in memory: what a restart does.
    /// For tests of state.
    pub commit_every: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: Limits { grace_ms: 0, ..Limits::default() }, commit_every: None }
    }
}

/// Why a line of a replay is no record that counts.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// It cannot be decoded.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It was decoded and refused.
    #[error("refused as {}", .0.name())]
    Refused(Refusal),
    /// The in-memory store holds something unreadable: a bug.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A partition without a broker.
#[derive(Debug)]
pub struct Replay {
    partition: Partition<MemoryStore>,
    json: JsonDecoder,
    record: Record,
    options: Options,
    n_uncommitted: usize,
    n_commits: usize,
}

impl Replay {
    /// A replay over definitions and the schemas they were checked against.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, schemas: &SchemaSet, options: Options) -> Self {
        let json = JsonDecoder::new(schemas, &catalog);
        let engine = Engine::new(catalog, options.limits);
        let mut partition = Partition::new(engine, MemoryStore::default(), ErasureKey::default(), None);
        if options.commit_every.is_some() {
            // Nobody stays in memory for longer than they must.
            partition.limit_memory(0);
        }
        let record = Record { envelope: Envelope::default(), body: Body::Erasure };
        Self { partition, json, record, options, n_uncommitted: 0, n_commits: 0 }
    }

    /// Takes in one JSON object.
    ///
    /// # Errors
    /// When it is no record, or one that is refused; the replay goes on with the next.
    pub fn offer_json(&mut self, text: &[u8], origin: &Origin) -> Result<Outcome, OfferError> {
        self.decode_json(text)?;
        self.take_in(origin)
    }

    /// Decodes one JSON object into the record that is next [taken in](Self::take_in).
    ///
    /// # Errors
    /// When it is no record; the replay goes on with the next.
    pub fn decode_json(&mut self, text: &[u8]) -> Result<(), JsonError> {
        self.json.decode_into(text, &mut self.record)
    }

    /// The record that is next [taken in](Self::take_in), for other decoders to fill.
    pub fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Takes in the record that was decoded last.
    ///
    /// # Errors
    /// When it is refused; the replay goes on with the next.
    pub fn take_in(&mut self, origin: &Origin) -> Result<Outcome, OfferError> {
        let outcome = self.partition.offer(&self.record, origin, None)?;
        self.n_uncommitted += 1;
        if self.options.commit_every.is_some_and(|every| self.n_uncommitted >= every) {
            self.commit()?;
        }
        match outcome {
            Outcome::Refused(refusal) => Err(OfferError::Refused(refusal)),
            outcome => Ok(outcome),
        }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.n_uncommitted = 0;
        self.n_commits += 1;
        self.partition.commit(0.5)?;
        if self.n_commits.is_multiple_of(2) {
            return Ok(());
        }
        let changes = self.partition.take_changes();
        self.partition.save(None)?;
        // What is in memory is thrown away, so that everything comes back from the stored bytes.
        self.partition.discard();
        self.partition.put_back(changes);
        Ok(())
    }

    /// Lets every flip due at or before an instant happen.
    ///
    /// # Errors
    /// When the store holds something unreadable.
    pub fn advance_past(&mut self, instant: i64) -> Result<(), StoreError> {
        self.partition.advance(instant.saturating_add(1), usize::MAX).map(|_| ())
    }

    /// Changes since last taken, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.partition.take_changes()
    }

    /// A customer as of now; `None` if there is none.
    ///
    /// # Errors
    /// When the store holds something unreadable.
    pub fn customer(&mut self, customer_id: &str) -> Result<Option<Customer>, StoreError> {
        self.partition.customer(customer_id)
    }

    /// The partition, to explain and to look into.
    pub fn partition(&mut self) -> &mut Partition<MemoryStore> {
        &mut self.partition
    }

    /// The definitions at work.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        self.partition.catalog()
    }
}

/// What a replay of texts brought about.
#[derive(Debug, Default)]
pub struct Replayed {
    /// All changes, in order.
    pub changes: Vec<Change>,
    /// Lines that did not count: line number from 1, and why.
    pub bad_lines: Vec<(usize, String)>,
}

/// Replays JSON lines over definitions given as (file name, text) with the shipped schemas and `more_schemas`.
///
/// # Errors
/// Every problem of the definitions.
pub fn replay(
    definitions: &[(String, String)],
    schemas: &SchemaSet,
    time_zone: TimeZone,
    events_jsonl: &str,
    until: Option<i64>,
    options: Options,
) -> Result<Replayed, Vec<Diagnostic>> {
    let Definitions { catalog, .. } = load_texts(definitions, schemas.schemas(), time_zone)?;
    let mut replay = Replay::new(Arc::new(catalog), schemas, options);
    let mut replayed = Replayed::default();
    for (number, line) in (1..).zip(events_jsonl.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let origin = Origin { offset: i64::try_from(number).unwrap_or(i64::MAX), ..Origin::default() };
        if let Err(error) = replay.offer_json(line.as_bytes(), &origin) {
            replayed.bad_lines.push((number, error.to_string()));
        }
    }
    if let Some(until) = until
        && let Err(error) = replay.advance_past(until)
    {
        replayed.bad_lines.push((0, error.to_string()));
    }
    replayed.changes = replay.take_changes();
    Ok(replayed)
}
