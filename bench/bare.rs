//! The bare loop: what any engine of this kind must do at least. It consumes, decodes, reads, modifies and writes a
//! customer, and sends the changelog in a transaction with the offsets. It evaluates nothing and emits nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use hashbrown::HashMap;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use rocksdb::{DB, Options, WriteBatch, WriteOptions};
use segue::definition;
use segue::engine::catalog::{Catalog, TimeZone};
use segue::engine::record::{Body, Envelope, Record};
use segue::wire::avro::Decoder;
use segue::wire::framing::{Frame, frame};
use segue::wire::schema::SchemaSet;

use crate::broker::INPUTS;

const TIMEOUT: Duration = Duration::from_secs(30);
/// The changelog's topic and the consumer group.
pub(crate) const NAME: &str = "bare";
pub(crate) const CHANGELOG: &str = "bare-changelog";
/// What is remembered of a customer, bytes at most.
const STATE_MAX: usize = 320;
/// The store is written every so many commits: the changelog holds everything already.
const STORED_EVERY: u32 = 10;

/// What the loop is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    pub(crate) brokers: String,
    #[arg(long)]
    pub(crate) directory: PathBuf,
    #[arg(long)]
    pub(crate) definitions: PathBuf,
    #[arg(long)]
    pub(crate) partitions: i32,
    #[arg(long)]
    pub(crate) workers: i32,
    #[arg(long)]
    pub(crate) commit_ms: u64,
}

/// Runs until it is killed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let schemas = Arc::new(SchemaSet::shipped()?);
    let definitions = definition::load(&args.definitions, schemas.schemas(), TimeZone::default().0);
    let catalog = Arc::new(definitions.map_err(|errors| anyhow!("{errors:?}"))?.catalog);
    let workers: Vec<_> = (0..args.workers)
        .map(|number| {
            let (args, schemas, catalog) = (args.clone(), schemas.clone(), catalog.clone());
            std::thread::spawn(move || Loop::start(&args, number, &schemas, &catalog)?.work())
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| anyhow!("a worker panicked"))??;
    }
    Ok(())
}

struct State {
    bytes: Vec<u8>,
    partition: i32,
    is_dirty: bool,
}

struct Loop {
    consumer: BaseConsumer,
    producer: BaseProducer,
    store: DB,
    decoders: HashMap<[u8; 8], Decoder>,
    record: Record,
    customers: HashMap<Vec<u8>, State, foldhash::fast::RandomState>,
    dirty: Vec<Vec<u8>>,
    offsets: HashMap<(&'static str, i32), i64>,
    commit_interval: Duration,
    n_commits: u32,
}

impl Loop {
    fn start(args: &Args, number: i32, schemas: &SchemaSet, catalog: &Catalog) -> Result<Self> {
        let producer: BaseProducer = client(args)
            .set("transactional.id", format!("{NAME}-{number}"))
            .set("linger.ms", "5")
            .set("batch.num.messages", "20000")
            .set("queue.buffering.max.messages", "1000000")
            .set("compression.type", "lz4")
            .create()?;
        producer.init_transactions(TIMEOUT)?;
        let consumer: BaseConsumer = client(args)
            .set("group.id", NAME)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("queued.min.messages", "200000")
            .set("queued.max.messages.kbytes", "65536")
            .set("fetch.queue.backoff.ms", "5")
            .create()?;
        let mut list = TopicPartitionList::new();
        for partition in (0..args.partitions).filter(|partition| partition % args.workers == number) {
            for topic in INPUTS {
                list.add_partition_offset(topic, partition, Offset::Beginning)?;
            }
        }
        consumer.assign(&list)?;
        let mut decoders = HashMap::new();
        for record in schemas.records() {
            let Some(id) = catalog.event_type_id(&record.name) else { continue };
            let projection = &catalog.event_types[id.index()].projection;
            let decoder = Decoder::new(&record.avro, record, id, projection)?;
            decoders.insert(segue::wire::framing::fingerprint(&record.avro), decoder);
        }
        Ok(Self {
            consumer,
            producer,
            store: open(&args.directory.join(format!("bare-{number}")))?,
            decoders,
            record: Record { envelope: Envelope::default(), body: Body::Erasure },
            customers: HashMap::default(),
            dirty: Vec::new(),
            offsets: HashMap::new(),
            commit_interval: Duration::from_millis(args.commit_ms),
            n_commits: 0,
        })
    }

