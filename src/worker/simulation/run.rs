//! One run: processes that come and go over a broker and disks, under a storm that ends, and then calm until all is done.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::broker::{Broker, Sent};
use super::check::check;
use super::disk::{Mishap, Mount};
use super::net::{Net, TOO_LARGE};
use super::random::Random;
use super::rules::Break;
use super::scene::{Rates, Scene};
use super::schedule::{Process, START_MS, Schedule, Task, current};
use super::traffic::{Arrival, INPUTS, Reference, arrivals, limits, site};
use crate::kafka::watchdog::Watchdog;
use crate::kafka::{KafkaError, Stop};
use crate::partition::ErasureKey;
use crate::worker::exchange::Exchange;
use crate::worker::outbox::{Format, Outbox};
use crate::worker::query::ends;
use crate::worker::settings::{Input, Settings};
use crate::worker::status::Status;
use crate::worker::supervisor::Engine;
use crate::worker::world::World;
use crate::worker::{WorkerError, run};

/// Partitions of each topic.
pub(super) const PARTITIONS: i32 = 3;
/// How long records arrive, and how long the storm lasts.
const TRAFFIC_MS: i64 = 22_000;
const STORM_MS: i64 = 26_000;
/// How long it may then take until everything is done.
const PATIENCE_MS: i64 = 90_000;
/// How long the engines go on after that: their clocks pass what was due.
const REST_MS: i64 = 12_000;
/// How far wall clocks are behind or ahead. Further ahead, and what comes late comes behind the partition clock, which makes a
/// difference that is no fault.
const CLOCKS_MS: std::ops::Range<i64> = -6_000..5_000;

/// What is outside of the workers, simulated.
#[derive(Clone)]
struct Simulated;

impl World for Simulated {
    type Log = Net;
    type Stores = Mount;
    type Thread = Task;

    fn spawn(work: impl FnOnce() + Send + 'static) -> Task {
        let (process, name) = super::schedule::current_process();
        current().spawn(&format!("{name}+"), process, work)
    }

    fn join(task: Task) {
        while !current().has_ended(task) {
            current().pass(2);
        }
    }
}

/// What came of a run.
pub(super) struct Outcome {
    /// What must not be, if anything is.
    pub(super) complaints: Vec<String>,
    pub(super) trace: Vec<String>,
}

/// A place where a process runs, and starts again.
struct Host {
    name: String,
    directory: PathBuf,
    n_workers: usize,
    running: Option<Running>,
    start_at: i64,
    /// Whether it is to run at all.
    is_wanted: bool,
    /// How far its wall clock is ahead of time, milliseconds.
    clock_ms: i64,
}

struct Running {
    process: Process,
    tasks: Vec<Task>,
    stop: Stop,
    errors: Arc<Mutex<Vec<WorkerError>>>,
}

/// A run.
struct Run {
    scene: Arc<Scene>,
    random: Random,
    hosts: Vec<Host>,
    /// Processes whose name another has taken, and when they end.
    replaced: Vec<(Running, i64)>,
    n_processes: usize,
    commit_interval: Duration,
    commit_max_events: usize,
    store_memory_bytes: usize,
    reference: Reference,
    complaints: Vec<String>,
}

/// Does what a seed leads to.
pub(super) fn simulate(seed: u64, broken: Option<Break>) -> Outcome {
    let schedule = Schedule::begin(seed);
    let mut random = Random::new(seed ^ 0x5eed);
    let topics = ["changes", "memberships", "dead_letters", "segue-changelog"];
    let topics = INPUTS.iter().map(|(_, topic)| *topic).chain(topics);
    let topics: Vec<_> = topics.map(|topic| (topic.to_owned(), PARTITIONS)).collect();
    let broker = Broker::new(&topics, "segue-changelog", PARTITIONS, broken);
    let some = |random: &mut Random, rates: &[u32]| *random.pick(rates);
    let rates = Rates {
        kill: some(&mut random, &[0, 1, 3]),
        freeze: some(&mut random, &[0, 1, 3]),
        transaction: some(&mut random, &[0, 20, 100]),
        forget: some(&mut random, &[0, 0, 50]),
    };
    let scene = Scene::new(schedule.clone(), broker, rates, broken);
    let host = |number: usize, random: &mut Random| Host {
        name: format!("host-{number}"),
        directory: PathBuf::from(format!("host-{number}")),
        n_workers: 1 + random.below(2),
        running: None,
        start_at: 0,
        is_wanted: number == 0,
        clock_ms: 0,
    };
    let hosts = (0..3).map(|number| host(number, &mut random)).collect();
    let mut run = Run {
        hosts,
        replaced: Vec::new(),
        n_processes: 0,
        commit_interval: Duration::from_millis(random.between(50, 400).unsigned_abs()),
        commit_max_events: 1 + random.below(20),
        // In some runs, next to nobody stays in memory.
        store_memory_bytes: *random.pick(&[1 << 20, 1 << 14]),
        reference: Reference::new(PARTITIONS),
        complaints: Vec::new(),
        random,
        scene,
    };
    run.start_broker();
    run.storm();
    run.calm();
    let complaints = run.verdict();
    let Run { scene, .. } = run;
    let (trace, panics) = scene.schedule.finish();
    let panics = panics.into_iter().map(|panic| format!("panic: {panic}"));
    Outcome { complaints: panics.chain(complaints).collect(), trace }
}

