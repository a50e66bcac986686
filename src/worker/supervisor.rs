//! A process's workers: started together, told to end together, and the first that cannot go on ends all.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::{Config, OutputFormat};
use crate::engine::catalog::Catalog;
use crate::kafka::registry::Registry;
use crate::kafka::watchdog::Watchdog;
use crate::kafka::{Clients, KafkaError, Stop};
use crate::store::rocks::{Budget, Shared};
use crate::telemetry::Telemetry;
use crate::wire::canonical::fingerprint;
use crate::wire::change::Header;
use crate::wire::cloud_event::source;
use crate::wire::schema::SchemaSet;
use crate::wire::told::CHANGE_SCHEMA;
use crate::wire::writer::parse_writer;

use super::clock::wall_ms;
use super::exchange::{self, Exchange};
use super::feed::Feed;
use super::outbox::{Format, Outbox};
use super::peers::Peers;
use super::query::{Asker, ends};
use super::settings::Settings;
use super::status::Status;
use super::topics::prepare;
use super::world::{Live, World};
use super::{WorkerError, run};

/// The other record we write.
const MEMBERSHIP_SCHEMA: &str = include_str!("../../schemas/segment_membership.avsc");

/// How often the workers are looked after.
const LOOK: Duration = Duration::from_millis(20);

/// What all workers of a process share. Clones share it.
#[derive(Clone)]
pub struct Engine<W: World = Live> {
    /// How they work.
    pub settings: Arc<Settings>,
    /// How to reach the brokers.
    pub clients: W::Log,
    /// The definitions at work.
    pub catalog: Arc<Catalog>,
    /// The schemas of what comes in.
    pub schemas: Arc<SchemaSet>,
    /// The schema registry, where there is one.
    pub registry: Option<W::Registry>,
    /// Memory of the stores.
    pub stores: W::Stores,
    /// Counts and measures.
    pub telemetry: Telemetry,
    /// What the workers say of themselves.
    pub status: Status,
    /// Ends them.
    pub stop: Stop,
    pub(super) outbox: Outbox,
    pub(super) exchange: Exchange,
    pub(super) partitions: i32,
}

/// Workers at work.
pub struct Running {
    stop: Stop,
    threads: Vec<JoinHandle<Result<(), WorkerError>>>,
    watchdogs: Vec<Watchdog>,
    /// One for each worker.
    pub askers: Vec<Asker>,
    status: Status,
}

/// The process cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A worker said why.
    #[error("worker {worker}: {error}")]
    Worker {
        /// Which.
        worker: usize,
        /// Why.
        error: Box<WorkerError>,
    },
    /// A call to the broker never returned; the process must be ended from outside of the worker.
    #[error("worker {worker}: {call} did not return: the broker or the client library hangs")]
    Hanging {
        /// Which.
        worker: usize,
        /// Which call.
        call: &'static str,
    },
    /// A worker did not end within the deadline.
    #[error("worker {worker} did not end in time")]
    Late {
        /// Which.
        worker: usize,
    },
    /// A mistake in the program.
    #[error("worker {worker} panicked")]
    Panicked {
        /// Which.
        worker: usize,
    },
}

impl Engine {
    /// Connects: checks the topics, makes the internal and output ones that are missing, registers the output schemas.
    /// Waits for brokers and registry that are away.
    ///
    /// # Errors
    /// When the topics do not fit together, or brokers or registry refuse.
    pub fn connect(
        config: &Config,
        settings: Settings,
        catalog: Arc<Catalog>,
        schemas: Arc<SchemaSet>,
        telemetry: Telemetry,
        status: Status,
        stop: Stop,
    ) -> Result<Self, KafkaError> {
        let clients = Clients::new(&config.kafka.brokers, &config.kafka.properties.0)?;
        let on_outage = {
            let (status, telemetry) = (status.clone(), telemetry.clone());
            move |outage: Option<String>| {
                telemetry.waiting("registry", outage.is_some());
                status.update_all(|state| state.registry_outage.clone_from(&outage));
            }
        };
        on_outage(None);
        let registry = Registry::if_any(&config.schemas.registry.0, &stop, on_outage)?;
        let on_wait = |error: Option<&KafkaError>| {
            telemetry.waiting("broker", error.is_some());
            status.update_all(|state| state.waiting_for = error.map(ToString::to_string));
        };
        let partitions = prepare(&clients, &settings, on_wait, &stop)?;
        let format = format(config.output.format, registry.as_ref(), &settings)?;
        let outbox = Outbox {
            changes: settings.changes.clone(),
            memberships: settings.memberships.clone(),
            dead_letters: settings.dead_letters.clone(),
            changelog: settings.changelog(),
            percentiles: settings.percentiles(),
            format,
            source: source(&settings.application),
        };
        // One half for the databases, the other for the customers in memory. The more is gathered before it is written to
        // disk, the less often it is written anew; what is read back, on the other hand, is rarely read twice.
        let cache_bytes = settings.store_memory_bytes / 2;
        let write_buffer_bytes = cache_bytes / 2;
        let n_stores = usize::try_from(partitions).unwrap_or(1);
        let versions = catalog.segments.iter().map(|segment| (segment.name.as_str(), segment.definition.as_str()));
        telemetry.definitions_at_work(catalog.hash, versions);
        Ok(Self {
            stores: Shared::new(Budget { cache_bytes, write_buffer_bytes, n_stores, ..Budget::default() }),
            status,
            settings: Arc::new(settings),
            clients,
            catalog,
            schemas,
            registry,
            telemetry,
            stop,
            outbox,
            exchange: Exchange::default(),
            partitions,
        })
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(&self) -> std::io::Result<Running> {
        let (mut threads, mut watchdogs, mut askers) = (Vec::new(), Vec::new(), Vec::new());
        if !self.catalog.percentiles.is_empty() {
            let engine = self.clone();
            let thread = std::thread::Builder::new().name("percentiles".to_owned());
            thread.spawn(move || {
                exchange::follow(&engine.exchange, &engine.clients, &engine.outbox.percentiles, &engine.stop);
            })?;
        }
        for index in 0..self.settings.workers {
            let (asker, inbox) = ends();
            let watchdog = Watchdog::default();
            let (engine, watched) = (self.clone(), watchdog.clone());
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            threads.push(thread.spawn(move || {
                let result = run(&engine, index, &inbox, &watched);
                if let Err(error) = &result {
                    engine.status.update(index, |state| state.failed = Some(error.to_string()));
                }
                result
            })?);
            watchdogs.push(watchdog);
            askers.push(asker);
        }
        Ok(Running { stop: self.stop.clone(), threads, watchdogs, askers, status: self.status.clone() })
    }

    /// The changes, for those who follow them.
    pub fn feed(&self) -> Feed {
        Feed::new(self.clients.clone(), &self.settings.changes, self.registry.clone(), self.stop.clone())
    }

    /// The other processes of the application.
    pub fn peers(&self) -> Peers {
        Peers::new(self.clients.clone(), &self.settings.application, &self.settings.address)
    }
}

impl<W: World> Engine<W> {
    /// Memory for the customers of one partition: as if all partitions were here.
    pub(super) fn customers_memory_bytes(&self) -> usize {
        self.settings.store_memory_bytes / 2 / usize::try_from(self.partitions).unwrap_or(1).max(1)
    }

