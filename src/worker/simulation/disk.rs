//! Disks: stores that lose what was not flushed when their process is killed, grow old, are damaged, copied and lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::partition::Sent;
use super::rules::Break;
use super::scene::Scene;
use super::schedule::Process;
use crate::partition::is_customer;
use crate::store::durable::{DurableStore, Figures, Fill, Stores};
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Entry, Store, StoreError, Update};
use crate::wire;
use crate::worker::marker::{StoredMarker, encode};

/// All stores, by directory.
#[derive(Debug, Default)]
pub(super) struct Disks(BTreeMap<PathBuf, Disk>);

/// One store.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// As of the last flush.
    flushed: MemoryStore,
    /// Written since.
    unflushed: Vec<Batch>,
    /// Both.
    live: MemoryStore,
    /// An earlier state, for somebody to copy back.
    earlier: Option<MemoryStore>,
    opened_by: Option<Process>,
    is_damaged: bool,
    is_full: bool,
    /// How often it was opened: an old handle does nothing.
    serial: u64,
}

/// What happens to a disk whose process is not running.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mishap {
    /// It is not there any more.
    Lost,
    /// It is as it was some time ago.
    Old,
    /// It cannot be read.
    Damaged,
}

impl Disks {
    /// What a killed process had not flushed is there in part: some of the batches, from the first on.
    pub(super) fn crash(&mut self, process: Process, mut below: impl FnMut(usize) -> usize) {
        for disk in self.0.values_mut().filter(|disk| disk.opened_by == Some(process)) {
            let n_kept = below(disk.unflushed.len() + 1);
            for batch in disk.unflushed.drain(..).take(n_kept) {
                disk.flushed.write(&batch).unwrap();
            }
            disk.live = disk.flushed.clone();
            disk.opened_by = None;
        }
    }

    /// Something happens to one store below a directory.
    pub(super) fn befall(&mut self, directory: &Path, mishap: Mishap, below: impl FnOnce(usize) -> usize) {
        let mut stores: Vec<_> = self.0.iter_mut().filter(|(path, _)| path.starts_with(directory)).collect();
        if stores.is_empty() {
            return;
        }
        let chosen = below(stores.len());
        let (path, disk) = stores.swap_remove(chosen);
        if disk.opened_by.is_some() {
            return;
        }
        match mishap {
            Mishap::Lost => {
                let path = path.clone();
                self.0.remove(&path);
            }
            Mishap::Old => {
                if let Some(earlier) = disk.earlier.take() {
                    (disk.flushed, disk.live) = (earlier.clone(), earlier);
                    disk.unflushed.clear();
                }
            }
            Mishap::Damaged => disk.is_damaged = true,
        }
    }

    /// No store below a directory has room for more, or all have again.
    pub(super) fn fill_up(&mut self, directory: &Path, is_full: bool) {
        for (_, disk) in self.0.iter_mut().filter(|(path, _)| path.starts_with(directory)) {
            disk.is_full = is_full;
        }
    }

    /// Copies what is on one disk to another.
    pub(super) fn copy(&mut self, from: &Path, to: &Path) {
        let copies: Vec<_> = self
            .0
            .iter()
            .filter_map(|(path, disk)| {
                let copied = to.join(path.strip_prefix(from).ok()?);
                Some((copied, Disk { flushed: disk.flushed.clone(), live: disk.flushed.clone(), ..Disk::default() }))
            })
            .collect();
        self.0.extend(copies);
    }

    /// The store of a directory.
    pub(super) fn get(&self, path: &Path) -> Option<&MemoryStore> {
        self.0.get(path).map(|disk| &disk.live)
    }

    /// In a world in which the store comes first: what is sent to the changelog is in it.
    pub(super) fn write_at_once(&mut self, process: Process, topic: &str, partition: i32, sent: &Sent) {
        let key = sent.key.clone().unwrap_or_default();
        if !topic.ends_with("-changelog") || !is_customer(&key) {
            return;
        }
        let name = format!("partition-{partition}");
        let mut stores = self.0.iter_mut();
        let of_process = stores.find(|(path, disk)| path.ends_with(&name) && disk.opened_by == Some(process));
        let Some((_, disk)) = of_process else { return };
        let deadline = |bytes: &[u8]| wire::customer::head(bytes).ok().and_then(|head| head.deadline);
        let previous_deadline = disk.live.get(&key).unwrap().and_then(|bytes| deadline(&bytes));
        let deadline = sent.value.as_deref().and_then(deadline);
        let update = Update { key, value: sent.value.clone(), previous_deadline, deadline };
        disk.write(Batch { updates: vec![update], marker: None });
    }
}

impl Disk {
    fn write(&mut self, batch: Batch) {
        self.live.write(&batch).unwrap();
        self.unflushed.push(batch);
    }

    fn flush(&mut self, keep: bool) {
        if keep {
            self.earlier = Some(self.flushed.clone());
        }
        self.flushed = self.live.clone();
        self.unflushed.clear();
    }
}

/// The disks as a process sees them.
#[derive(Clone)]
pub(super) struct Mount {
    pub(super) scene: Arc<Scene>,
    pub(super) process: Process,
}

/// An open store.
#[derive(Clone)]
pub(super) struct Opened(Arc<Handle>);

struct Handle {
    mount: Mount,
    path: PathBuf,
    partition: i32,
    serial: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(disk) = self.mount.scene.disks().0.get_mut(&self.path)
            && disk.serial == self.serial
        {
            disk.opened_by = None;
        }
    }
}

impl Stores for Mount {
    type Store = Opened;

