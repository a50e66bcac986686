//! Who drives: one owner per partition number polls, applies, commits, restores and hands over.

mod batch;
mod cadence;
pub mod changes;
mod clock;
mod commit;
pub mod dead_letter;
mod decode;
pub mod disk;
mod exchange;
mod failpoint;
pub mod feed;
mod filling;
mod group;
pub mod inspect;
pub mod marker;
pub mod outbox;
pub mod peers;
pub mod query;
mod report;
mod restore;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod status;
pub mod supervisor;
pub mod topics;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::kafka::KafkaError;
use crate::kafka::consumer::Membership;
use crate::kafka::log::{Log as _, LogConsumer as _, LogMessage as _, LogProducer as _};
use crate::kafka::watchdog::Watchdog;
use crate::store::StoreError;
use crate::store::durable::Stores as _;
use crate::telemetry::WorkerMetrics;

use batch::{Owned, Tools, Wants};
use clock::{now, since, wall_ms};
use commit::Commit;
use decode::Decoders;
use group::{Restoring, Torn};
use query::Inbox;
use report::Report;
pub use restore::RestoreError;
use supervisor::Engine;
use world::{ConsumerOf, ProducerOf, World};

/// Records applied to one partition before another gets its turn.
const TURN: usize = 2_048;
/// Customers looked at for percentiles before records get their turn, with and without records to apply. In the simulation
/// so few that commits come in between.
const REFRESH_BESIDE: usize = if cfg!(test) { 1 } else { 100 };
const REFRESH: usize = if cfg!(test) { 2 } else { 1_000 };
/// How long to wait for a message when there is nothing else to do.
const IDLE: Duration = Duration::from_millis(20);
/// How often the broker is asked for the ends of the input topics: at most while something is due, at most otherwise, and
/// at least.
const ASK_WHEN_DUE: Duration = Duration::from_millis(20);
const ASK_SOONEST: Duration = Duration::from_millis(50);
const ASK_LATEST: Duration = Duration::from_secs(1);
/// What is due by the wall clock is left to the events that come so long, whose instants move the clock as well,
/// milliseconds.
const LEFT_TO_EVENTS_MS: i64 = 5;
/// How long the broker is left alone after it did not answer.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How often stores are written, so that it is little each time and others do not wait for it.
const WRITTEN_EVERY: Duration = Duration::from_millis(10);
/// A wall clock that moved by so much more or less than time did has been set, milliseconds.
const CLOCK_SET_MS: i64 = 100;
/// For so long nothing may come of what the broker is known to hold, before it is asked for anew.
const STARVED: Duration = Duration::from_secs(20);

/// A worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// State and input do not fit together.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// One thread's work: the partitions it owns, and what it needs to move them forward.
struct Worker<'c, W: World> {
    index: usize,
    engine: &'c Engine<W>,
    consumer: &'c ConsumerOf<W>,
    /// `None` only while it is being replaced, and while a commit is under way.
    producer: Option<ProducerOf<W>>,
    under_way: Option<Commit<W>>,
    watchdog: Watchdog,
    decoders: Decoders<W::Registry>,
    metrics: WorkerMetrics,
    inbox: &'c Inbox,
    owned: BTreeMap<i32, Owned<'c, W>>,
    restoring: Option<Restoring<W>>,
    torn: Option<Torn>,
    /// Since when nothing comes of what the broker is known to hold.
    starved_since: Option<Instant>,
    report: Report,
    /// What is to be done at once, without waiting for messages.
    is_busy: bool,
    /// Some topic is waited for, or nothing more is to be had.
    wants: BTreeMap<i32, Wants>,
    uncommitted_since: Option<Instant>,
    committed_at: Instant,
    /// How long the last commit took.
    commit_took: Duration,
    /// When stores were last written.
    written_at: Instant,
    ends_asked_at: Instant,
    /// The broker is not asked again before this.
    ask_after: Instant,
    /// The wall clock when last looked at, and the moment.
    clock: (i64, Instant),
}

/// Works until it is told to stop, or cannot go on.
///
/// A member may be fenced by itself: a broker that was away takes it in under a new id, and the answer never arrives. It
/// then joins again. Two processes with one name would fence each other for ever, so there is an end to that.
pub(super) fn run<W: World>(
    engine: &Engine<W>,
    index: usize,
    inbox: &Inbox,
    watchdog: &Watchdog,
) -> Result<(), WorkerError> {
    const FENCED_MAX: u32 = 8;
    const FORGOTTEN: Duration = Duration::from_mins(10);
    let mut n_fenced = 0;
    loop {
        let began = now();
        let (result, is_fenced) = run_as_member(engine, index, inbox, watchdog)?;
        n_fenced = if since(began) > FORGOTTEN { 1 } else { n_fenced + 1 };
        match result {
            Err(error) if is_fenced && n_fenced <= FENCED_MAX => {
                tracing::warn!(worker = index, %error, "joining the group again");
                let _ = engine.stop.sleep(Duration::from_millis(500) * n_fenced);
            }
            result => return result,
        }
    }
}