impl Run {
    fn now(&self) -> i64 {
        self.scene.now()
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        self.random.chance(per_mille)
    }

    /// The broker's own time goes by in a thread of its own.
    fn start_broker(&self) {
        let scene = self.scene.clone();
        self.scene.schedule.spawn("broker", None, move || {
            let mut n_rounds = 0;
            loop {
                scene.schedule.pass(scene.between(20, 200));
                n_rounds += 1;
                scene.deliver();
                let now = scene.now();
                let mut random = Random::new(scene.schedule.draw(Random::next));
                let mut broker = scene.broker();
                broker.tick(&mut random, now, |process| scene.is_heard(process));
                broker.tick_alone(now, |process| scene.is_alive(process) && !scene.is_reachable(process));
                if n_rounds % 40 == 0 {
                    (0..PARTITIONS).for_each(|number| broker.partition_mut("segue-changelog", number).compact());
                }
            }
        });
    }

    /// Records arrive while everything goes wrong.
    fn storm(&mut self) {
        let n_customers = 4 + self.random.below(6);
        let mut arriving = arrivals(&mut self.random, n_customers, TRAFFIC_MS).into_iter().peekable();
        while self.now() < START_MS + STORM_MS {
            while let Some(arrival) = arriving.next_if(|arrival| arrival.at <= self.now()) {
                self.arrive(&arrival);
            }
            self.strike();
            self.look_after_hosts();
            let next = arriving.peek().map_or(i64::MAX, |arrival| arrival.at);
            let pause = self.random.between(20, 250);
            self.scene.schedule.pass_until((self.now() + pause).min(next.max(self.now() + 1)));
        }
    }

    fn arrive(&mut self, arrival: &Arrival) {
        let topic = INPUTS[arrival.lane].1;
        let key = arrival.customer.clone().into_bytes();
        let mut broker = self.scene.broker();
        let number = broker.partition_of(topic, &key);
        let record = Sent { key: Some(key), value: Some(arrival.value.clone()), ..Sent::default() };
        let now = self.scene.now();
        let offset = broker.append((topic, number), record, now, arrival.how);
        drop(broker);
        let arrival = Arrival { at: now, ..arrival.clone() };
        self.reference.offer(&arrival, number, offset);
    }

    /// Something may go wrong: in the network, on a disk, with a whole process.
    fn strike(&mut self) {
        let now = self.now();
        if self.chance(8) {
            let for_ms = self.random.between(100, 5_000);
            self.scene.schedule.note(&format!("the broker is away for {for_ms} ms"));
            self.scene.storm().away_until = now + for_ms;
        }
        if self.chance(8) {
            self.scene.schedule.note("the group is put together anew");
            self.scene.broker().rebalance(now);
        }
        let number = self.random.below(self.hosts.len());
        let directory = self.hosts[number].directory.clone();
        let Some(process) = self.hosts[number].running.as_ref().map(|running| running.process) else {
            if self.chance(60) {
                let mishap = *self.random.pick(&[Mishap::Lost, Mishap::Old, Mishap::Old, Mishap::Damaged]);
                self.scene.schedule.note(&format!("{}: {mishap:?}", directory.display()));
                let random = &mut self.random;
                self.scene.disks().befall(&directory, mishap, |bound| random.below(bound));
            }
            if self.chance(30) {
                self.hosts[number].is_wanted = true;
            }
            return;
        };
        match self.random.below(220) {
            0 => self.scene.kill(process, "any time"),
            1 | 2 => {
                let for_ms = self.random.between(100, 9_000);
                self.scene.schedule.note(&format!("process {process} is halted for {for_ms} ms"));
                self.scene.schedule.freeze(process, now + for_ms);
            }
            3 | 4 => {
                let for_ms = self.random.between(100, 7_000);
                self.scene.schedule.note(&format!("process {process} is cut off for {for_ms} ms"));
                self.scene.storm().cut_until.insert(process, now + for_ms);
            }
            5 | 6 => self.ask_to_end(number),
            7 => {
                self.hosts[number].is_wanted = false;
                self.ask_to_end(number);
            }
            8 => self.replace(number),
            9 => {
                self.scene.schedule.note(&format!("{} is full", directory.display()));
                self.scene.disks().fill_up(&directory, true);
            }
            10 | 11 => {
                let ahead_ms = self.random.between(CLOCKS_MS.start, CLOCKS_MS.end);
                self.scene.schedule.note(&format!("the clock of process {process} is set {ahead_ms} ms ahead"));
                self.hosts[number].clock_ms = ahead_ms;
                self.scene.schedule.set_clock(process, ahead_ms);
            }
            _ => {}
        }
    }

