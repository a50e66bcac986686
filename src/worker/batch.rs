//! One partition number between two commits: messages fetched, put in the order in which things happened, and applied.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use hashbrown::HashMap;

use crate::engine::effects::{Cause, Change, Outcome};
use crate::engine::record::{Body, Origin, Record};
use crate::kafka::KafkaError;
use crate::kafka::log::{LogConsumer as _, LogMessage};
use crate::kafka::merge::{Merge, Next};
use crate::partition::{Partition, Receipt, Refresh, customer_id_of};
use crate::store::durable::DurableStore as _;
use crate::store::{Store as _, StoreError};
use crate::telemetry::{Happened, PartitionMetrics, WorkerMetrics};
use crate::wire::cloud_event::TRACE_HEADERS;

use super::clock::wall_ms;
use super::commit::Part;
use super::dead_letter::DeadLetter;
use super::decode::{Decoded, Decoders};
use super::exchange::{self, Exchange, Told};
use super::marker::{Marker, StoredMarker, encode};
use super::settings::{Input, Settings};
use super::world::{ConsumerOf, MessageOf, StoreOf, World};

/// A message this much older than the wall clock is part of a backlog, milliseconds.
const BACKLOG_MS: i64 = 1_000;
/// While a backlog is caught up with, news of the end of a topic is believed for this long, milliseconds.
const BELIEVED_MS: i64 = 500;
/// A lane has so many records at most; the others wait to be taken.
const LANE_FULL: usize = 1_024;
/// A customer who changed is written to the store within this time, memory permitting; after a crash so much of the
/// changelog is read again. The longer, the more changes one write stands for. A run of the simulation is a minute.
const WRITTEN_WITHIN: Duration = Duration::from_secs(if cfg!(test) { 30 } else { 60 });
/// Of so many records the customers are looked for at once.
const AHEAD: usize = 16;
/// Deadlines passed before anything else gets its turn.
const BUDGET: usize = 1_000;
/// Customers looked at under new definitions before anything else does; so few in the simulation that a commit, and what
/// goes wrong with it, comes in between.
const SWEPT: usize = if cfg!(test) { 2 } else { 1_000 };

/// A message and what it turned out to be.
pub(super) struct Fetched<M> {
    message: M,
    decoded: Decoded,
}

/// What a partition waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Its turn.
    Turn,
    /// More of some topic, which the broker holds.
    Fetch,
    /// To know whether the broker holds more of some topic.
    Ends,
    /// A schema.
    Schema,
    /// Nothing: all that the broker holds is read.
    Nothing,
}

/// What is the same for all partitions of a worker.
pub(super) struct Tools<'w, W: World> {
    pub(super) decoders: &'w mut Decoders<W::Registry>,
    pub(super) metrics: &'w mut WorkerMetrics,
    pub(super) inputs: &'w [Input],
    /// The wall clock, milliseconds since the epoch.
    pub(super) wall_ms: i64,
    pub(super) max_ahead_ms: i64,
}

impl<'w, W: World> Tools<'w, W> {
    /// Tools as of now.
    pub(super) fn new(
        decoders: &'w mut Decoders<W::Registry>,
        metrics: &'w mut WorkerMetrics,
        settings: &'w Settings,
    ) -> Self {
        let max_ahead_ms = settings.limits.max_ahead_ms;
        Self { decoders, metrics, inputs: &settings.inputs, wall_ms: wall_ms(), max_ahead_ms }
    }
}

