//! What the group decides, followed: partitions put down when they are taken away, restored when they are given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::Engine as Evaluator;
use crate::kafka::consumer::{Event, Offsets};
use crate::kafka::{KafkaError, Stop};
use crate::partition::Partition;

use super::batch::{Owned, Start};
use super::clock::now;
use super::marker::Marker;
use super::restore::{Restore, RestoreError, Restored};
use super::supervisor::Engine;
use super::{Worker, WorkerError};

/// Partitions restored side by side by one worker.
const AT_ONCE: usize = 4;
/// The group may for a moment not know offsets that it has; so often it is asked again before that is believed.
const DOUBTS: u32 = 3;
const AGAIN: Duration = Duration::from_secs(1);

/// Partitions on their way back.
pub(super) struct Restoring {
    numbers: BTreeSet<i32>,
    doubts: u32,
    phase: Phase,
}

enum Phase {
    /// The group's offsets are still to be asked for, not before this.
    Asking(Instant),
    /// Threads read the changelog.
    Reading(Reading),
}

struct Reading {
    committed: Offsets,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
    results: Receiver<(i32, Result<Restored, RestoreError>)>,
    /// Read, and waiting for the others.
    done: BTreeMap<i32, Restored>,
    remaining: BTreeMap<i32, Arc<AtomicI64>>,
}

impl Restoring {
    pub(super) fn numbers(&self) -> Vec<i32> {
        self.numbers.iter().copied().collect()
    }

    /// How many offsets of the changelog each partition has still to read.
    pub(super) fn remaining(&self) -> impl Iterator<Item = (i32, i64)> + '_ {
        let reading = match &self.phase {
            Phase::Reading(reading) => Some(reading),
            Phase::Asking(_) => None,
        };
        let remaining = reading.into_iter().flat_map(|reading| &reading.remaining);
        remaining.map(|(number, remaining)| (*number, remaining.load(Ordering::Relaxed).max(0)))
    }
}