    fn ask_to_end(&mut self, number: usize) {
        if let Some(running) = &self.hosts[number].running {
            self.scene.schedule.note(&format!("process {} is asked to end", running.process));
            running.stop.request();
        }
    }

    /// A process is halted, and another of its name is started elsewhere; the first wakes up when that is long at work.
    fn replace(&mut self, number: usize) {
        let now = self.now();
        let Some(running) = self.hosts[number].running.take() else { return };
        let wakes_at = now + self.random.between(100, 6_000);
        self.scene.schedule.note(&format!("process {} is halted, and replaced", running.process));
        self.scene.schedule.freeze(running.process, wakes_at);
        let ends_at = wakes_at + self.random.between(0, 2_500);
        self.replaced.push((running, ends_at));
        let host = &mut self.hosts[number];
        let former =
            std::mem::replace(&mut host.directory, PathBuf::from(format!("{}-{}", host.name, self.n_processes)));
        host.start_at = now;
        if self.random.chance(500) {
            let copied = self.hosts[number].directory.clone();
            self.scene.disks().copy(&former, &copied);
        }
    }

    /// Starts what is not running and should; sees to what has ended.
    fn look_after_hosts(&mut self) {
        let now = self.now();
        for (running, _) in self.replaced.extract_if(.., |(_, ends_at)| *ends_at <= now).collect::<Vec<_>>() {
            if running.tasks.iter().any(|task| !self.scene.schedule.has_ended(*task)) {
                self.scene.kill(running.process, "replaced");
            }
        }
        let to_replace = std::mem::take(&mut self.scene.storm().to_replace);
        for number in 0..self.hosts.len() {
            let process = self.hosts[number].running.as_ref().map(|running| running.process);
            if process.is_some_and(|process| to_replace.contains(&process)) {
                self.replace(number);
            }
            self.see_to_end(number);
            let host = &self.hosts[number];
            if host.is_wanted && host.running.is_none() && now >= host.start_at {
                self.start(number);
            }
        }
        if !self.hosts.iter().any(|host| host.is_wanted) {
            self.hosts[0].is_wanted = true;
        }
    }

    fn see_to_end(&mut self, number: usize) {
        let now = self.now();
        let Some(running) = &self.hosts[number].running else { return };
        let mut errors = running.errors.lock().unwrap();
        if !errors.is_empty() {
            running.stop.request();
        }
        let has_ended = |task: &Task| self.scene.schedule.has_ended(*task);
        if !running.tasks.iter().all(has_ended) {
            return;
        }
        for error in errors.drain(..) {
            let text = error.to_string();
            self.scene.schedule.note(&format!("process {} has ended: {text}", running.process));
            // As `supervisor` has it: one that was asked to end may say so.
            let was_asked = matches!(error, WorkerError::Kafka(KafkaError::Stopped));
            let is_meant = text.contains("no space left") || text.contains(TOO_LARGE);
            if !was_asked && !is_meant {
                self.complaints.push(format!("stopped: {text}"));
            }
        }
        drop(errors);
        let host = &mut self.hosts[number];
        host.running = None;
        host.start_at = now + self.random.between(10, 4_000);
        self.scene.disks().fill_up(&host.directory, false);
    }

    fn start(&mut self, number: usize) {
        let process = self.n_processes;
        self.n_processes += 1;
        let stop = Stop::default();
        let engine = self.engine(number, process, &stop);
        let host = &mut self.hosts[number];
        let errors: Arc<Mutex<Vec<WorkerError>>> = Arc::default();
        self.scene.schedule.note(&format!("process {process} starts as {}", host.name));
        self.scene.schedule.set_clock(process, host.clock_ms);
        let start = |index: usize| {
            let (engine, errors) = (engine.clone(), errors.clone());
            let work = move || {
                let (_asker, inbox) = ends();
                if let Err(error) = run(&engine, index, &inbox, &Watchdog::default()) {
                    errors.lock().unwrap().push(error);
                }
            };
            self.scene.schedule.spawn(&format!("{process}.{index}"), Some(process), work)
        };
        let tasks = (0..host.n_workers).map(start).collect();
        host.running = Some(Running { process, tasks, stop, errors });
    }