/// The trace context of an event, for what it brings about: names and values of headers.
pub(super) type Trace = Arc<[(&'static str, Vec<u8>)]>;

/// A change to be sent.
pub(super) struct PendingChange {
    pub(super) change: Change,
    /// Since when it was to come, if that is to be measured.
    pub(super) since: Option<Since>,
    /// The trace context of the event that caused it, where that had one.
    pub(super) trace: Option<Trace>,
}

/// Since when a change was to come.
#[derive(Clone, Copy)]
pub(super) enum Since {
    /// The broker accepted the event that caused it, milliseconds since the epoch.
    Accepted(i64),
    /// It fell due, milliseconds since the epoch.
    Due(i64),
}

/// What is to be remembered of a change that was sent, until it is committed.
pub(super) struct SentChange {
    pub(super) segment: Arc<str>,
    pub(super) entered: bool,
    pub(super) since: Option<Since>,
}

impl From<PendingChange> for SentChange {
    fn from(PendingChange { change, since, .. }: PendingChange) -> Self {
        Self { segment: change.segment, entered: change.entered, since }
    }
}

/// Somebody who asked to be forgotten, to be told of once that is committed.
pub(super) struct Erased {
    pub(super) receipt: Receipt,
    /// Segments they left by it.
    pub(super) n_left: usize,
    /// The record that asked for it.
    pub(super) asked: Origin,
}

/// What a commit has to send besides the customers.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) dead_letters: Vec<DeadLetter>,
    /// Changes that are not sent yet.
    pub(super) changes: Vec<PendingChange>,
    /// Those that are.
    pub(super) sent: Vec<SentChange>,
    /// What this partition tells the others of the distribution of values, by key.
    pub(super) distributions: Vec<(Vec<u8>, Vec<u8>)>,
    /// Nothing to send: whom it forgets.
    pub(super) erased: Vec<Erased>,
    pub(super) n_records: usize,
}

impl Pending {
    /// How many changes the commit has, those that were sent ahead of it included.
    pub(super) fn n_changes(&self) -> usize {
        self.changes.len() + self.sent.len()
    }

    fn clear(&mut self) {
        self.dead_letters.clear();
        self.changes.clear();
        self.sent.clear();
        self.distributions.clear();
        self.erased.clear();
        self.n_records = 0;
    }
}

/// How far the look at every customer has come: the last key looked at.
#[derive(Debug, Default)]
struct Sweep {
    after: Option<Vec<u8>>,
}

/// Where a partition starts from.
pub(super) struct Start<W: World> {
    pub(super) number: i32,
    pub(super) partition: Partition<StoreOf<W>>,
    pub(super) store: StoreOf<W>,
    /// How far the state is.
    pub(super) marker: Marker,
    /// Where the input goes on, by lane.
    pub(super) positions: Vec<i64>,
    /// How many members each segment has.
    pub(super) members: HashMap<Arc<str>, i64>,
    /// How many customers have a deadline.
    pub(super) n_deadlines: u64,
    /// The end of the changelog.
    pub(super) changelog_end: i64,
    /// How many offsets of it the end of a transaction takes.
    pub(super) mark_len: i64,
    pub(super) metrics: PartitionMetrics,
}

/// One partition number that this worker owns.
pub(super) struct Owned<'c, W: World> {
    pub(super) number: i32,
    pub(super) partition: Partition<StoreOf<W>>,
    /// The store behind the partition, to flush and measure.
    pub(super) store: StoreOf<W>,
    pub(super) merge: Merge<Fetched<MessageOf<'c, W>>>,
    /// By lane: the offset of the next record to apply.
    next: Vec<i64>,
    /// The same, and the clock, as the last commit sent them.
    sent_next: Vec<i64>,
    sent_clock: Option<i64>,
    /// By lane: of how many of its next records the customers were looked for.
    n_ahead: Vec<usize>,
    origins: Vec<Origin>,
    pub(super) pending: Pending,
    /// The marker of the last commit that was sent; its offsets also name topics that are no longer read.
    marker: Marker,
    /// The look at every customer under new definitions, while it lasts.
    sweep: Option<Sweep>,
    /// The distributions that others are told.
    told: Option<Told>,
    /// How many members each segment has here, as committed.
    members: HashMap<Arc<str>, i64>,
    /// How many customers here had a deadline in the beginning.
    n_deadlines: u64,
    /// The marker of the last commit as the store holds it; `None` before there is one.
    stored_marker: Option<Vec<u8>>,
    /// Where the changelog ends, at least.
    changelog_end: i64,
    mark_len: i64,
    pub(super) metrics: PartitionMetrics,
}