impl Worker<'_> {
    /// Does what the group decided.
    pub(super) fn follow_group(&mut self) -> Result<(), WorkerError> {
        while let Some(event) = self.consumer.event()? {
            match event {
                Event::Assigned(numbers) => {
                    tracing::info!(worker = self.index, partitions = ?numbers, "given");
                    // Nothing is fetched before the state is there; the group can go on meanwhile.
                    self.consumer.assign(&Offsets::new())?;
                    self.engine.status.update(self.index, |state| state.assigned = true);
                    self.restore(numbers);
                }
                Event::Revoked { lost } => {
                    tracing::info!(worker = self.index, lost, "taken away");
                    self.stop_restoring();
                    if !lost {
                        self.commit_before_leaving();
                    }
                    self.stop_restoring();
                    self.put_down();
                    self.consumer.unassign()?;
                }
            }
        }
        Ok(())
    }

    /// A last commit; should it fail, the next owner reads the input again.
    fn commit_before_leaving(&mut self) {
        if let Err(error) = self.commit_all() {
            tracing::warn!(worker = self.index, %error, "committing before the partitions are put down");
        }
    }

    /// Begins to bring partitions back.
    pub(super) fn restore(&mut self, numbers: BTreeSet<i32>) {
        self.stop_restoring();
        if !numbers.is_empty() {
            self.restoring = Some(Restoring { numbers, doubts: 0, phase: Phase::Asking(now()) });
        }
        self.tell_owned();
    }

    pub(super) fn stop_restoring(&mut self) {
        if let Some(Restoring { phase: Phase::Reading(reading), .. }) = self.restoring.take() {
            reading.stop.request();
            for thread in reading.threads {
                // A panic there was reported when it happened, and nothing of its work is used.
                let _ = thread.join();
            }
        }
    }

    /// Takes the next step of a restore, and puts the partitions to work once they are all there.
    pub(super) fn take_restored(&mut self) -> Result<(), WorkerError> {
        let Some(mut restoring) = self.restoring.take() else { return Ok(()) };
        let finished = match &mut restoring.phase {
            Phase::Asking(not_before) if now() < *not_before => false,
            Phase::Asking(_) => {
                match self.consumer.committed(&restoring.numbers) {
                    Ok(committed) => {
                        self.waits_for(None);
                        let reading = read(self.engine, &restoring.numbers, committed);
                        restoring.phase = Phase::Reading(reading);
                    }
                    Err(error) if error.is_passing() => {
                        self.waits_for(Some(&error));
                        restoring.phase = Phase::Asking(now() + AGAIN);
                    }
                    Err(error) => return Err(error.into()),
                }
                false
            }
            Phase::Reading(reading) => match reading.collect()? {
                Outcome::Going => false,
                Outcome::Done => true,
                Outcome::Failed(error) => {
                    return self.doubt(restoring, error);
                }
            },
        };
        if !finished {
            self.restoring = Some(restoring);
            return Ok(());
        }
        let Phase::Reading(reading) = restoring.phase else { return Ok(()) };
        self.put_to_work(reading.done, &reading.committed)
    }

    /// A disagreement may be the group's moment of forgetfulness, and a broker may be away; both pass.
    fn doubt(&mut self, mut restoring: Restoring, error: RestoreError) -> Result<(), WorkerError> {
        let passes = match &error {
            RestoreError::Kafka(KafkaError::Stopped) => return Ok(()),
            RestoreError::Kafka(error) => error.is_passing(),
            RestoreError::Disagreement { .. } => {
                restoring.doubts += 1;
                restoring.doubts <= DOUBTS
            }
            _ => false,
        };
        if let Phase::Reading(reading) = std::mem::replace(&mut restoring.phase, Phase::Asking(now() + AGAIN)) {
            reading.stop.request();
            for thread in reading.threads {
                let _ = thread.join();
            }
        }
        if !passes {
            return Err(error.into());
        }
        tracing::warn!(worker = self.index, %error, "restoring again");
        self.restoring = Some(restoring);
        Ok(())
    }

    fn put_to_work(&mut self, restored: BTreeMap<i32, Restored>, committed: &Offsets) -> Result<(), WorkerError> {
        let beginnings = self.beginnings(&restored, committed)?;
        let engine = self.engine;
        for (number, Restored { store, marker, members }) in restored {
            let positions = (0..engine.settings.inputs.len()).map(|lane| {
                let of_marker =
                    marker.as_ref().and_then(|marker| marker.offsets.get(&engine.settings.inputs[lane].topic));
                let known = committed.get(&(lane, number)).or(of_marker).or(beginnings.get(&(lane, number)));
                known.copied().unwrap_or(0)
            });
            let positions = positions.collect();
            let blank = || Marker::new(0, BTreeMap::new(), None, engine.partitions, engine.catalog.hash);
            let marker = marker.unwrap_or_else(blank);
            let evaluator = Evaluator::new(engine.catalog.clone(), engine.settings.limits);
            let erasure_key = engine.settings.erasure_key.clone();
            let partition = Partition::new(evaluator, store.clone(), erasure_key, marker.clock).resumed()?;
            let count = |key| members.get(&key).copied().unwrap_or_default();
            let members = partition.segment_names().map(|(key, name)| (name, count(key))).collect();
            let metrics = self.metrics.partition(number);
            let start = Start { number, partition, store, marker, positions, members, metrics };
            let owned = Owned::new(start, &engine.settings.inputs);
            for (segment, count) in owned.members() {
                self.metrics.members_moved(segment, count);
            }
            self.owned.insert(number, owned);
        }
        self.tell_owned();
        self.fetch_again()
    }

    /// The first offsets of lanes that were never read.
    fn beginnings(&self, restored: &BTreeMap<i32, Restored>, committed: &Offsets) -> Result<Offsets, WorkerError> {
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

enum Outcome {
    Going,
    Done,
    Failed(RestoreError),
}

impl Reading {
    /// Takes what the threads have brought.
    fn collect(&mut self) -> Result<Outcome, WorkerError> {
        loop {
            match self.results.try_recv() {
                Ok((number, Ok(restored))) => {
                    self.done.insert(number, restored);
                }
                Ok((_, Err(error))) => return Ok(Outcome::Failed(error)),
                Err(_) if self.done.len() == self.remaining.len() => return Ok(Outcome::Done),
                Err(TryRecvError::Empty) => return Ok(Outcome::Going),
                Err(TryRecvError::Disconnected) => {
                    let message = "a thread ended before its time".to_owned();
                    return Err(KafkaError::Refused { what: "restoring".to_owned(), message }.into());
                }
            }
        }
    }
}

/// Starts the threads that read the changelog.
fn read(engine: &Engine, numbers: &BTreeSet<i32>, committed: Offsets) -> Reading {
    let stop = Stop::default();
    let (sender, results) = channel();
    let remaining: BTreeMap<i32, _> = numbers.iter().map(|number| (*number, Arc::new(AtomicI64::new(0)))).collect();
    let queue = Arc::new(Mutex::new(remaining.clone()));
    let threads = (0..AT_ONCE.min(numbers.len())).map(|_| {
        let (engine, committed, stop) = (engine.clone(), committed.clone(), stop.clone());
        let (queue, sender) = (Arc::clone(&queue), sender.clone());
        std::thread::spawn(move || {
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
    Reading { threads: threads.collect(), committed, stop, results, done: BTreeMap::new(), remaining }
}

fn restore_one(
    engine: &Engine,
    number: i32,
    committed: &Offsets,
    stop: &Stop,
    remaining: &AtomicI64,
) -> Result<Restored, RestoreError> {
    let inputs = engine.settings.input_topics();
    let of_topic = |(lane, topic): (usize, &String)| Some((topic.clone(), *committed.get(&(lane, number))?));
    let committed = inputs.iter().enumerate().filter_map(of_topic).collect();
    let restore = Restore {
        clients: &engine.clients,
        changelog: &engine.outbox.changelog,
        partition: number,
        partitions: engine.partitions,
        path: &engine.settings.store_path(number),
        stores: &engine.stores,
        inputs: &inputs,
        committed: &committed,
        trust_markers: engine.settings.trust_markers,
        stop,
        remaining,
    };
    restore.run()
}
