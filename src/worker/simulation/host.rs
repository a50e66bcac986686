//! Where processes run: they start, are asked to end, end by themselves, are replaced, and start again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::disk::Mount;
use super::net::Net;
use super::registry::Registry;
use super::run::{PARTITIONS, Run};
use super::schedule::{Process, Task, current};
use super::sender::TOO_LARGE;
use super::site::{limits, site};
use super::traffic::INPUTS;
use crate::kafka::log::Log as _;
use crate::kafka::watchdog::Watchdog;
use crate::kafka::{KafkaError, Stop, patiently};
use crate::partition::ErasureKey;
use crate::worker::exchange::{self, Exchange};
use crate::worker::outbox::{Format, Outbox};
use crate::worker::query::ends;
use crate::worker::settings::{Input, Settings};
use crate::worker::status::Status;
use crate::worker::supervisor::Engine;
use crate::worker::topics::refuse_other_count;
use crate::worker::world::World;
use crate::worker::{WorkerError, run};

/// What is outside of the workers, simulated.
#[derive(Clone)]
struct Simulated;

impl World for Simulated {
    type Log = Net;
    type Registry = Registry;
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

/// A place where a process runs, and starts again.
pub(super) struct Host {
    pub(super) name: String,
    pub(super) directory: PathBuf,
    pub(super) n_workers: usize,
    pub(super) running: Option<Running>,
    pub(super) start_at: i64,
    /// Whether it is to run at all.
    pub(super) is_wanted: bool,
    /// How far its wall clock is ahead of time, milliseconds.
    pub(super) clock_ms: i64,
    /// The version of its definitions.
    pub(super) version: usize,
}

pub(super) struct Running {
    pub(super) process: Process,
    pub(super) tasks: Vec<Task>,
    pub(super) stop: Stop,
    pub(super) errors: Arc<Mutex<Vec<WorkerError>>>,
}

impl Host {
    pub(super) fn new(number: usize, n_workers: usize) -> Self {
        Self {
            name: format!("host-{number}"),
            directory: PathBuf::from(format!("host-{number}")),
            n_workers,
            running: None,
            start_at: 0,
            is_wanted: number == 0,
            clock_ms: 0,
            version: 0,
        }
    }
}

/// Looks at the topics, as a process does before its workers begin.
fn connect(mut engine: Engine<Simulated>) -> Result<Engine<Simulated>, WorkerError> {
    let (inputs, changelog) = (engine.settings.input_topics(), engine.settings.changelog());
    let attempt = || {
        let partitions = engine.clients.shared_partitions(&inputs)?;
        refuse_other_count(&engine.clients, &changelog, engine.clients.count(&changelog), partitions, &engine.stop)?;
        Ok(partitions)
    };
    engine.partitions = patiently(&engine.stop, attempt, |_| ())?;
    Ok(engine)
}

impl Run {
    pub(super) fn ask_to_end(&mut self, number: usize) {
        if let Some(running) = &self.hosts[number].running {
            self.scene.schedule.note(&format!("process {} is asked to end", running.process));
            running.stop.request();
        }
    }

    /// A process is halted, and another of its name is started elsewhere; the first wakes up when that is long at work.
    pub(super) fn replace(&mut self, number: usize) {
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
    pub(super) fn look_after_hosts(&mut self) {
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

    pub(super) fn see_to_end(&mut self, number: usize) {
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
            if !was_asked && !is_meant && !self.ruin.explains(&text) {
                self.complaints.push(format!("stopped: {text}"));
            }
        }
        drop(errors);
        let process = running.process;
        self.scene.storm().reading.retain(|(reader, ..)| *reader != process);
        let host = &mut self.hosts[number];
        host.running = None;
        host.start_at = now + self.random.between(10, 4_000);
        self.scene.disks().fill_up(&host.directory, false);
    }

    fn start(&mut self, number: usize) {
        let process = self.n_processes;
        self.n_processes += 1;
        let stop = Stop::default();
        self.update_definitions(number);
        let engine = self.engine(number, process, &stop);
        let host = &mut self.hosts[number];
        let errors: Arc<Mutex<Vec<WorkerError>>> = Arc::default();
        self.scene.schedule.note(&format!("process {process} starts as {}", host.name));
        self.scene.schedule.set_clock(process, host.clock_ms);
        let start = |index: usize| {
            let (engine, errors) = (engine.clone(), errors.clone());
            let work = move || {
                if let Err(error) =
                    connect(engine).and_then(|engine| run(&engine, index, &ends().1, &Watchdog::default()))
                {
                    errors.lock().unwrap().push(error);
                }
            };
            self.scene.schedule.spawn(&format!("{process}.{index}"), Some(process), work)
        };
        let mut tasks: Vec<Task> = (0..host.n_workers).map(start).collect();
        if !engine.catalog.percentiles.is_empty() {
            let work =
                move || exchange::follow(&engine.exchange, &engine.clients, &engine.outbox.percentiles, &engine.stop);
            tasks.push(self.scene.schedule.spawn(&format!("{process}.p"), Some(process), work));
        }
        host.running = Some(Running { process, tasks, stop, errors });
    }

    /// Somebody may have other definitions in mind.
    fn update_definitions(&mut self, number: usize) {
        let version = self.any_version();
        if std::mem::replace(&mut self.hosts[number].version, version) != version {
            self.scene.schedule.note(&format!("{} has definitions {version}", self.hosts[number].name));
        }
    }

    fn engine(&self, number: usize, process: Process, stop: &Stop) -> Engine<Simulated> {
        let (site, host) = (site(), &self.hosts[number]);
        let catalog = &site.catalogs[host.version];
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
            is_mock: false,
        };
        Engine {
            clients: Net { scene: self.scene.clone(), process },
            catalog: catalog.clone(),
            schemas: site.schemas.clone(),
            registry: Some(Registry { scene: self.scene.clone(), process }),
            stores: Mount { scene: self.scene.clone(), process },
            telemetry: site.telemetry.clone(),
            status: Status::new(host.n_workers, catalog.clone()),
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
}