impl<'c, W: World> Owned<'c, W> {
    /// A partition put to work.
    pub(super) fn new(start: Start<W>, inputs: &[Input]) -> Self {
        let Start { number, partition, store, marker, positions, members, n_deadlines, .. } = start;
        let origin = |input: &Input| Origin { topic: CompactString::new(&input.topic), partition: number, offset: 0 };
        let is_new = marker.transaction == 0;
        let redefined = !is_new && (marker.unfinished || marker.definitions != partition.catalog().hash);
        Self {
            number,
            sent_clock: partition.clock(),
            partition,
            store,
            merge: Merge::new(positions.iter().copied()),
            sent_next: positions.clone(),
            n_ahead: vec![0; positions.len()],
            next: positions,
            origins: inputs.iter().map(origin).collect(),
            pending: Pending::default(),
            marker,
            sweep: redefined.then(Sweep::default),
            told: None,
            members,
            n_deadlines,
            stored_marker: None,
            changelog_end: start.changelog_end,
            mark_len: start.mark_len,
            metrics: start.metrics,
        }
    }

    /// Takes a fetched message in, to be decoded when it is the first of its lane: thousands of records decoded ahead would not be
    /// in the processor's caches any more when their turn comes.
    pub(super) fn push(&mut self, message: MessageOf<'c, W>, tools: &mut Tools<'_, W>) {
        let (lane, offset) = (message.lane(), message.offset());
        let fetched = Fetched { message, decoded: Decoded::Waiting };
        self.merge.push(lane, offset, fetched, |first| decode(first, tools));
    }

    /// Takes in what is fetched, as far as there is room. How many messages that were.
    pub(super) fn fetch(&mut self, consumer: &'c ConsumerOf<W>, tools: &mut Tools<'_, W>) -> Result<usize, KafkaError> {
        let mut n_fetched = 0;
        for lane in 0..self.next.len() {
            while self.merge.waiting(lane).len() < LANE_FULL {
                let Some(message) = consumer.take(lane, self.number)? else { break };
                self.push(message, tools);
                n_fetched += 1;
            }
        }
        Ok(n_fetched)
    }

    /// Applies records while the next one is known, at most `budget`.
    pub(super) fn apply(&mut self, budget: usize, tools: &mut Tools<'_, W>) -> Result<Wants, StoreError> {
        if self.sweep.is_some() {
            return self.look_at_customers();
        }
        for _ in 0..budget {
            let wall_ms = tools.wall_ms;
            let trusted = |fetched: &Fetched<MessageOf<'c, W>>| trusted_since(fetched.message.timestamp_ms(), wall_ms);
            match self.merge.next(trusted) {
                Next::Take(lane) => {
                    if !self.settle(lane, tools) {
                        return Ok(Wants::Schema);
                    }
                    // What the schema brought to light may not be next.
                    if self.merge.next(trusted) != Next::Take(lane) {
                        continue;
                    }
                    if !self.make_way(lane, wall_ms)? {
                        return Ok(Wants::Turn);
                    }
                    self.look_ahead(lane);
                    if let Some(fetched) = self.merge.take(lane, |first| decode(first, tools)) {
                        self.offer(fetched, tools)?;
                    }
                }
                Next::Fetch => return Ok(Wants::Fetch),
                Next::AskEnd => return Ok(Wants::Ends),
                Next::Drained => return Ok(Wants::Nothing),
            }
        }
        Ok(Wants::Turn)
    }

    /// Looks for the customers of a lane's next records, some at a time. Keys are only a hint of who they are.
    fn look_ahead(&mut self, lane: usize) {
        let Some(n_ahead) = self.n_ahead.get_mut(lane) else { return };
        if *n_ahead == 0 {
            let next = self.merge.waiting(lane).take(AHEAD);
            *n_ahead = next.len();
            self.partition.look_ahead(next.filter_map(|fetched| fetched.message.key()));
        }
        *n_ahead = n_ahead.saturating_sub(1);
    }