/// Works as one member of the group; tells besides the outcome whether the member was fenced.
fn run_as_member<W: World>(
    engine: &Engine<W>,
    index: usize,
    inbox: &Inbox,
    watchdog: &Watchdog,
) -> Result<(Result<(), WorkerError>, bool), WorkerError> {
    let membership = Membership {
        group: engine.settings.application.clone(),
        instance: engine.settings.member(index),
        address: engine.settings.address.clone(),
        topics: engine.settings.input_topics(),
        partitions: engine.partitions,
    };
    let consumer = engine.clients.join(&membership)?;
    let mut worker = Worker {
        index,
        engine,
        consumer: &consumer,
        producer: None,
        under_way: None,
        watchdog: watchdog.clone(),
        decoders: Decoders::new(engine.schemas.clone(), engine.catalog.clone(), engine.registry.clone()),
        metrics: engine.telemetry.worker(),
        inbox,
        owned: BTreeMap::new(),
        restoring: None,
        torn: None,
        starved_since: None,
        report: Report::default(),
        is_busy: false,
        wants: BTreeMap::new(),
        uncommitted_since: None,
        committed_at: now(),
        commit_took: Duration::ZERO,
        written_at: now(),
        ends_asked_at: now(),
        ask_after: now(),
        clock: (wall_ms(), now()),
    };
    let result = worker.renew_producer().and_then(|()| worker.work());
    worker.stop_restoring();
    if let Some(commit) = worker.under_way.take() {
        // Whoever has the partitions next finds out how it ended.
        worker.producer = commit.wait().producer;
    }
    worker.put_down();
    let is_fenced = consumer.is_fenced();
    if let Some(producer) = worker.producer.take() {
        producer.close();
    }
    Ok((result, is_fenced))
}

