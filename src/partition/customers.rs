//! The customers of a partition in memory, in front of the store: those that changed since the last commit, and those
//! lately used; and the order in which their deadlines fall due.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashMap;
use sha2::{Digest, Sha256};

use crate::engine::customer::Customer;
use crate::store::{Batch, Store, StoreError, Update};
use crate::wire::customer::{decode, encode};

/// Customers kept after a commit at most; past that all that are not dirty are let go.
const CACHED_MAX: usize = 200_000;
/// Deadlines fetched from the store at a time.
const DUE_PAGE: usize = 64;

/// First byte of the key of a customer; the customer id follows.
const CUSTOMER: u8 = b'c';
/// First byte of the key of an erased customer; the keyed hash follows.
const ERASED: u8 = b'e';

/// The secret with which the ids of erased customers are hashed.
#[derive(Clone, Default)]
pub struct ErasureKey(pub Vec<u8>);

impl std::fmt::Debug for ErasureKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ErasureKey(…)")
    }
}

impl ErasureKey {
    /// HMAC-SHA-256 of the customer id (RFC 2104).
    fn key(&self, customer_id: &str) -> Vec<u8> {
        const BLOCK: usize = 64;
        let mut padded = [0; BLOCK];
        if self.0.len() > BLOCK {
            padded[..32].copy_from_slice(&Sha256::digest(&self.0));
        } else {
            padded[..self.0.len()].copy_from_slice(&self.0);
        }
        let inner = Sha256::new().chain_update(padded.map(|byte| byte ^ 0x36)).chain_update(customer_id).finalize();
        let outer = Sha256::new().chain_update(padded.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize();
        let mut key = vec![ERASED];
        key.extend_from_slice(&outer);
        key
    }
}

/// The store's key of a customer.
#[must_use]
pub fn key_of(customer_id: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + customer_id.len());
    key.push(CUSTOMER);
    key.extend_from_slice(customer_id.as_bytes());
    key
}

/// The customer id of a store's key; `None` for an erased one.
#[must_use]
pub fn customer_id_of(key: &[u8]) -> Option<&str> {
    match key.split_first() {
        Some((&CUSTOMER, customer_id)) => std::str::from_utf8(customer_id).ok(),
        _ => None,
    }
}

/// Whether an entry of a store or changelog is a customer, alive or erased, and not something about the partition.
#[must_use]
pub fn is_customer(key: &[u8]) -> bool {
    matches!(key.first(), Some(&(CUSTOMER | ERASED)))
}

/// A customer in memory.
#[derive(Debug, Default)]
struct Cached {
    customer: Customer,
    /// Changed since the last commit.
    dirty: bool,
    /// To be removed from the store: erased.
    removed: bool,
    /// The deadline under which the store lists them.
    stored_deadline: Option<i64>,
    /// The deadline under which `deadlines` lists them.
    listed_deadline: Option<i64>,
}

/// How often customers were wanted to be changed, and how often they were not in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reads {
    /// Wanted.
    pub(super) lookups: u64,
    /// Read from the store, or new.
    pub(super) misses: u64,
}

/// The customers of one partition.
#[derive(Debug)]
pub(super) struct Customers<S> {
    store: S,
    reads: Reads,
    erasure_key: ErasureKey,
    cached: HashMap<Vec<u8>, Cached, foldhash::fast::RandomState>,
    dirty: Vec<Vec<u8>>,
    /// Deadlines of cached customers that the store does not list as they are.
    deadlines: BTreeSet<(i64, Vec<u8>)>,
    /// The store's next deadlines, from `fetched_to` on.
    fetched: VecDeque<(i64, Vec<u8>)>,
    fetched_to: Option<(i64, Vec<u8>)>,
    /// The store has no more than those.
    fetched_all: bool,
}

impl<S: Store> Customers<S> {
    pub(super) fn new(store: S, erasure_key: ErasureKey) -> Self {
        Self {
            store,
            reads: Reads::default(),
            erasure_key,
            cached: HashMap::default(),
            dirty: Vec::new(),
            deadlines: BTreeSet::new(),
            fetched: VecDeque::new(),
            fetched_to: None,
            fetched_all: false,
        }
    }

    /// The look-ups since last taken.
    pub(super) fn take_reads(&mut self) -> Reads {
        std::mem::take(&mut self.reads)
    }

    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// The customer, for reading; one nobody knows is new, and stays unknown until [`touch`](Self::touch)ed.
    pub(super) fn load_or_new(&mut self, customer_id: &str) -> Result<&Customer, StoreError> {
        Ok(&self.load(customer_id)?.customer)
    }

