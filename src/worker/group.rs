//! What the group decides, followed: partitions put down when they are taken away, restored when they are given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::Engine as Evaluator;
use crate::kafka::consumer::{Event, Offsets};
use crate::kafka::log::{Log as _, LogConsumer as _};
use crate::kafka::{KafkaError, Stop};
use crate::partition::Partition;
use crate::telemetry::PartitionMetrics;

use super::batch::{Owned, Start};
use super::clock::now;
use super::marker::Marker;
use super::restore::{Restore, RestoreError, Restored};
use super::supervisor::Engine;
use super::world::World;
use super::{Worker, WorkerError};

/// Partitions restored side by side by one worker, at most.
const AT_ONCE: usize = 4;
/// The group may for a moment not know offsets that it has; so often it is asked again before that is believed.
const DOUBTS: u32 = 3;
const AGAIN: Duration = Duration::from_secs(1);
/// How often, and after which pause each time, topics that do not fit together are looked at before that is believed.
const LOOKS: u32 = 12;
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Partitions on their way back.
pub(super) struct Restoring<W: World> {
    numbers: BTreeSet<i32>,
    metrics: BTreeMap<i32, PartitionMetrics>,
    doubts: u32,
    phase: Phase<W>,
}

/// What the group gave does not fit together.
pub(super) struct Torn {
    why: String,
    looks: u32,
    next_look: Instant,
}

enum Phase<W: World> {
    /// The group's offsets are still to be asked for, not before this.
    Asking(Instant),
    /// Threads read the changelog.
    Reading(Reading<W>),
}

struct Reading<W: World> {
    committed: Arc<Offsets>,
    stop: Stop,
    threads: Vec<W::Thread>,
    results: Receiver<(i32, Result<Restored<W>, RestoreError>)>,
    remaining: BTreeMap<i32, Arc<AtomicI64>>,
}

/// Partitions that are there, and the first failure.
type Brought<W> = (BTreeMap<i32, Restored<W>>, Option<RestoreError>);

impl<W: World> Restoring<W> {
    pub(super) fn numbers(&self) -> Vec<i32> {
        self.numbers.iter().copied().collect()
    }

    /// Says how many offsets of the changelog each partition has still to read.
    pub(super) fn report(&self) {
        let Phase::Reading(reading) = &self.phase else { return };
        for (number, metrics) in &self.metrics {
            let remaining =
                reading.remaining.get(number).map_or(0, |remaining| remaining.load(Ordering::Relaxed).max(0));
            metrics.restore_remaining_records(remaining);
            tracing::info!(partition = number, remaining, "restoring");
        }
    }
}