impl<W: World> Worker<'_, W> {
    fn work(&mut self) -> Result<(), WorkerError> {
        while !self.engine.stop.is_requested() {
            if let Err(error) = self.turn() {
                self.fill_again(error)?;
            }
        }
        self.commit_all()?;
        self.put_down();
        Ok(())
    }

    fn turn(&mut self) -> Result<(), WorkerError> {
        self.follow_group()?;
        self.take_restored()?;
        self.fetch()?;
        self.apply()?;
        self.ask_ends()?;
        self.keep_time()?;
        self.look_after_customers()?;
        self.answer();
        self.commit_if_due()?;
        self.send_ahead()?;
        self.write_behind()?;
        self.report();
        Ok(())
    }

    /// After a store turned out to be damaged: everything goes back to the last commit, and that store is filled again.
    fn fill_again(&mut self, error: WorkerError) -> Result<(), WorkerError> {
        let WorkerError::Store(damage) = &error else { return Err(error) };
        let Some(path) = damage.beyond_repair().map(PathBuf::from) else { return Err(error) };
        tracing::warn!(worker = self.index, %error, "filling the store again from the changelog");
        let numbers = self.numbers();
        self.conclude_without_more()?;
        self.stop_restoring();
        self.put_down();
        self.engine.stores.destroy(&path)?;
        self.restore(numbers);
        Ok(())
    }

    /// The partitions that are ours, there or on their way.
    fn numbers(&self) -> BTreeSet<i32> {
        let restoring = self.restoring.iter().flat_map(Restoring::numbers);
        self.owned.keys().copied().chain(restoring).collect()
    }

    /// Takes what has arrived; waits a little when there is nothing else to do.
    fn fetch(&mut self) -> Result<(), WorkerError> {
        let mut n_fetched = self.take_in()?;
        if n_fetched == 0 && !std::mem::take(&mut self.is_busy) {
            if self.uncommitted_since.is_some() && self.under_way.is_some() {
                self.conclude()?;
            } else {
                let patience = self.patience()?;
                self.consumer.wait(patience);
            }
            n_fetched = self.take_in()?;
        }
        self.is_busy = false;
        if n_fetched > 0 || !self.wants.values().any(|wants| *wants == Wants::Fetch) {
            self.starved_since = None;
            return Ok(());
        }
        // What is waited for may be the mark of a transaction, which is no message.
        for ((lane, partition), position) in self.consumer.positions()? {
            if let Some(owned) = self.owned.get_mut(&partition) {
                owned.merge.skip_to(lane, position);
            }
        }
        if since(*self.starved_since.get_or_insert_with(now)) > STARVED {
            tracing::warn!(worker = self.index, "the broker holds more and nothing comes: fetching anew");
            self.starved_since = None;
            self.fetch_again()?;
        }
        Ok(())
    }

    /// How long to wait for a message.
    fn patience(&mut self) -> Result<Duration, WorkerError> {
        let Some(begun) = self.uncommitted_since else { return Ok(self.until_asked()?.min(IDLE)) };
        let at_latest = self.engine.settings.commit_interval.saturating_sub(since(begun)).min(IDLE);
        Ok(if self.is_drained() { at_latest.min(self.rest()) } else { at_latest })
    }

    /// How long it is until the broker is to be asked for ends because something falls due where everything is read.
    fn until_asked(&mut self) -> Result<Duration, WorkerError> {
        let settings = &self.engine.settings;
        let drained = self.owned.iter_mut().filter(|(number, _)| self.wants.get(number) == Some(&Wants::Nothing));
        let mut due_in_ms = i64::MAX;
        for (_, owned) in drained {
            if let Some(deadline) = owned.partition.next_deadline()? {
                let due_at = deadline.saturating_add(settings.limits.grace_ms + LEFT_TO_EVENTS_MS);
                due_in_ms = due_in_ms.min(due_at.saturating_sub(self.clock.0));
            }
        }
        let due_in = Duration::from_millis(u64::try_from(due_in_ms).unwrap_or(0));
        let rested = ASK_WHEN_DUE.saturating_sub(since(self.ends_asked_at));
        Ok(due_in.max(rested).max(self.ask_after.saturating_duration_since(now())))
    }

    fn take_in(&mut self) -> Result<usize, WorkerError> {
        let mut tools = Tools::new(&mut self.decoders, &mut self.metrics, &self.engine.settings);
        let mut n_fetched = 0;
        while let Some(message) = self.consumer.serve()? {
            if let Some(owned) = self.owned.get_mut(&message.partition()) {
                owned.push(message, &mut tools);
                n_fetched += 1;
            }
        }
        for owned in self.owned.values_mut() {
            n_fetched += owned.fetch(self.consumer, &mut tools)?;
        }
        Ok(n_fetched)
    }

    /// Applies what is next in each partition.
    fn apply(&mut self) -> Result<(), WorkerError> {
        let (began, n_before) = (now(), self.n_pending_records());
        self.look_at_clock();
        // Not more than a transaction is to hold.
        let turn = TURN.min(self.engine.settings.commit_max_events);
        let mut tools = Tools::new(&mut self.decoders, &mut self.metrics, &self.engine.settings);
        for (number, owned) in &mut self.owned {
            let wants = owned.apply(turn, &mut tools)?;
            self.is_busy |= wants == Wants::Turn;
            self.wants.insert(*number, wants);
        }
        self.note_uncommitted(began);
        if self.n_pending_records() > n_before {
            self.metrics.processing_seconds(since(began).as_secs_f64());
        }
        Ok(())
    }

    /// Notes since when there is something to commit.
    fn note_uncommitted(&mut self, began: Instant) {
        if self.uncommitted_since.is_none() && self.owned.values().any(Owned::is_dirty) {
            self.uncommitted_since = Some(began);
        }
    }

    /// How many records are taken in and not committed.
    fn n_pending_records(&self) -> usize {
        self.owned.values().map(|owned| owned.pending.n_records).sum()
    }

    /// How old news of a topic's end is goes by the wall clock, as messages do; if that was set, nobody knows.
    fn look_at_clock(&mut self) {
        let (now, wall_now_ms) = (now(), wall_ms());
        let (wall_ms, moment) = std::mem::replace(&mut self.clock, (wall_now_ms, now));
        let passed_ms = i64::try_from(now.saturating_duration_since(moment).as_millis()).unwrap_or(i64::MAX);
        if wall_now_ms.saturating_sub(wall_ms).saturating_sub(passed_ms).abs() > CLOCK_SET_MS {
            self.owned.values_mut().for_each(|owned| owned.merge.forget_ends());
        }
    }

    /// Asks the broker what it holds: at once if some partition has to know, now and then for the clock and the lag.
    fn ask_ends(&mut self) -> Result<(), WorkerError> {
        let now = now();
        let needed = self.wants.values().any(|wants| *wants == Wants::Ends);
        let drained = !self.is_busy && self.wants.values().any(|wants| *wants == Wants::Nothing);
        let passed = now - self.ends_asked_at;
        let due =
            needed || passed >= ASK_LATEST || (drained && (passed >= ASK_SOONEST || self.until_asked()?.is_zero()));
        if !due || now < self.ask_after || self.owned.is_empty() {
            return Ok(());
        }
        let asked_at = wall_ms();
        let lanes = self.engine.settings.inputs.len();
        let all = self.owned.keys().flat_map(|number| (0..lanes).map(move |lane| (lane, *number)));
        match self.consumer.ends(all) {
            Ok(ends) => {
                for ((lane, number), end) in ends {
                    if let Some(owned) = self.owned.get_mut(&number) {
                        owned.merge.end(lane, end, asked_at);
                    }
                }
                self.is_busy |= needed;
                self.ends_asked_at = now;
                self.waits_for(None);
            }
            Err(error) => {
                self.ask_after = now + ASK_AGAIN;
                self.waits_for(Some(&error));
            }
        }
        Ok(())
    }

    /// Lets the clock of each partition of which everything is read follow the wall clock, as far as that is known.
    fn keep_time(&mut self) -> Result<(), WorkerError> {
        let grace_ms = self.engine.settings.limits.grace_ms;
        for (number, owned) in &mut self.owned {
            if self.wants.get(number) != Some(&Wants::Nothing) {
                continue;
            }
            if let Some(read_until) = owned.merge.drained_at() {
                self.is_busy |= !owned.keep_time(read_until.saturating_sub(grace_ms))?;
            }
        }
        self.note_uncommitted(now());
        Ok(())
    }

    /// Does what percentiles and forgetting need, some customers at a time beside the records.
    fn look_after_customers(&mut self) -> Result<(), WorkerError> {
        let limit = if self.is_busy { REFRESH_BESIDE } else { REFRESH };
        let (exchange, partitions) = (&self.engine.exchange, self.engine.partitions);
        for owned in self.owned.values_mut() {
            self.is_busy |= owned.refresh_percentiles(limit, exchange, partitions)?;
            self.is_busy |= owned.forget_idle(limit)?;
        }
        self.note_uncommitted(now());
        Ok(())
    }

    /// Brings the stores some way forward to what is committed.
    fn write_behind(&mut self) -> Result<(), WorkerError> {
        let passed = since(self.written_at);
        if passed >= WRITTEN_EVERY {
            self.written_at = now();
            for owned in self.owned.values_mut() {
                owned.write_behind(passed)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self) {
        let partitions = self.owned.iter_mut().map(|(number, owned)| (*number, &mut owned.partition));
        self.inbox.answer(partitions, wall_ms());
    }

    /// Fetches from where each partition has got to, once it is restored.
    fn fetch_again(&mut self) -> Result<(), WorkerError> {
        if self.consumer.is_lost() {
            return Ok(());
        }
        let mut offsets = crate::kafka::consumer::Offsets::new();
        for owned in self.owned.values_mut() {
            let positions = owned.fetch_positions();
            offsets.extend(positions.iter().enumerate().map(|(lane, offset)| ((lane, owned.number), *offset)));
        }
        Ok(self.consumer.assign(&offsets)?)
    }

    fn renew_producer(&mut self) -> Result<(), WorkerError> {
        if let Some(producer) = self.producer.take() {
            producer.close();
        }
        let (engine, index) = (self.engine, self.index);
        let on_wait = |error: &KafkaError| engine.waits_for(index, Some(error));
        let id = engine.settings.member(index);
        let producer = engine.clients.start_producer(&id, &self.watchdog, &engine.stop, on_wait);
        self.producer = match producer {
            Err(KafkaError::Stopped) => None,
            producer => Some(producer?),
        };
        engine.waits_for(index, None);
        Ok(())
    }

    /// Puts all partitions down; what they hold in memory only is written to disk, so that whoever takes them up here has
    /// less to read.
    fn put_down(&mut self) {
        for (number, mut owned) in std::mem::take(&mut self.owned) {
            for (segment, count) in owned.members() {
                self.metrics.members_moved(segment, -count);
            }
            if let Err(error) = owned.save() {
                tracing::warn!(partition = number, %error, "writing a store");
            }
        }
        self.wants.clear();
        self.uncommitted_since = None;
        self.tell_owned();
    }

    fn waits_for(&mut self, error: Option<&KafkaError>) {
        self.engine.waits_for(self.index, error);
    }
}