    fn work(mut self) -> Result<()> {
        let mut began = Instant::now();
        loop {
            self.producer.poll(Duration::ZERO);
            let mut n_fetched = 0;
            while n_fetched < 4_096 && self.take()? {
                n_fetched += 1;
            }
            if !self.offsets.is_empty() && (n_fetched == 0 || began.elapsed() >= self.commit_interval) {
                self.commit()?;
                began = Instant::now();
            }
        }
    }

    /// Whether there was a record.
    fn take(&mut self) -> Result<bool> {
        let Self { consumer, decoders, record, customers, store, dirty, offsets, .. } = self;
        let Some(message) = consumer.poll(Duration::from_millis(if offsets.is_empty() { 20 } else { 1 })) else {
            return Ok(false);
        };
        let message = message?;
        let Frame::SingleObject { fingerprint, body } = frame(message.payload().context("no value")?)? else {
            return Err(anyhow!("not in the single-object encoding"));
        };
        decoders.get_mut(&fingerprint).context("unknown schema")?.decode_into(body, record)?;
        let key = record.envelope.customer_id.as_bytes();
        let partition = message.partition();
        let state = match customers.entry_ref(key) {
            hashbrown::hash_map::EntryRef::Occupied(entry) => entry.into_mut(),
            hashbrown::hash_map::EntryRef::Vacant(entry) => {
                let bytes = store.get(key)?.unwrap_or_default();
                entry.insert(State { bytes, partition, is_dirty: false })
            }
        };
        if !state.is_dirty {
            state.is_dirty = true;
            dirty.push(key.to_vec());
        }
        state.bytes.extend_from_slice(&record.envelope.occurred_at.to_le_bytes());
        state.bytes.extend_from_slice(&segue::engine::catalog::key(&record.envelope.event_id).to_le_bytes());
        if state.bytes.len() > STATE_MAX {
            state.bytes.drain(..16);
        }
        let topic = INPUTS.iter().find(|topic| **topic == message.topic()).context("unknown topic")?;
        offsets.insert((topic, partition), message.offset() + 1);
        Ok(true)
    }

    fn commit(&mut self) -> Result<()> {
        self.producer.begin_transaction()?;
        for key in &self.dirty {
            let Some(state) = self.customers.get_mut(key) else { continue };
            state.is_dirty = false;
            let mut record = BaseRecord::to(CHANGELOG).partition(state.partition).key(key).payload(&state.bytes);
            while let Err((error, refused)) = self.producer.send(record) {
                if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    return Err(error.into());
                }
                self.producer.poll(Duration::from_millis(1));
                record = refused;
            }
        }
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(1));
        }
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in self.offsets.drain() {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
        let metadata = self.consumer.group_metadata().context("no group")?;
        self.producer.send_offsets_to_transaction(&list, &metadata, TIMEOUT)?;
        self.producer.commit_transaction(TIMEOUT)?;
        self.dirty.clear();
        self.n_commits += 1;
        if self.n_commits.is_multiple_of(STORED_EVERY) { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, state) in self.customers.drain() {
            batch.put(key, &state.bytes);
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        Ok(self.store.write_opt(batch, &options)?)
    }
}

fn client(args: &Args) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &args.brokers);
    config
}

fn open(path: &Path) -> Result<DB> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_write_buffer_size(64 << 20);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    let mut table = rocksdb::BlockBasedOptions::default();
    table.set_bloom_filter(10.0, false);
    table.set_block_cache(&rocksdb::Cache::new_lru_cache(256 << 20));
    options.set_block_based_table_factory(&table);
    Ok(DB::open(&options, path)?)
}