    /// The customer, to be changed.
    pub(super) fn touch(&mut self, customer_id: &str) -> Result<&mut Customer, StoreError> {
        let key = key_of(customer_id);
        self.load(customer_id)?;
        self.reads.lookups += 1;
        let Self { cached, dirty, .. } = self;
        let entry = cached.entry_ref(key.as_slice()).or_default();
        if !entry.dirty {
            entry.dirty = true;
            dirty.push(key);
        }
        entry.removed = false;
        Ok(&mut entry.customer)
    }

    /// The customer if there is one, without keeping them in memory.
    pub(super) fn peek(&self, customer_id: &str) -> Result<Option<Customer>, StoreError> {
        let key = key_of(customer_id);
        match self.cached.get(&key) {
            Some(entry) => Ok(Some(entry.customer.clone())),
            None => self.store.get(&key)?.map(|bytes| self.decoded(&bytes)).transpose(),
        }
    }

    fn load(&mut self, customer_id: &str) -> Result<&mut Cached, StoreError> {
        let key = key_of(customer_id);
        if !self.cached.contains_key(&key) {
            self.reads.misses += 1;
            let entry = match self.store.get(&key)? {
                Some(bytes) => {
                    let customer = self.decoded(&bytes)?;
                    let deadline = customer.deadline;
                    Cached { customer, stored_deadline: deadline, ..Cached::default() }
                }
                None => Cached { customer: self.after_erasure(customer_id)?, ..Cached::default() },
            };
            self.cached.insert(key.clone(), entry);
        }
        Ok(self.cached.entry(key).or_default())
    }

    /// A new customer, who goes on counting changes where one erased under the same id left off.
    fn after_erasure(&self, customer_id: &str) -> Result<Customer, StoreError> {
        let key = self.erasure_key.key(customer_id);
        let remains = match self.cached.get(&key) {
            Some(entry) => Some(entry.customer.clone()),
            None => self.store.get(&key)?.map(|bytes| self.decoded(&bytes)).transpose()?,
        };
        Ok(remains.unwrap_or_default())
    }

    fn decoded(&self, bytes: &[u8]) -> Result<Customer, StoreError> {
        decode(bytes).map_err(|_| StoreError::Unreadable { path: self.store.location(), what: "customer".into() })
    }

    /// Forgets a customer but for the keyed hash of the id, the instant of the erasure and the last sequence.
    pub(super) fn erase(&mut self, customer_id: &str, erased_at: i64) -> Result<(), StoreError> {
        let entry = self.load(customer_id)?;
        let sequence = entry.customer.sequence;
        let erased_at = entry.customer.erased_at.max(Some(erased_at));
        let remains = Customer { sequence, erased_at, ..Customer::default() };
        entry.customer = remains.clone();
        entry.removed = true;
        self.reschedule(customer_id);
        let key = self.erasure_key.key(customer_id);
        let entry = self.cached.entry_ref(key.as_slice()).or_default();
        entry.customer = remains;
        if !std::mem::replace(&mut entry.dirty, true) {
            self.dirty.push(key);
        }
        Ok(())
    }

    /// Lists a customer under the deadline they have now.
    pub(super) fn reschedule(&mut self, customer_id: &str) {
        let key = key_of(customer_id);
        let Some(entry) = self.cached.get_mut(&key) else { return };
        let wanted = entry.customer.deadline.filter(|deadline| entry.stored_deadline != Some(*deadline));
        if wanted == entry.listed_deadline {
            return;
        }
        if let Some(listed) = std::mem::replace(&mut entry.listed_deadline, wanted) {
            self.deadlines.remove(&(listed, key.clone()));
        }
        if let Some(wanted) = wanted {
            self.deadlines.insert((wanted, key));
        }
    }

