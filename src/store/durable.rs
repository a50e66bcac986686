//! What a worker asks of a store that outlives the process: the seam at which a simulation takes the place of RocksDB.

use std::path::Path;

use super::{Store, StoreError};

/// Opens and removes stores by their directories. Clones are the same one.
pub trait Stores: Clone + Send + Sync + 'static {
    /// A store.
    type Store: DurableStore;

    /// Opens the store in a directory, which is made if it is missing.
    ///
    /// # Errors
    /// When the directory cannot be used, is in use, or holds what cannot be read.
    fn open(&self, path: &Path) -> Result<Self::Store, StoreError>;

    /// Removes the store of a directory, with all it holds. Nobody may have it open. A directory that does not exist is
    /// no error.
    ///
    /// # Errors
    /// When it is open, or cannot be removed.
    fn destroy(&self, path: &Path) -> Result<(), StoreError>;
}

/// A store that outlives the process. Clones are the same store: one may flush and count while another is worked with.
pub trait DurableStore: Store + Clone + Send + 'static {
    /// Takes what an empty store is filled with.
    type Filling: Fill;

    /// Begins to fill it; it is empty.
    ///
    /// # Errors
    /// When the disk fails.
    fn start_filling(&self) -> Result<Self::Filling, StoreError>;

    /// Looks at each entry, key and value, in order of keys.
    ///
    /// # Errors
    /// What `each` gives, which breaks off, or when the database fails.
    fn visit<E: From<StoreError>>(&self, each: impl FnMut(&[u8], &[u8]) -> Result<(), E>) -> Result<(), E>;

    /// Starts to write to disk what is only in memory, which bounds what a crash takes back. Does not wait.
    ///
    /// # Errors
    /// When the database failed.
    fn start_flush(&self) -> Result<(), StoreError>;

    /// Writes to disk what is only in memory, and waits: before a clean end.
    ///
    /// # Errors
    /// When the database failed.
    fn flush(&self) -> Result<(), StoreError>;

    /// Figures for metrics. One that the database does not give is 0.
    fn figures(&self) -> Figures;
}

/// Entries of the changelog on their way into an empty store, which has none of them before all have come.
pub trait Fill: Sized {
    /// Takes the next one; `None` removes what came under its key before.
    ///
    /// # Errors
    /// When the disk fails.
    fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError>;

    /// Stores the last of each key, whole or not at all. Each is looked at once, in order of keys, and listed under the
    /// deadline that `look` gives for it.
    ///
    /// # Errors
    /// What `look` gives, which breaks off, or when the database fails.
    fn finish<E: From<StoreError>>(self, look: impl FnMut(&[u8], &[u8]) -> Result<Option<i64>, E>) -> Result<(), E>;
}

/// Figures about one store, for metrics. Bytes unless the name says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Entries (customers and deadlines), estimated.
    pub entries_count: u64,
    /// Data that is current, on disk, estimated.
    pub live_data_bytes: u64,
    /// All table files.
    pub files_bytes: u64,
    /// Data not yet flushed.
    pub memtable_bytes: u64,
    /// The block cache, which all stores share.
    pub block_cache_bytes: u64,
    /// What compaction still has to do.
    pub pending_compaction_bytes: u64,
    /// Flushes and compactions under way.
    pub running_jobs_count: u64,
    /// The rate that writes are slowed down to; 0 when they are not.
    pub delayed_write_bytes_per_second: u64,
    /// Whether writes have come to a stop (1).
    pub write_stopped: u64,
    /// Flushes and compactions that failed.
    pub background_errors_count: u64,
}