    fn engine(&self, number: usize, process: Process, stop: &Stop) -> Engine<Simulated> {
        let (site, host) = (site(), &self.hosts[number]);
        let input = |(kind, topic): &(&str, &str)| Input { event_type: (*kind).to_owned(), topic: (*topic).to_owned() };
        let settings = Settings {
            application: "segue".to_owned(),
            instance: host.name.clone(),
            address: String::new(),
            data_dir: host.directory.clone(),
            workers: host.n_workers,
            inputs: INPUTS.iter().map(input).collect(),
            changes: "changes".to_owned(),
            memberships: "memberships".to_owned(),
            dead_letters: "dead_letters".to_owned(),
            commit_interval: self.commit_interval,
            commit_max_events: self.commit_max_events,
            limits: limits(),
            erasure_key: ErasureKey::default(),
            store_memory_bytes: self.store_memory_bytes,
            trust_markers: false,
        };
        Engine {
            clients: Net { scene: self.scene.clone(), process },
            catalog: site.catalog.clone(),
            schemas: site.schemas.clone(),
            registry: None,
            stores: Mount { scene: self.scene.clone(), process },
            telemetry: site.telemetry.clone(),
            status: Status::new(host.n_workers, site.catalog.clone()),
            stop: stop.clone(),
            outbox: Outbox {
                changes: settings.changes.clone(),
                memberships: settings.memberships.clone(),
                dead_letters: settings.dead_letters.clone(),
                changelog: settings.changelog(),
                percentiles: settings.percentiles(),
                format: Format::Json,
                source: "segue".to_owned(),
            },
            exchange: Exchange::default(),
            partitions: PARTITIONS,
            settings: Arc::new(settings),
        }
    }

    /// Nothing goes wrong any more; until all that arrived is committed, and the processes have ended.
    fn calm(&mut self) {
        self.scene.storm().is_over = true;
        self.hosts.iter().for_each(|host| self.scene.disks().fill_up(&host.directory, false));
        self.scene.schedule.note("calm");
        for (running, _) in std::mem::take(&mut self.replaced) {
            self.scene.kill(running.process, "replaced");
        }
        let n_wanted = 1 + self.random.below(self.hosts.len());
        for number in 0..self.hosts.len() {
            self.hosts[number].is_wanted = number < n_wanted;
            if number >= n_wanted {
                self.ask_to_end(number);
            }
        }
        let deadline = self.now() + PATIENCE_MS;
        while !self.is_all_committed() || self.hosts.iter().any(|host| host.is_wanted != host.running.is_some()) {
            if self.now() > deadline || !self.complaints.is_empty() {
                self.complaints.push(format!("I9 not done {PATIENCE_MS} ms after the storm"));
                return;
            }
            self.look_after_hosts();
            self.scene.schedule.pass(250);
        }
        self.scene.schedule.note("all is committed");
        let rested_at = self.now() + REST_MS;
        while self.now() < rested_at {
            self.look_after_hosts();
            self.scene.schedule.pass(250);
        }
        (0..self.hosts.len()).for_each(|number| self.hosts[number].is_wanted = false);
        (0..self.hosts.len()).for_each(|number| self.ask_to_end(number));
        let deadline = self.now() + PATIENCE_MS;
        while self.hosts.iter().any(|host| host.running.is_some()) || self.scene.broker().is_unsettled() {
            if self.now() > deadline {
                self.complaints.push("I9 a process does not end".to_owned());
                return;
            }
            (0..self.hosts.len()).for_each(|number| self.see_to_end(number));
            self.scene.schedule.pass(100);
        }
    }

    fn is_all_committed(&self) -> bool {
        let broker = self.scene.broker();
        let places = INPUTS.iter().flat_map(|(_, topic)| (0..PARTITIONS).map(move |number| (*topic, number)));
        !broker.is_unsettled()
            && places.into_iter().all(|(topic, number)| {
                let log = broker.partition(topic, number);
                // What lies behind the last record may be marks.
                let end = log.committed().last().map_or(0, |(offset, _)| offset + 1);
                broker.committed(topic, number).is_ok_and(|offset| offset.unwrap_or_default() >= end)
            })
    }

    fn verdict(&mut self) -> Vec<String> {
        let mut complaints = std::mem::take(&mut self.complaints);
        complaints.append(&mut self.scene.broker().complaints);
        if complaints.is_empty() {
            let directories: Vec<_> = self.hosts.iter().map(|host| host.directory.clone()).collect();
            complaints = check(&self.scene, &mut self.reference, &directories);
        }
        complaints
    }
}