    /// Sees to it that the first message of a lane is decoded; not while its schema is being asked for.
    fn settle(&mut self, lane: usize, tools: &mut Tools<'_, W>) -> bool {
        if self.waits_for_schema(lane) {
            self.merge.reorder_first(lane, |first| decode(first, tools));
        }
        !self.waits_for_schema(lane)
    }

    fn waits_for_schema(&self, lane: usize) -> bool {
        self.merge.first(lane).is_some_and(|fetched| matches!(fetched.decoded, Decoded::Waiting))
    }

    /// Lets happen what falls due before the next record, some at a time: a million customers may leave at one instant, and
    /// neither the other partitions nor the transaction can wait for all of them. Whether the record's turn has come.
    fn make_way(&mut self, lane: usize, wall_ms: i64) -> Result<bool, StoreError> {
        let Some(Fetched { decoded: Decoded::Record(record), .. }) = self.merge.first(lane) else { return Ok(true) };
        let done = self.partition.make_way(record, Some(wall_ms), BUDGET)?;
        if !done {
            self.pending.n_records += BUDGET;
            self.collect_changes(None);
        }
        Ok(done)
    }

    fn offer(&mut self, fetched: Fetched<MessageOf<'c, W>>, tools: &mut Tools<'_, W>) -> Result<(), StoreError> {
        let Fetched { message, decoded } = fetched;
        let lane = message.lane();
        let outcome = match &decoded {
            Decoded::Record(record) => self.offer_record(record, lane, message.offset(), tools.wall_ms)?,
            Decoded::Refused(refusal, _) => Outcome::Refused(*refusal),
            Decoded::Waiting => return Ok(()),
        };
        if let Outcome::Refused(refusal) = outcome {
            let error = match &decoded {
                Decoded::Refused(_, error) => error.as_str(),
                _ => refusal.name(),
            };
            self.refuse(&message, refusal, error);
        }
        let n_before = self.pending.changes.len();
        self.collect_changes(Some((&message, message.timestamp_ms().unwrap_or(tools.wall_ms))));
        if let Decoded::Record(record) = &decoded
            && matches!((&record.body, outcome), (Body::Erasure, Outcome::Processed))
        {
            self.note_erasure(record, lane, n_before)?;
        }
        if let Some(input) = tools.inputs.get(lane) {
            tools.metrics.event(&input.event_type, outcome);
        }
        if let Some(next) = self.next.get_mut(lane) {
            *next = message.offset() + 1;
        }
        self.pending.n_records += 1;
        if let Decoded::Record(record) = decoded {
            tools.decoders.recycle(record);
        }
        Ok(())
    }

    fn offer_record(&mut self, record: &Record, lane: usize, offset: i64, wall_ms: i64) -> Result<Outcome, StoreError> {
        let Some(origin) = self.origins.get_mut(lane) else { return Ok(Outcome::Processed) };
        origin.offset = offset;
        self.partition.offer(record, origin, Some(wall_ms))
    }

    /// Notes that a record made somebody be forgotten; the changes from `n_before` on are those it brought about.
    fn note_erasure(&mut self, record: &Record, lane: usize, n_before: usize) -> Result<(), StoreError> {
        let receipt = self.partition.erasure(&record.envelope.customer_id)?;
        let n_left =
            self.pending.changes[n_before..].iter().filter(|change| change.change.cause == Cause::Erasure).count();
        if let (Some(receipt), Some(asked)) = (receipt, self.origins.get(lane).cloned()) {
            self.pending.erased.push(Erased { receipt, n_left, asked });
        }
        Ok(())
    }

