//! What we remember: one partition's customers, their deadlines and the marker of how far we got.
//!
//! The store knows bytes, not meaning. A partition reads customers through it, keeps what it changed in memory, and
//! hands a whole [`Batch`] over once the Kafka transaction that holds the same changes has committed.

#[cfg(feature = "server")]
pub mod durable;
pub mod memory;
#[cfg(feature = "server")]
pub mod rocks;

/// A store could not do what it was asked; what it holds is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed: disk full, no permission, closed.
    #[error("store at {path}: {message}")]
    Database {
        /// The directory.
        path: String,
        /// What the database said.
        message: String,
    },
    /// Another worker, or another process, has it open.
    #[error("store at {path} is in use: {message}")]
    InUse {
        /// The directory.
        path: String,
        /// What the database said.
        message: String,
    },
    /// Its files are damaged.
    #[error("store at {path} is damaged: {message}")]
    Damaged {
        /// The directory.
        path: String,
        /// What the database said.
        message: String,
    },
    /// What it holds was written by a newer version, or is damaged.
    #[error("store at {path} holds an unreadable {what}")]
    Unreadable {
        /// The directory.
        path: String,
        /// Which value.
        what: String,
    },
}

impl StoreError {
    /// The directory of a store that nothing can be done with but to fill it again from the changelog.
    pub fn beyond_repair(&self) -> Option<&str> {
        match self {
            Self::Damaged { path, .. } | Self::Unreadable { path, .. } => Some(path),
            Self::Database { .. } | Self::InUse { .. } => None,
        }
    }
}

/// One change to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The customer's key (see `partition`): a customer id, or the keyed hash of an erased one.
    pub key: Vec<u8>,
    /// The encoded customer; `None` removes it.
    pub value: Option<Vec<u8>>,
    /// The deadline it had in this store, removed from the index; `None` if it had none, or still has it.
    pub previous_deadline: Option<i64>,
    /// Its next deadline, milliseconds since the epoch; `None` if there is none, or the store lists it already.
    pub deadline: Option<i64>,
}

impl Update {
    /// A customer as they are from now on, listed under one deadline so far and under another from now on. What stays as it
    /// is costs the index nothing.
    #[must_use]
    pub fn relisted(key: Vec<u8>, value: Option<Vec<u8>>, from: Option<i64>, to: Option<i64>) -> Self {
        let (previous_deadline, deadline) = if from == to { (None, None) } else { (from, to) };
        Self { key, value, previous_deadline, deadline }
    }
}

/// Changes that become visible together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Customers.
    pub updates: Vec<Update>,
    /// How far the partition got, encoded by the worker; `None` leaves it as it was.
    pub marker: Option<Vec<u8>>,
}

/// A customer's key and encoded value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// One partition's state.
pub trait Store {
    /// Where it is, for messages.
    fn location(&self) -> String;

    /// The encoded customer under a key.
    ///
    /// # Errors
    /// When the database fails.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The earliest deadlines before an instant, in order of instant and then key, at most `limit`, starting after
    /// `after` (an instant and key) where given.
    ///
    /// # Errors
    /// When the database fails.
    fn due(&self, before: i64, after: Option<(i64, &[u8])>, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, StoreError>;

    /// Customers in key order, starting after a key, at most `limit`: for paging, sweeps and state tools.
    ///
    /// # Errors
    /// When the database fails.
    fn scan(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// The marker last written.
    ///
    /// # Errors
    /// When the database fails.
    fn marker(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes a batch, whole or not at all.
    ///
    /// # Errors
    /// When the database fails; nothing of the batch is then visible.
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError>;
}