impl<W: World> Worker<'_, W> {
    /// Does what the group decided.
    pub(super) fn follow_group(&mut self) -> Result<(), WorkerError> {
        while let Some(event) = self.consumer.event() {
            match event {
                Event::Assigned(numbers) => {
                    tracing::info!(worker = self.index, partitions = ?numbers, "given");
                    // Nothing is fetched before the state is there; the group can go on meanwhile.
                    self.consumer.assign(&Offsets::new())?;
                    self.engine.status.update(self.index, |state| state.assigned = true);
                    self.refuse_new_partitions(&numbers)?;
                    self.restore(numbers);
                }
                Event::Revoked { lost } => {
                    self.torn = None;
                    tracing::info!(worker = self.index, lost, "taken away");
                    self.stop_restoring();
                    self.commit_before_leaving(lost)?;
                    self.stop_restoring();
                    self.put_down();
                    self.consumer.unassign()?;
                }
                Event::Torn(why) => {
                    tracing::warn!(worker = self.index, why, "given what does not fit together");
                    self.torn = Some(Torn { why, looks: 0, next_look: now() });
                }
            }
        }
        self.look_at_topics()
    }

    /// More partitions than the state was made for.
    fn refuse_new_partitions(&self, numbers: &BTreeSet<i32>) -> Result<(), RestoreError> {
        match numbers.last() {
            Some(last) if *last >= self.engine.partitions => Err(RestoreError::PartitionCount {
                partition: *last,
                changelog: self.engine.outbox.changelog.clone(),
                then: self.engine.partitions,
                now: *last + 1,
            }),
            _ => Ok(()),
        }
    }

    /// What does not fit together may do so once a broker that starts shows all topics, or once all members have the same
    /// configuration: the group then decides anew. Partition counts that differ stay so.
    fn look_at_topics(&mut self) -> Result<(), WorkerError> {
        let Some(torn) = self.torn.as_mut().filter(|torn| torn.next_look <= now()) else { return Ok(()) };
        torn.next_look = now() + LOOK_AGAIN;
        torn.looks += 1;
        let (message, is_last) = (torn.why.clone(), torn.looks >= LOOKS);
        let topics = self.engine.settings.input_topics();
        let partitions = self.engine.clients.shared_partitions(&topics);
        match partitions {
            Err(error) if error.is_passing() => self.waits_for(Some(&error)),
            Err(error) if is_last => return Err(error.into()),
            _ => self.waits_for(Some(&KafkaError::Unavailable { what: "consumer group".to_owned(), message })),
        }
        Ok(())
    }

    /// A last commit; or, where the partitions are lost and nothing more can be committed, the end of the one under way, and
    /// what was sent ahead is thrown away. Should a store fail, the next owner reads the changelog. A transaction that is
    /// refused stops us here as anywhere: it is still open, and must not become part of the next one.
    fn commit_before_leaving(&mut self, lost: bool) -> Result<(), WorkerError> {
        let result = if lost { self.conclude_without_more() } else { self.commit_all() };
        match result {
            Err(WorkerError::Store(error)) => {
                tracing::warn!(worker = self.index, %error, "committing before the partitions are put down");
                Ok(())
            }
            result => result,
        }
    }

    /// Begins to bring partitions back.
    pub(super) fn restore(&mut self, numbers: BTreeSet<i32>) {
        self.stop_restoring();
        if !numbers.is_empty() {
            let metrics = numbers.iter().map(|number| (*number, self.metrics.partition(*number))).collect();
            self.restoring = Some(Restoring { numbers, metrics, doubts: 0, phase: Phase::Asking(now()) });
        }
        self.tell_owned();
    }

    pub(super) fn stop_restoring(&mut self) {
        if let Some(Restoring { phase: Phase::Reading(reading), .. }) = self.restoring.take() {
            reading.end();
        }
    }

    /// Takes the next step of a restore, and puts each partition to work as soon as it is there.
    pub(super) fn take_restored(&mut self) -> Result<(), WorkerError> {
        let Some(mut restoring) = self.restoring.take() else { return Ok(()) };
        match &mut restoring.phase {
            Phase::Asking(not_before) if now() < *not_before => {}
            Phase::Asking(_) => match self.consumer.committed(&restoring.numbers) {
                Ok(committed) => {
                    self.waits_for(None);
                    restoring.phase = Phase::Reading(read(self.engine, &restoring.numbers, committed));
                }
                Err(error) if error.is_passing() => {
                    self.waits_for(Some(&error));
                    restoring.phase = Phase::Asking(now() + AGAIN);
                }
                Err(error) => return Err(error.into()),
            },
            Phase::Reading(reading) => {
                let (restored, failed) = reading.collect()?;
                let committed = Arc::clone(&reading.committed);
                if !restored.is_empty() {
                    restoring.numbers.retain(|number| !restored.contains_key(number));
                    let beginnings = self.beginnings(&restored, &committed)?;
                    for (number, restored) in restored {
                        let metrics = restoring.metrics.remove(&number);
                        self.put_to_work(number, restored, metrics, &committed, &beginnings)?;
                    }
                    self.fetch_again()?;
                }
                if let Some(error) = failed {
                    self.doubt(restoring, error)?;
                    self.tell_owned();
                    return Ok(());
                }
            }
        }
        self.restoring = Some(restoring).filter(|restoring| !restoring.numbers.is_empty());
        self.tell_owned();
        Ok(())
    }

    /// A disagreement may be the group's moment of forgetfulness, and a broker may be away; both pass.
    fn doubt(&mut self, mut restoring: Restoring<W>, error: RestoreError) -> Result<(), WorkerError> {
        let passes = match &error {
            RestoreError::Kafka(KafkaError::Stopped) => return Ok(()),
            RestoreError::Kafka(error) => error.is_passing(),
            // Others have the partitions by now, and have gone on with them; the group is about to say so.
            _ if self.consumer.is_lost() => return Ok(()),
            RestoreError::Disagreement { .. } | RestoreError::Truncated { .. } => {
                restoring.doubts += 1;
                restoring.doubts <= DOUBTS
            }
            _ => false,
        };
        if let Phase::Reading(reading) = std::mem::replace(&mut restoring.phase, Phase::Asking(now() + AGAIN)) {
            reading.end();
        }
        if !passes {
            return Err(error.into());
        }
        tracing::warn!(worker = self.index, %error, "restoring again");
        if let RestoreError::Kafka(error) = &error {
            self.waits_for(Some(error));
        }
        self.restoring = Some(restoring);
        Ok(())
    }

    fn put_to_work(
        &mut self,
        number: i32,
        restored: Restored<W>,
        metrics: Option<PartitionMetrics>,
        committed: &Offsets,
        beginnings: &Offsets,
    ) -> Result<(), WorkerError> {
        let engine = self.engine;
        let Restored { store, marker, census, changelog_end } = restored;
        let positions = engine.settings.inputs.iter().enumerate().map(|(lane, input)| {
            let of_marker = marker.as_ref().and_then(|marker| marker.offsets.get(&input.topic));
            let known = committed.get(&(lane, number)).or(of_marker).or(beginnings.get(&(lane, number)));
            known.copied().unwrap_or(0)
        });
        let positions = positions.collect();
        let blank = || Marker::new(0, BTreeMap::new(), None, engine.partitions, engine.catalog.hash);
        let marker = marker.unwrap_or_else(blank);
        let evaluator = Evaluator::new(engine.catalog.clone(), engine.settings.limits);
        let erasure_key = engine.settings.erasure_key.clone();
        let mut partition = Partition::new(evaluator, store.clone(), erasure_key, marker.clock).resumed()?;
        partition.limit_memory(engine.customers_memory_bytes());
        let count = |key| census.members.get(&key).copied().unwrap_or_default();
        let members = partition.segment_names().map(|(key, name)| (name, count(key))).collect();
        let metrics = metrics.unwrap_or_else(|| self.metrics.partition(number));
        metrics.restore_remaining_records(0);
        let n_deadlines = census.n_deadlines;
        let mark_len = i64::from(!engine.settings.is_mock);
        let start = Start {
            number,
            partition,
            store,
            marker,
            positions,
            members,
            n_deadlines,
            changelog_end,
            mark_len,
            metrics,
        };
        let owned = Owned::new(start, &engine.settings.inputs);
        tracing::info!(worker = self.index, partition = number, timers = n_deadlines, "put to work");
        for (segment, count) in owned.members() {
            self.metrics.members_moved(segment, count);
        }
        self.owned.insert(number, owned);
        Ok(())
    }

    /// The first offsets of lanes that were never read.
    fn beginnings(&self, restored: &BTreeMap<i32, Restored<W>>, committed: &Offsets) -> Result<Offsets, WorkerError> {
        let lanes = 0..self.engine.settings.inputs.len();
        let unread = lanes.flat_map(|lane| restored.keys().map(move |number| (lane, *number)));
        let unread: Vec<_> = unread.filter(|of| !committed.contains_key(of)).collect();
        let ask = || self.consumer.beginnings(unread.iter().copied());
        Ok(crate::kafka::patiently(&self.engine.stop, ask, |error| self.engine.waits_for(self.index, Some(error)))?)
    }

    /// Tells what is owned and what is on its way.
    pub(super) fn tell_owned(&mut self) {
        let restoring: Vec<i32> = self.restoring.as_ref().map(Restoring::numbers).unwrap_or_default();
        let mut owned: Vec<i32> = self.owned.keys().copied().chain(restoring.iter().copied()).collect();
        owned.sort_unstable();
        let partitions = self.engine.partitions;
        self.engine.status.update(self.index, |state| {
            state.owned = owned;
            state.restoring = restoring;
            state.n_partitions = partitions;
        });
    }
}