    fn refuse(&mut self, message: &MessageOf<'c, W>, refusal: crate::engine::effects::Refusal, error: &str) {
        let topic = self.origins.get(message.lane()).map_or("", |origin| origin.topic.as_str());
        let mut letter = DeadLetter {
            key: message.key().map(<[u8]>::to_vec),
            value: message.value().map(<[u8]>::to_vec),
            headers: message.headers(),
        };
        letter.explain(refusal, topic, self.number, message.offset(), error);
        self.pending.dead_letters.push(letter);
    }

    /// Takes over the changes that came about, some of them through a message that the broker accepted at an instant.
    fn collect_changes(&mut self, through: Option<(&MessageOf<'c, W>, i64)>) {
        let changes = self.partition.drain_changes();
        if changes.as_slice().is_empty() {
            return;
        }
        let trace = through.and_then(|(message, _)| trace_of(message));
        self.pending.changes.extend(changes.map(|change| {
            let (since, trace) = match change.cause {
                Cause::Event { .. } => (through.map(|(_, accepted_at)| Since::Accepted(accepted_at)), trace.clone()),
                Cause::Time => (Some(Since::Due(change.at)), None),
                Cause::Consent | Cause::Erasure => (None, trace.clone()),
                Cause::Definition => (None, None),
            };
            PendingChange { change, since, trace }
        }));
    }

    /// What happened in the partition besides changes and outcomes, since last taken.
    pub(super) fn take_happened(&mut self) -> Happened {
        let counts = self.partition.take_counts();
        Happened {
            cache_hits: counts.cache_hits,
            cache_misses: counts.cache_misses,
            deadlines_passed: counts.deadlines,
            customers_erased: counts.erased_customers,
            traits_undeclared: counts.undeclared_traits,
            traits_misfit: counts.misfit_traits,
        }
    }

    /// Lets the partition clock follow the wall clock, to an instant at which the broker was known to hold no more. Whether
    /// all that fell due is done.
    pub(super) fn keep_time(&mut self, clock_ms: i64) -> Result<bool, StoreError> {
        let done = self.partition.advance(clock_ms, BUDGET)?;
        self.collect_changes(None);
        Ok(done)
    }

    /// Evaluates some more customers under definitions that are new to them.
    fn look_at_customers(&mut self) -> Result<Wants, StoreError> {
        let Some(sweep) = self.sweep.take() else { return Ok(Wants::Turn) };
        let page = self.partition.store().scan(sweep.after.as_deref(), SWEPT)?;
        for (key, _) in &page {
            if let Some(customer_id) = customer_id_of(key) {
                self.partition.redefine(customer_id)?;
            }
        }
        self.pending.n_records += page.len();
        self.collect_changes(None);
        if page.len() == SWEPT {
            self.sweep = Some(Sweep { after: page.into_iter().next_back().map(|(key, _)| key) });
        }
        Ok(Wants::Turn)
    }

    /// Does a step of what percentiles need; whether there is more to do at once.
    pub(super) fn refresh_percentiles(
        &mut self,
        limit: usize,
        exchange: &Exchange,
        partitions: i32,
    ) -> Result<bool, StoreError> {
        match self.partition.refresh(limit)? {
            Refresh::Done => return Ok(false),
            Refresh::Going => self.pending.n_records += 1,
            Refresh::Collected(at) => match &self.told {
                Some(told) if told.at == at => {
                    let others = told.is_committed.then(|| exchange.others(told, self.number, partitions)).flatten();
                    let Some(others) = others else { return Ok(false) };
                    self.partition.put_in_force(&others);
                }
                _ => {
                    let collected = self.partition.collected();
                    let keyed = collected.map(|(key, value)| (exchange::key_of(self.number, key), value));
                    self.pending.distributions = keyed.collect();
                    self.pending.n_records += 1;
                    self.told = Some(Told::new(at, self.partition.catalog()));
                    return Ok(false);
                }
            },
        }
        self.collect_changes(None);
        Ok(true)
    }

    /// Looks at some customers whether they are to be forgotten; whether there is more to do at once.
    pub(super) fn forget_idle(&mut self, limit: usize) -> Result<bool, StoreError> {
        let (n_forgotten, is_going) = self.partition.forget_idle(limit)?;
        if n_forgotten > 0 {
            self.pending.n_records += n_forgotten;
            self.collect_changes(None);
        }
        Ok(is_going)
    }

    /// By lane: how many offsets the broker is known to hold that are not applied.
    pub(super) fn lags(&self) -> impl Iterator<Item = i64> + '_ {
        let fetched = self.merge.positions().zip(&self.next).map(|(position, next)| position - next);
        self.merge.behind().zip(fetched).map(|(behind, fetched)| behind + fetched)
    }