    fn open(&self, path: &Path) -> Result<Opened, StoreError> {
        self.scene.step(self.process, "opening");
        let name = path.file_name().and_then(|name| name.to_str()?.strip_prefix("partition-"));
        let partition = name.and_then(|number| number.parse().ok()).unwrap();
        let serial = {
            let mut disks = self.scene.disks();
            let disk = disks.0.entry(path.to_path_buf()).or_default();
            if disk.opened_by.is_some() {
                return Err(in_use(path));
            }
            disk.opened_by = Some(self.process);
            disk.serial += 1;
            disk.serial
        };
        let opened = Opened(Arc::new(Handle { mount: self.clone(), path: path.to_path_buf(), partition, serial }));
        opened.check_all();
        Ok(opened)
    }

    fn destroy(&self, path: &Path) -> Result<(), StoreError> {
        let mut disks = self.scene.disks();
        if disks.0.get(path).is_some_and(|disk| disk.opened_by.is_some()) {
            return Err(in_use(path));
        }
        let earlier = disks.0.remove(path).and_then(|disk| disk.earlier);
        disks.0.insert(path.to_path_buf(), Disk { earlier, ..Disk::default() });
        Ok(())
    }
}

/// A marker that says that it was written just now.
fn fresh(marker: &[u8], now: i64) -> Vec<u8> {
    encode(&StoredMarker { written_at: now, ..StoredMarker::decode(marker).unwrap() })
}

fn in_use(path: &Path) -> StoreError {
    StoreError::InUse { path: path.display().to_string(), message: "locked".to_owned() }
}

fn database(path: &Path, message: &str) -> StoreError {
    StoreError::Database { path: path.display().to_string(), message: message.to_owned() }
}

impl Opened {
    fn look<T>(&self, look: impl FnOnce(&MemoryStore) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let disks = self.0.mount.scene.disks();
        match disks.0.get(&self.0.path) {
            Some(disk) if disk.is_damaged => {
                Err(StoreError::Damaged { path: self.location(), message: "bad checksum".to_owned() })
            }
            Some(disk) if disk.serial == self.0.serial => look(&disk.live),
            _ => Err(database(&self.0.path, "closed")),
        }
    }

    fn put(&self, batch: Batch) -> Result<(), StoreError> {
        self.check(batch.updates.iter().map(|update| (&update.key, update.value.as_ref())));
        let mut disks = self.0.mount.scene.disks();
        let disk = disks.0.get_mut(&self.0.path).filter(|disk| disk.serial == self.0.serial);
        let disk = disk.ok_or_else(|| database(&self.0.path, "closed"))?;
        if disk.is_full {
            return Err(database(&self.0.path, "no space left on device"));
        }
        disk.write(batch);
        Ok(())
    }

    /// A store never holds what was not committed.
    fn check<'a>(&self, customers: impl Iterator<Item = (&'a Vec<u8>, Option<&'a Vec<u8>>)>) {
        let mut broker = self.0.mount.scene.broker();
        for (key, value) in customers.filter(|(key, _)| is_customer(key)) {
            if !broker.decided.contains(&(self.0.partition, key.clone(), value.cloned())) {
                let key = String::from_utf8_lossy(key).into_owned();
                broker
                    .complain(format!("I7 the store of partition {} holds {key} as never committed", self.0.partition));
            }
        }
    }

    fn check_all(&self) {
        if let Ok(customers) = self.scan(None, usize::MAX) {
            self.check(customers.iter().map(|(key, value)| (key, Some(value))));
        }
    }
}

impl Store for Opened {
    fn location(&self) -> String {
        self.0.path.display().to_string()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.look(|store| store.get(key))
    }

    fn due(&self, before: i64, after: Option<(i64, &[u8])>, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        self.look(|store| store.due(before, after, limit))
    }

    fn scan(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.look(|store| store.scan(after, limit))
    }

    fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let marker = self.look(Store::marker)?;
        let is_hidden = self.0.mount.scene.broken == Some(Break::AgeUnnoticed);
        Ok(if is_hidden { marker.as_deref().map(|marker| fresh(marker, self.0.mount.scene.now())) } else { marker })
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut batch = batch.clone();
        let scene = &self.0.mount.scene;
        if scene.broken == Some(Break::DatedLate) {
            batch.marker = batch.marker.map(|marker| fresh(&marker, scene.now()));
        }
        self.put(batch)
    }
}

impl DurableStore for Opened {
    type Filling = Filling;

    fn start_filling(&self) -> Result<Filling, StoreError> {
        Ok(Filling { store: self.clone(), entries: BTreeMap::new() })
    }

    fn visit<E: From<StoreError>>(&self, mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>) -> Result<(), E> {
        self.scan(None, usize::MAX)?.iter().try_for_each(|(key, value)| each(key, value))
    }

    fn start_flush(&self) -> Result<(), StoreError> {
        self.flush()
    }

    fn flush(&self) -> Result<(), StoreError> {
        let keep = self.0.mount.scene.chance(300);
        let mut disks = self.0.mount.scene.disks();
        if let Some(disk) = disks.0.get_mut(&self.0.path).filter(|disk| disk.serial == self.0.serial) {
            disk.flush(keep);
        }
        Ok(())
    }

    fn figures(&self) -> Figures {
        Figures::default()
    }
}

/// An empty store being filled.
pub(super) struct Filling {
    store: Opened,
    entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Fill for Filling {
    fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        self.entries.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        Ok(())
    }

    fn finish<E: From<StoreError>>(
        self,
        mut look: impl FnMut(&[u8], &[u8]) -> Result<Option<i64>, E>,
    ) -> Result<(), E> {
        let mut batch = Batch::default();
        for (key, value) in self.entries.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            let deadline = look(&key, &value)?;
            batch.updates.push(Update { key, value: Some(value), previous_deadline: None, deadline });
        }
        Ok(self.store.put(batch)?)
    }
}
