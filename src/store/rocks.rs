//! State on disk: one RocksDB per partition number, so that wiping, moving and restoring one is a matter of a directory.
//!
//! One column family, because several would be flushed apart and be at different points after a crash. No write-ahead
//! log, because the changelog is the log; after any crash the database holds at least what its marker says, perhaps more
//! of what was committed since, and reading the changelog from the marker on makes it whole. Keys:
//!
//! | first byte | rest of the key | value |
//! |---|---|---|
//! | `c` | the customer's key | the encoded customer |
//! | `d` | instant (8 bytes, big endian, sign flipped so that order is kept), the customer's key | nothing |
//! | `m` | nothing | the marker |

mod filling;
mod sorting;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DataBlockIndexType, Direction, ErrorKind, FlushOptions,
    IteratorMode, LogLevel, Options, ReadOptions, WriteBatch, WriteBufferManager, properties,
};

use super::durable::{DurableStore, Figures, Stores};
use super::{Batch, Entry, Store, StoreError};
pub use filling::RocksFilling;

const CUSTOMER: u8 = b'c';
const DEADLINE: u8 = b'd';
const MARKER: [u8; 1] = [b'm'];
/// So many stores are filled at a time, where memory is shared out.
const STORES_FILLED: usize = 4;
/// What a store gathers before it writes to disk, bytes.
const WRITE_BUFFER: Range<usize> = 1 << 20..64 << 20;
/// So many times as much lies in the first level before it is merged into the next.
const FIRST_LEVEL: usize = 2;
/// More memory than this makes filling no faster, bytes.
const ROOM_MAX: usize = 64 << 20;
/// What is read at a time when everything is looked at, bytes.
const READ_AHEAD_BYTES: usize = 1 << 20;
const INSTANT_BYTES: usize = size_of::<i64>();

/// Memory that all stores of a process share, how many stores those are, and how many threads tidy up behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of blocks kept in memory, the data being written included.
    pub cache_bytes: usize,
    /// Bytes of data being written before it goes to disk; a part of `cache_bytes`.
    pub write_buffer_bytes: usize,
    /// So many stores share it, at most.
    pub n_stores: usize,
    /// Threads that flush and compact.
    pub background_jobs: i32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { cache_bytes: 512 << 20, write_buffer_bytes: 128 << 20, n_stores: 8, background_jobs: 2 }
    }
}

/// What the stores of a process share. Clones are the same one.
#[derive(Clone)]
pub struct Shared {
    cache: Cache,
    write_buffers: WriteBufferManager,
    /// Bytes of data being written that a store gathers before it writes them to disk.
    write_buffer_bytes: usize,
    background_jobs: i32,
    /// Bytes of memory for each store that is being filled: a part of what is there for data being written.
    room_to_fill: usize,
}

impl Shared {
    /// Sets the memory aside.
    pub fn new(budget: Budget) -> Self {
        let cache = Cache::new_hyper_clock_cache(budget.cache_bytes, 0);
        // Never stall on the budget: writers that wait for each other's flushes have been seen to wait for ever.
        let write_buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(budget.write_buffer_bytes, false, cache.clone());
        Self {
            cache,
            write_buffers,
            write_buffer_bytes: (budget.write_buffer_bytes / budget.n_stores.max(1))
                .clamp(WRITE_BUFFER.start, WRITE_BUFFER.end),
            background_jobs: budget.background_jobs,
            room_to_fill: (budget.write_buffer_bytes / STORES_FILLED).min(ROOM_MAX),
        }
    }

    fn options(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_bloom_filter(10.0, false);
        table.set_optimize_filters_for_memory(true);
        table.set_whole_key_filtering(true);
        // What is read is one customer of all of them, the others of the block are rarely wanted next.
        table.set_block_size(4 << 10);
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        table.set_data_block_hash_ratio(0.75);
        table.set_format_version(6);

        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_max_write_buffer_number(4);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.02);
        // What is larger than memory is read and written block by block all the time: Zstd took a quarter of all work then.
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_level_compaction_dynamic_level_bytes(true);
        // In proportion to what is flushed at a time, or every few flushes all that there is would be written anew.
        options.set_max_bytes_for_level_base((FIRST_LEVEL * self.write_buffer_bytes) as u64);
        options.set_max_background_jobs(self.background_jobs);
        options.set_max_open_files(500);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(2);
        options.set_stats_dump_period_sec(0);
        options
    }
}