    /// Says what a worker waits for. One that waits does not stand still.
    pub(super) fn waits_for(&self, worker: usize, error: Option<&KafkaError>) {
        self.status.beat(worker, wall_ms());
        let waits = error.map(ToString::to_string);
        if let Some(error) = error {
            tracing::warn!(worker, %error, "waiting");
        }
        self.telemetry.waiting("broker", waits.is_some());
        self.status.update(worker, |state| state.waiting_for = waits);
    }
}

impl Running {
    /// Waits until the workers have ended, which they do when asked to, or when one cannot go on. Once asked they have
    /// `deadline` to commit and put down what they own.
    ///
    /// # Errors
    /// What ended them, if nobody asked.
    pub fn wait(mut self, deadline: Duration) -> Result<(), EngineError> {
        let mut threads: Vec<_> = std::mem::take(&mut self.threads).into_iter().enumerate().collect();
        let mut left = deadline;
        let mut first_error = None;
        while !threads.is_empty() {
            std::thread::sleep(LOOK);
            let (ended, going): (Vec<_>, Vec<_>) = threads.into_iter().partition(|(_, thread)| thread.is_finished());
            threads = going;
            let mut errors = ended.into_iter().filter_map(|(worker, thread)| outcome(worker, thread).err());
            first_error = first_error.or_else(|| errors.next());
            if first_error.is_some() {
                // The others commit what they have; they own partitions of their own.
                self.stop.request();
            }
            if let Some(hanging) = self.hanging() {
                return Err(first_error.unwrap_or(hanging));
            }
            if self.stop.is_requested() {
                left = left.saturating_sub(LOOK);
                if let Some((worker, _)) = threads.first().filter(|_| left.is_zero()) {
                    return Err(first_error.unwrap_or(EngineError::Late { worker: *worker }));
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    fn hanging(&self) -> Option<EngineError> {
        let mut watched = self.watchdogs.iter().enumerate();
        let (worker, call) = watched.find_map(|(worker, watchdog)| Some((worker, watchdog.look(LOOK)?)))?;
        self.status.update(worker, |state| state.failed = Some(format!("{call} did not return")));
        Some(EngineError::Hanging { worker, call })
    }
}

fn outcome(worker: usize, thread: JoinHandle<Result<(), WorkerError>>) -> Result<(), EngineError> {
    match thread.join() {
        Ok(Ok(()) | Err(WorkerError::Kafka(KafkaError::Stopped))) => Ok(()),
        Ok(Err(error)) => Err(EngineError::Worker { worker, error: Box::new(error) }),
        Err(_) => Err(EngineError::Panicked { worker }),
    }
}

fn format(format: OutputFormat, registry: Option<&Registry>, settings: &Settings) -> Result<Format, KafkaError> {
    if format == OutputFormat::Json {
        return Ok(Format::Json);
    }
    let header = |topic: &str, text: &str| {
        if let Some(registry) = registry {
            let subject = format!("{topic}-value");
            let id = registry.register(&subject, text)?;
            registry.keep_compatible(&subject)?;
            return Ok(Header::Registry(id));
        }
        let schema = parse_writer(text, &[]);
        let schema = schema.map_err(|error| KafkaError::Settings(format!("{topic}: {error}")))?;
        Ok(Header::SingleObject(fingerprint(&schema)))
    };
    Ok(Format::Avro {
        change: header(&settings.changes, CHANGE_SCHEMA)?,
        membership: header(&settings.memberships, MEMBERSHIP_SCHEMA)?,
    })
}