impl<W: World> Reading<W> {
    /// Takes what the threads have brought: partitions, and the first failure.
    fn collect(&mut self) -> Result<Brought<W>, WorkerError> {
        let mut done = BTreeMap::new();
        loop {
            match self.results.try_recv() {
                Ok((number, Ok(restored))) => {
                    self.remaining.remove(&number);
                    done.insert(number, restored);
                }
                Ok((_, Err(error))) => return Ok((done, Some(error))),
                Err(TryRecvError::Empty) => return Ok((done, None)),
                Err(TryRecvError::Disconnected) if self.remaining.is_empty() => return Ok((done, None)),
                Err(TryRecvError::Disconnected) => {
                    let message = "a thread ended before its time".to_owned();
                    return Err(KafkaError::Refused { what: "restoring".to_owned(), message }.into());
                }
            }
        }
    }

    /// Ends the threads, and waits for them.
    fn end(self) {
        self.stop.request();
        for thread in self.threads {
            W::join(thread);
        }
    }
}

/// Starts the threads that read the changelog.
fn read<W: World>(engine: &Engine<W>, numbers: &BTreeSet<i32>, committed: Offsets) -> Reading<W> {
    let (stop, committed) = (Stop::default(), Arc::new(committed));
    let (sender, results) = channel();
    let remaining: BTreeMap<i32, _> = numbers.iter().map(|number| (*number, Arc::new(AtomicI64::new(0)))).collect();
    let queue = Arc::new(Mutex::new(remaining.clone()));
    let threads = (0..AT_ONCE.min(numbers.len())).map(|_| {
        let (engine, committed, stop) = (engine.clone(), Arc::clone(&committed), stop.clone());
        let (queue, sender) = (Arc::clone(&queue), sender.clone());
        W::spawn(move || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
                let Some((number, remaining)) = next else { return };
                let result = restore_one(&engine, number, &committed, &stop, &remaining);
                if sender.send((number, result)).is_err() {
                    return;
                }
            }
        })
    });
    Reading { threads: threads.collect(), committed, stop, results, remaining }
}

fn restore_one<W: World>(
    engine: &Engine<W>,
    number: i32,
    committed: &Offsets,
    stop: &Stop,
    remaining: &AtomicI64,
) -> Result<Restored<W>, RestoreError> {
    let inputs = engine.settings.input_topics();
    let of_topic = |(lane, topic): (usize, &String)| Some((topic.clone(), *committed.get(&(lane, number))?));
    let committed = inputs.iter().enumerate().filter_map(of_topic).collect();
    let restore: Restore<'_, W> = Restore {
        clients: &engine.clients,
        changelog: &engine.outbox.changelog,
        partition: number,
        partitions: engine.partitions,
        path: &engine.settings.store_path(number),
        stores: &engine.stores,
        inputs: &inputs,
        committed: &committed,
        is_mock: engine.settings.is_mock,
        stop,
        remaining,
    };
    restore.run()
}