/// Key and value as the database gives them.
type DatabaseEntry = (Box<[u8]>, Box<[u8]>);

impl Stores for Shared {
    type Store = RocksStore;

    fn open(&self, path: &Path) -> Result<RocksStore, StoreError> {
        RocksStore::open(path, self)
    }

    fn destroy(&self, path: &Path) -> Result<(), StoreError> {
        RocksStore::destroy(path)
    }
}

/// A store in one directory. Clones are the same store: one may flush and count while another is worked with.
#[derive(Clone)]
pub struct RocksStore {
    database: Arc<DB>,
    path: PathBuf,
    shared: Shared,
}

impl RocksStore {
    /// Opens the store in a directory, which is made if it is missing.
    ///
    /// # Errors
    /// When the directory cannot be used, is in use by another process, or holds what cannot be read.
    pub fn open(path: &Path, shared: &Shared) -> Result<Self, StoreError> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| failure(path, &error))?;
        }
        let database = DB::open(&shared.options(), path).map_err(|error| database_failure(path, error))?;
        Ok(Self { database: Arc::new(database), path: path.to_path_buf(), shared: shared.clone() })
    }

    /// Removes the store of a directory, with all it holds. Nobody may have it open. A directory that does not exist is
    /// no error.
    ///
    /// # Errors
    /// When it is open, or cannot be removed.
    pub fn destroy(path: &Path) -> Result<(), StoreError> {
        if !path.exists() {
            return Ok(());
        }
        // RocksDB removes only what it knows, and only when it can take the lock, which is why it is asked first.
        DB::destroy(&Options::default(), path).map_err(|error| database_failure(path, error))?;
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failure(path, &error)),
            _ => Ok(()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn flush_with(&self, wait: bool) -> Result<(), StoreError> {
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        self.database.flush_opt(&options).map_err(|error| self.failure(error))
    }

    fn failure(&self, error: rocksdb::Error) -> StoreError {
        database_failure(&self.path, error)
    }

    /// Entries whose keys are at least `start` and begin with `kind`, the key without its first byte.
    fn entries(&self, kind: u8, start: &[u8]) -> impl Iterator<Item = Result<DatabaseEntry, StoreError>> + use<'_> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound([kind + 1]);
        let entries = self.database.iterator_opt(IteratorMode::From(start, Direction::Forward), options);
        entries.map(|entry| entry.map_err(|error| self.failure(error)))
    }
}

fn failure(path: &Path, error: &impl ToString) -> StoreError {
    StoreError::Database { path: path.display().to_string(), message: error.to_string() }
}

/// Damaged files, which can only be filled again, and a directory in use, which will be free, are told apart from a full disk.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn database_failure(path: &Path, error: rocksdb::Error) -> StoreError {
    let (message, path) = (error.to_string(), path.display().to_string());
    match error.kind() {
        ErrorKind::Corruption => StoreError::Damaged { path, message },
        // A file is gone that others refer to.
        ErrorKind::IOError | ErrorKind::NotFound if message.contains("No such file") => {
            StoreError::Damaged { path, message }
        }
        // By another process, or by this one.
        ErrorKind::IOError
            if message.contains("While lock file") || message.contains("lock hold by current process") =>
        {
            StoreError::InUse { path, message }
        }
        _ => StoreError::Database { path, message },
    }
}

fn customer_key(key: &[u8]) -> Vec<u8> {
    [&[CUSTOMER], key].concat()
}

fn deadline_key(instant: i64, key: &[u8]) -> Vec<u8> {
    let ordered = instant.cast_unsigned() ^ (1 << 63);
    [&[DEADLINE], ordered.to_be_bytes().as_slice(), key].concat()
}