    /// Whether there is anything to commit besides the clock.
    pub(super) fn is_dirty(&self) -> bool {
        self.pending.n_records > 0 || self.pending.n_changes() > 0 || self.next != self.sent_next
    }

    /// Whether the clock moved since the last commit.
    pub(super) fn is_clock_dirty(&self) -> bool {
        self.partition.clock() != self.sent_clock
    }

    /// Whether there is anything to commit, be it only the clock.
    pub(super) fn is_unsent(&self) -> bool {
        self.is_dirty() || self.is_clock_dirty()
    }

    /// Whether the worker cannot go on before the next commit has ended, because the store waits for what it says, or others
    /// are told what only then is true.
    pub(super) fn must_wait(&self) -> bool {
        !self.pending.distributions.is_empty() || self.partition.must_be_saved()
    }

    /// The input offsets as they will be once this is committed, by lane.
    pub(super) fn next(&self) -> &[i64] {
        &self.next
    }

    /// From where each lane is to be fetched to go on after what is fetched already.
    pub(super) fn fetch_positions(&self) -> Vec<i64> {
        self.merge.positions().collect()
    }

    /// The marker of the next transaction. While not everybody was evaluated under these definitions it says so: whoever
    /// goes on from there looks at everybody again, be it under those from before.
    pub(super) fn next_marker(&self, partitions: i32) -> Marker {
        let mut offsets: BTreeMap<String, i64> = self.marker.offsets.clone();
        for (origin, next) in self.origins.iter().zip(&self.next) {
            offsets.insert(origin.topic.to_string(), *next);
        }
        let definitions = self.partition.catalog().hash;
        let (transaction, clock) = (self.marker.transaction + 1, self.partition.clock());
        let mut marker = Marker::new(transaction, offsets, clock, partitions, definitions);
        marker.unfinished = self.sweep.is_some();
        marker
    }

    /// How many customers' deadlines the clock has passed, and how many are ahead, as committed.
    pub(super) fn timers(&mut self) -> Result<(u64, u64), StoreError> {
        let (due, moved) = self.partition.timers()?;
        Ok((due, self.n_deadlines.saturating_add_signed(moved).saturating_sub(due)))
    }

