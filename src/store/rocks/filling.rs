//! An empty store filled: sorted first, then written as the table files that the database would come to in the end, which
//! spares it to write, compress and sort everything several times.

use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter};

use super::sorting::Sorting;
use super::{CUSTOMER, RocksStore, database_failure, deadline_key, failure};
use crate::store::StoreError;
use crate::store::durable::Fill;

/// Where files are until the database takes them; below the store's directory, with which they go away.
const SCRATCH: &str = "filling";
/// A table file, bytes: what the database makes its own in the last level.
const TABLE_BYTES: u64 = 64 << 20;
/// A deadline takes so much less than a customer.
const DEADLINES_PART: usize = 4;

/// Entries on their way into an empty store.
pub struct RocksFilling {
    store: RocksStore,
    scratch: Scratch,
    options: Options,
    room: usize,
    customers: Sorting,
    key: Vec<u8>,
}

impl RocksFilling {
    pub(super) fn start(store: &RocksStore) -> Result<Self, StoreError> {
        let scratch = Scratch(store.path.join(SCRATCH));
        std::fs::create_dir_all(&scratch.0).map_err(|error| failure(&store.path, &error))?;
        let options = store.shared.options();
        let room = store.shared.room_to_fill;
        let customers = Sorting::new(scratch.0.join("customers"), room);
        Ok(Self { store: store.clone(), scratch, options, room, customers, key: vec![CUSTOMER] })
    }

    fn failure(&self, error: &io::Error) -> StoreError {
        failure(&self.store.path, error)
    }
}

impl Fill for RocksFilling {
    fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        self.key.truncate(1);
        self.key.extend_from_slice(key);
        self.customers.take(&self.key, value).map_err(|error| self.failure(&error))
    }

    fn finish<E: From<StoreError>>(
        self,
        mut look: impl FnMut(&[u8], &[u8]) -> Result<Option<i64>, E>,
    ) -> Result<(), E> {
        let Self { store, scratch, options, room, customers, .. } = self;
        let path = &*store.path;
        let mut deadlines = Sorting::new(scratch.0.join("deadlines"), room / DEADLINES_PART);
        let mut tables = Tables { options: &options, scratch: &scratch.0, paths: Vec::new(), open: None };
        customers
            .each(|key, value| {
                let customer = key.get(1..).unwrap_or_default();
                if let Some(deadline) = look(customer, value).map_err(Failed::Other)? {
                    deadlines.take(&deadline_key(deadline, customer), Some(&[]))?;
                }
                Ok(tables.put(key, value)?)
            })
            .map_err(|error: Failed<E>| error.into_error(path))?;
        let listed = deadlines.each(|key, _| Ok(tables.put(key, &[])?));
        listed.map_err(|error: Failed<E>| error.into_error(path))?;
        let paths = tables.finish().map_err(|error| database_failure(path, error))?;
        if paths.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let taken = store.database.ingest_external_file_opts(&options, paths);
        Ok(taken.map_err(|error| database_failure(path, error))?)
    }
}

/// Removes a directory in the end, whatever happens.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What goes wrong while tables are written.
enum Failed<E> {
    File(io::Error),
    Database(rocksdb::Error),
    Other(E),
}

impl<E> From<io::Error> for Failed<E> {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl<E> From<rocksdb::Error> for Failed<E> {
    fn from(error: rocksdb::Error) -> Self {
        Self::Database(error)
    }
}

impl<E: From<StoreError>> Failed<E> {
    fn into_error(self, path: &Path) -> E {
        match self {
            Self::File(error) => failure(path, &error).into(),
            Self::Database(error) => database_failure(path, error).into(),
            Self::Other(error) => error,
        }
    }
}

/// Writes entries in the order of their keys into table files.
struct Tables<'a> {
    options: &'a Options,
    scratch: &'a Path,
    paths: Vec<PathBuf>,
    open: Option<SstFileWriter<'a>>,
}

impl Tables<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), rocksdb::Error> {
        let writer = if let Some(writer) = &mut self.open {
            writer
        } else {
            let path = self.scratch.join(format!("{}.sst", self.paths.len()));
            let writer = SstFileWriter::create(self.options);
            writer.open(&path)?;
            self.paths.push(path);
            self.open.insert(writer)
        };
        writer.put(key, value)?;
        if writer.file_size() >= TABLE_BYTES { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), rocksdb::Error> {
        self.open.take().map_or(Ok(()), |mut writer| writer.finish())
    }

    fn finish(mut self) -> Result<Vec<PathBuf>, rocksdb::Error> {
        self.close()?;
        Ok(self.paths)
    }
}