/// The instant and customer of a deadline's key.
fn deadline_of(key: &[u8]) -> Option<(i64, &[u8])> {
    let (instant, customer) = key.get(1..)?.split_first_chunk::<INSTANT_BYTES>()?;
    Some(((u64::from_be_bytes(*instant) ^ (1 << 63)).cast_signed(), customer))
}

/// The first key after this one.
fn following(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

impl DurableStore for RocksStore {
    type Filling = RocksFilling;

    fn start_filling(&self) -> Result<RocksFilling, StoreError> {
        RocksFilling::start(self)
    }

    fn visit<E: From<StoreError>>(&self, mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound([CUSTOMER + 1]);
        options.set_readahead_size(READ_AHEAD_BYTES);
        // What is worked with afterwards is not what was looked at last.
        options.fill_cache(false);
        let mut entries = self.database.raw_iterator_opt(options);
        entries.seek([CUSTOMER]);
        while let Some((key, value)) = entries.item() {
            each(key.get(1..).unwrap_or_default(), value)?;
            entries.next();
        }
        Ok(entries.status().map_err(|error| self.failure(error))?)
    }

    fn start_flush(&self) -> Result<(), StoreError> {
        self.flush_with(false)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.flush_with(true)
    }

    fn figures(&self) -> Figures {
        let get = |name| self.database.property_int_value(name).ok().flatten().unwrap_or(0);
        Figures {
            entries_count: get(properties::ESTIMATE_NUM_KEYS),
            live_data_bytes: get(properties::ESTIMATE_LIVE_DATA_SIZE),
            files_bytes: get(properties::TOTAL_SST_FILES_SIZE),
            memtable_bytes: get(properties::CUR_SIZE_ALL_MEM_TABLES),
            block_cache_bytes: get(properties::BLOCK_CACHE_USAGE),
            pending_compaction_bytes: get(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
            running_jobs_count: get(properties::NUM_RUNNING_FLUSHES) + get(properties::NUM_RUNNING_COMPACTIONS),
            delayed_write_bytes_per_second: get(properties::ACTUAL_DELAYED_WRITE_RATE),
            write_stopped: get(properties::IS_WRITE_STOPPED),
            background_errors_count: get(properties::BACKGROUND_ERRORS),
        }
    }
}

impl Store for RocksStore {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.get(customer_key(key)).map_err(|error| self.failure(error))
    }

    fn due(&self, before: i64, after: Option<(i64, &[u8])>, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let start = after.map_or(vec![DEADLINE], |(instant, key)| following(deadline_key(instant, key)));
        let mut due = Vec::new();
        for entry in self.entries(DEADLINE, &start).take(limit) {
            let (key, _) = entry?;
            let (instant, customer) = deadline_of(&key).ok_or_else(|| StoreError::Unreadable {
                path: self.path.display().to_string(),
                what: "deadline".to_owned(),
            })?;
            if instant >= before {
                break;
            }
            due.push((instant, customer.to_vec()));
        }
        Ok(due)
    }

    fn scan(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let start = after.map_or(vec![CUSTOMER], |key| following(customer_key(key)));
        let page = self.entries(CUSTOMER, &start).take(limit);
        page.map(|entry| entry.map(|(key, value)| (key.get(1..).unwrap_or_default().to_vec(), value.into_vec())))
            .collect()
    }

    fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.get(MARKER).map_err(|error| self.failure(error))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut entries: Vec<(Vec<u8>, Option<&[u8]>)> = Vec::with_capacity(3 * batch.updates.len());
        for update in &batch.updates {
            entries.push((customer_key(&update.key), update.value.as_deref()));
            entries.extend(update.previous_deadline.map(|instant| (deadline_key(instant, &update.key), None)));
            entries.extend(update.deadline.map(|instant| (deadline_key(instant, &update.key), Some(&[][..]))));
        }
        // Next to each other they are found a place for sooner. What is of one key stays in its order.
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut writes = WriteBatch::default();
        for (key, value) in entries {
            match value {
                Some(value) => writes.put(key, value),
                None => writes.delete(key),
            }
        }
        if let Some(marker) = &batch.marker {
            writes.put(MARKER, marker);
        }
        self.database.write_without_wal(writes).map_err(|error| self.failure(error))
    }
}

#[cfg(test)]
mod tests;