    /// The earliest deadline before `now`, and whose it is.
    pub(super) fn next_due(&mut self, now: i64) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
        self.fetch()?;
        let listed = self.deadlines.first().filter(|(deadline, _)| *deadline < now);
        let stored = self.fetched.front().filter(|(deadline, _)| *deadline < now);
        let due = match (listed, stored) {
            (Some(listed), Some(stored)) => listed.min(stored),
            (one, other) => match one.or(other) {
                Some(due) => due,
                None => return Ok(None),
            },
        };
        Ok(Some(due.clone()))
    }

    /// Sees to it that the first of the fetched deadlines is the store's next one that is still so.
    fn fetch(&mut self) -> Result<(), StoreError> {
        loop {
            while let Some((deadline, key)) = self.fetched.front() {
                if self.cached.get(key).is_none_or(|entry| entry.customer.deadline == Some(*deadline)) {
                    return Ok(());
                }
                self.fetched_to = self.fetched.pop_front();
            }
            if self.fetched_all {
                return Ok(());
            }
            let after = self.fetched_to.as_ref().map(|(deadline, key)| (*deadline, key.as_slice()));
            let page = self.store.due(i64::MAX, after, DUE_PAGE)?;
            self.fetched_all = page.len() < DUE_PAGE;
            self.fetched.extend(page);
        }
    }

    fn forget_fetched(&mut self) {
        self.fetched.clear();
        self.fetched_to = None;
        self.fetched_all = false;
    }

    pub(super) fn next_deadline(&mut self) -> Result<Option<i64>, StoreError> {
        let stored = self.store.due(i64::MAX, None, 1)?.first().map(|(deadline, _)| *deadline);
        let listed = self.deadlines.first().map(|(deadline, _)| *deadline);
        Ok([stored, listed].into_iter().flatten().min())
    }

    /// Shows customers in the order of their keys, about `limit` of them after `after`, as they are now. The key to go on
    /// after, if there are more.
    pub(super) fn visit(
        &self,
        after: Option<&[u8]>,
        limit: usize,
        mut each: impl FnMut(&str, &Customer),
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let page = self.store.scan(after, limit)?;
        let end = page.last().filter(|_| page.len() == limit).map(|(key, _)| key.clone());
        let mut show = |key: &[u8], customer: &Customer| {
            if let Some(customer_id) = customer_id_of(key).filter(|_| customer.own_time.is_some()) {
                each(customer_id, customer);
            }
        };
        for (key, bytes) in &page {
            match self.cached.get(key) {
                Some(entry) => show(key, &entry.customer),
                None if customer_id_of(key).is_some() => show(key, &self.decoded(bytes)?),
                None => {}
            }
        }
        // Those that the store does not have yet.
        let in_page = |key: &&Vec<u8>| {
            after.is_none_or(|after| after < key.as_slice())
                && end.as_ref().is_none_or(|end| *key <= end)
                && page.binary_search_by(|(stored, _)| stored.cmp(key)).is_err()
        };
        for (key, entry) in self.dirty.iter().filter(in_page).filter_map(|key| self.cached.get_key_value(key)) {
            show(key, &entry.customer);
        }
        Ok(end)
    }

    /// Puts a customer as they are now in the place of what they were.
    pub(super) fn replace(&mut self, customer_id: &str, customer: Customer) -> Result<(), StoreError> {
        let entry = self.load(customer_id)?;
        if entry.customer == customer {
            // At most what is derived differs, which is not stored.
            entry.customer = customer;
            return Ok(());
        }
        *self.touch(customer_id)? = customer;
        self.reschedule(customer_id);
        Ok(())
    }

    pub(super) fn updates(&self) -> Vec<Update> {
        let dirty = self.dirty.iter().filter_map(|key| self.cached.get_key_value(key));
        dirty
            .map(|(key, entry)| Update {
                key: key.clone(),
                value: (!entry.removed).then(|| encode(&entry.customer)),
                previous_deadline: entry.stored_deadline,
                deadline: entry.customer.deadline.filter(|_| !entry.removed),
            })
            .collect()
    }

    pub(super) fn committed(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.store.write(batch)?;
        for key in self.dirty.drain(..) {
            if let Some(entry) = self.cached.get_mut(&key) {
                entry.dirty = false;
                entry.stored_deadline = entry.customer.deadline;
                if let Some(listed) = entry.listed_deadline.take() {
                    self.deadlines.remove(&(listed, key.clone()));
                }
                if entry.removed {
                    self.cached.remove(&key);
                }
            }
        }
        self.forget_fetched();
        if self.cached.len() > CACHED_MAX {
            self.cached.clear();
        }
        Ok(())
    }

    pub(super) fn aborted(&mut self) {
        self.cached.clear();
        self.dirty.clear();
        self.deadlines.clear();
        self.reads = Reads::default();
        self.forget_fetched();
    }
}
