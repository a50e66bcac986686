//! What all threads of a run share: the broker, the disks, and the storm of faults that passes over them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::broker::{Broker, Produce};
use super::disk::Disks;
use super::rules::Break;
use super::schedule::{Process, Schedule, current_process};
use crate::kafka::KafkaError;
use crate::kafka::log::Place;
use crate::worker::restore::TRUSTED_MS;

/// How often what goes wrong, per mille; some runs are calm in some ways and wild in others.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    /// A process is killed at a step.
    pub(super) kill: u32,
    /// A process is halted at a step.
    pub(super) freeze: u32,
    /// A thread is held up at a step: by a slow disk, or whatever it waits for.
    pub(super) hold_up: u32,
    /// A transactional call fails, or its answer is lost.
    pub(super) transaction: u32,
    /// The group forgets its offsets for a moment.
    pub(super) forget: u32,
    /// How far two wall clocks may be apart, milliseconds.
    pub(super) clock_ms: i64,
}

/// What is going wrong now.
#[derive(Debug, Default)]
pub(super) struct Storm {
    pub(super) rates: Rates,
    pub(super) is_over: bool,
    /// Nobody reaches the broker before this.
    pub(super) away_until: i64,
    /// These processes do not.
    pub(super) cut_until: BTreeMap<Process, i64>,
    /// Nobody reaches the schema registry before this.
    pub(super) registry_away_until: i64,
    /// When the registry answers which process about which schema.
    pub(super) asked: BTreeMap<(Process, u32), i64>,
    /// Requests that the network has delayed.
    pub(super) in_flight: Vec<Delayed>,
    /// Which processes read which partitions of which topics from the beginning.
    pub(super) reading: BTreeSet<(Process, String, i32)>,
    /// Processes that are halted while others of their names are to be started.
    pub(super) to_replace: Vec<Process>,
    /// Processes that do not exist any more.
    pub(super) dead: BTreeSet<Process>,
    /// Members whose last transaction was aborted, for a world without rewinding.
    pub(super) aborted: BTreeSet<String>,
    /// Epochs of producers that are gone on with, for a world in which none is made anew.
    pub(super) epochs: BTreeMap<(Process, String), i32>,
}

/// A request of a producer that the network has delayed.
#[derive(Debug)]
pub(super) struct Delayed {
    pub(super) arrives_at: i64,
    pub(super) request: Request,
}

/// What it asks for.
#[derive(Debug)]
pub(super) enum Request {
    /// To commit the transaction of a producer of an epoch.
    Commit(String, i32),
    /// To take a record.
    Produce(Produce),
}

/// What all threads of a run share.
pub(super) struct Scene {
    pub(super) schedule: Arc<Schedule>,
    broker: Mutex<Broker>,
    disks: Mutex<Disks>,
    storm: Mutex<Storm>,
    pub(super) broken: Option<Break>,
}

impl Scene {
    pub(super) fn new(schedule: Arc<Schedule>, broker: Broker, rates: Rates, broken: Option<Break>) -> Arc<Self> {
        let scene = Arc::new(Self {
            schedule,
            broker: Mutex::new(broker),
            disks: Mutex::default(),
            storm: Mutex::new(Storm { rates, ..Storm::default() }),
            broken,
        });
        let of_steps = Arc::downgrade(&scene);
        scene.schedule.at_step(move |step| {
            if let (Some(scene), (Some(process), _)) = (of_steps.upgrade(), current_process()) {
                scene.step(process, step);
            }
        });
        scene
    }