    /// How many members each segment has here, as committed.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, i64)> {
        self.members.iter().map(|(segment, count)| (&**segment, *count))
    }

    /// So many records of the changelog are committed, the marker last: gives the offset after it.
    ///
    /// Nobody else writes there, so that offsets can be counted instead of asked for: each commit takes one for every record
    /// and one for its end. What others left behind may take some more. Then the store is brought forward from a little
    /// before its marker, which does no harm.
    fn logged(&mut self, n_records: i64) -> i64 {
        let position = self.changelog_end + n_records;
        self.changelog_end = position + self.mark_len;
        position
    }

    /// All that was pending is sent with `marker`, and is committed or thrown away with everything after it. Gives the
    /// changes.
    pub(super) fn sent(&mut self, marker: Marker) -> Vec<SentChange> {
        self.marker = marker;
        self.sent_next.clone_from(&self.next);
        self.sent_clock = self.partition.clock();
        self.partition.sent();
        // As many may come again.
        let room = Vec::with_capacity(self.pending.sent.len());
        let changes = std::mem::replace(&mut self.pending.sent, room);
        self.pending.clear();
        changes
    }

    /// What was sent is committed; nothing has changed since if that was waited for.
    pub(super) fn committed(&mut self, part: Part, was_waited_for: bool) -> Result<(), StoreError> {
        for SentChange { segment, entered, .. } in &part.changes {
            *self.members.entry_ref(segment).or_default() += if *entered { 1 } else { -1 };
        }
        let changelog_position = self.logged(part.n_logged);
        // Whoever was halted since may have missed what others removed, long ago.
        let marker = StoredMarker { changelog_position, written_at: part.sent_at, marker: part.marker };
        self.stored_marker = Some(encode(&marker));
        if was_waited_for {
            if let Some(told) = &mut self.told {
                told.is_committed = true;
            }
            self.partition.save_own()?;
        }
        self.partition.committed(self.stored_marker.as_deref())
    }

    /// Writes some of what is committed to the store, as much as its share of the time is for which it may wait.
    pub(super) fn write_behind(&mut self, passed: Duration) -> Result<(), StoreError> {
        let share = passed.as_secs_f64() / WRITTEN_WITHIN.as_secs_f64();
        self.partition.write_behind(self.stored_marker.as_deref(), share)
    }

    /// Writes what is committed to disk, so that whoever takes the partition up here has little to read.
    pub(super) fn save(&mut self) -> Result<(), StoreError> {
        self.partition.save(self.stored_marker.as_deref())?;
        self.store.flush()
    }
}

/// The trace context a message carries.
fn trace_of(message: &impl LogMessage) -> Option<Trace> {
    let headers = TRACE_HEADERS.into_iter().zip(message.last_headers(TRACE_HEADERS));
    let trace: Vec<_> = headers.filter_map(|(name, value)| Some((name, value?.to_vec()))).collect();
    (!trace.is_empty()).then(|| trace.into())
}

/// Decodes a message, as far as its schema is known; what it is ordered by then.
fn decode<W: World>(fetched: &mut Fetched<MessageOf<'_, W>>, tools: &mut Tools<'_, W>) -> i64 {
    fetched.decoded = tools.decoders.decode(fetched.message.value());
    merge_instant(&fetched.decoded, tools)
}

/// What a message is ordered by. One that will be refused for its time must not hold up the others until then.
fn merge_instant<W: World>(decoded: &Decoded, tools: &Tools<'_, W>) -> i64 {
    match decoded {
        Decoded::Record(record) => {
            let occurred_at = record.envelope.occurred_at;
            let is_ahead = occurred_at > tools.wall_ms.saturating_add(tools.max_ahead_ms);
            if is_ahead { i64::MIN } else { occurred_at }
        }
        Decoded::Refused(..) | Decoded::Waiting => i64::MIN,
    }
}

/// Since when the end of an empty topic must have been asked for, for this message to be next. In live traffic news from
/// about its own time will do: what came to another topic more than a second before it is then known, even if the broker
/// could not be reached when it came.
fn trusted_since(timestamp_ms: Option<i64>, wall_ms: i64) -> i64 {
    match timestamp_ms {
        Some(timestamp) if timestamp < wall_ms - BACKLOG_MS => wall_ms - BELIEVED_MS,
        // Its sender's clock may be ahead of ours.
        Some(timestamp) => timestamp.min(wall_ms) - BACKLOG_MS,
        None => i64::MIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_a_topics_end_is_as_recent_as_what_it_lets_pass() {
        let now = 1_000_000;
        let cases = [
            (None, i64::MIN, "nothing is known of when it came"),
            (Some(now - BACKLOG_MS - 1), now - BELIEVED_MS, "of a backlog: just asked for"),
            (Some(now - BACKLOG_MS), now - 2 * BACKLOG_MS, "live: what came a second before it is known"),
            (Some(now), now - BACKLOG_MS, "this instant"),
            (Some(now + 60_000), now - BACKLOG_MS, "by a clock that is ahead of ours"),
        ];
        for (timestamp, expected, what) in cases {
            assert_eq!(trusted_since(timestamp, now), expected, "{what}");
        }
    }
}