    pub(super) fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn disks(&self) -> MutexGuard<'_, Disks> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn storm(&self) -> MutexGuard<'_, Storm> {
        self.storm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> i64 {
        self.schedule.now()
    }

    pub(super) fn chance(&self, per_mille: u32) -> bool {
        self.schedule.draw(|random| random.chance(per_mille))
    }

    pub(super) fn between(&self, from: i64, to: i64) -> i64 {
        self.schedule.draw(|random| random.between(from, to))
    }

    /// Whether something goes wrong that does so at this rate while the storm lasts.
    pub(super) fn strikes(&self, rate: impl FnOnce(&Rates) -> u32) -> bool {
        let storm = self.storm();
        let per_mille = if storm.is_over { 0 } else { rate(&storm.rates) };
        drop(storm);
        per_mille > 0 && self.chance(per_mille)
    }

    /// A process comes to a step at which it may be killed or halted, and at which others may go on.
    pub(super) fn step(&self, process: Process, step: &str) {
        if self.strikes(|rates| rates.kill) {
            self.kill(process, step);
        } else if self.strikes(|rates| rates.freeze) {
            let for_ms = if self.chance(500) { self.between(50, 2_000) } else { self.between(3_000, 14_000) };
            self.schedule.note(&format!("halted for {for_ms} ms at {step}"));
            self.schedule.freeze(process, self.now() + for_ms);
            if self.chance(300) {
                self.storm().to_replace.push(process);
            }
        } else if self.strikes(|rates| rates.hold_up) {
            let for_ms = self.between(100, 12_000);
            self.schedule.note(&format!("held up for {for_ms} ms at {step}"));
            self.schedule.pass(for_ms);
        } else if !self.chance(300) {
            return;
        }
        self.schedule.pass(0);
    }

    /// Ends a process as `kill -9` does.
    pub(super) fn kill(&self, process: Process, where_: &str) {
        self.schedule.note(&format!("process {process} is killed at {where_}"));
        self.storm().dead.insert(process);
        self.schedule.kill(process);
        self.disks().crash(process, |bound| self.schedule.draw(|random| random.below(bound)));
    }

    /// Whether a process reaches the broker at this moment.
    pub(super) fn is_reachable(&self, process: Process) -> bool {
        let (storm, now) = (self.storm(), self.now());
        now >= storm.away_until && storm.cut_until.get(&process).is_none_or(|until| now >= *until)
    }

    /// Whether the broker hears of a process at this moment.
    pub(super) fn is_heard(&self, process: Process) -> bool {
        self.is_alive(process) && self.is_reachable(process)
    }

    /// Whether a process exists and is not halted.
    pub(super) fn is_alive(&self, process: Process) -> bool {
        !self.storm().dead.contains(&process) && !self.schedule.is_frozen(process)
    }

    /// Waits until the broker can be reached.
    pub(super) fn reach(&self, process: Process, what: &str, patience_ms: i64) -> Result<(), KafkaError> {
        self.step(process, what);
        let deadline = self.now() + patience_ms;
        while !self.is_reachable(process) {
            if self.now() >= deadline {
                return Err(unavailable(what, "no answer"));
            }
            self.schedule.pass(self.between(20, 200));
        }
        Ok(())
    }

    /// Delays a request of a producer.
    pub(super) fn delay(&self, request: Request) {
        let arrives_at = self.now() + self.between(100, 3_000);
        self.storm().in_flight.push(Delayed { arrives_at, request });
    }

    /// Requests arrive that were on their way.
    pub(super) fn deliver(&self) {
        let now = self.now();
        let arrived: Vec<_> = self.storm().in_flight.extract_if(.., |delayed| delayed.arrives_at <= now).collect();
        for Delayed { request, .. } in arrived {
            match request {
                Request::Commit(name, epoch) => {
                    let result = self.broker().end((&name, epoch), true);
                    self.schedule.note(&format!("the end of a transaction of {name} arrives: {result:?}"));
                }
                Request::Produce(late) => {
                    let name = late.name.clone();
                    let result = self.broker().produce_late(late, now);
                    self.schedule.note(&format!("a late record arrives: {result:?}, of {name}"));
                }
            }
        }
    }

    /// A process begins or ends to read a partition.
    pub(super) fn reads(&self, process: Process, place: Place<'_>, is_reading: bool) {
        let reading = &mut self.storm().reading;
        let entry = (process, place.topic.to_owned(), place.partition);
        if is_reading {
            reading.insert(entry);
        } else {
            reading.remove(&entry);
        }
    }

    /// Removals from before this instant the changelog of a partition may forget: long after a store that does not know of
    /// them is trusted, and not while somebody reads. In the simulation all of that takes seconds.
    pub(super) fn forgotten_before(&self, partition: i32) -> i64 {
        let storm = self.storm();
        let mut readers = storm
            .reading
            .iter()
            .filter(|(_, topic, number)| (topic.as_str(), *number) == ("segue-changelog", partition));
        let is_read = readers.any(|(process, ..)| !storm.dead.contains(process));
        if is_read { i64::MIN } else { self.now() - TRUSTED_MS - storm.rates.clock_ms - 1_000 }
    }
}

/// An error that passes.
pub(super) fn unavailable(what: &str, message: &str) -> KafkaError {
    KafkaError::Unavailable { what: what.to_owned(), message: message.to_owned() }
}
