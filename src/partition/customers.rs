//! The customers of a partition in memory, in front of the store, and the order in which their deadlines fall due.
//!
//! The store is written behind: a customer who changed stays here over many commits, because the changelog already holds
//! them, and is written when their turn comes round. What is not committed is never written. So what the store holds is
//! never ahead of Kafka, and at least what its marker says: reading the changelog from there on makes it whole.

mod behind;
mod deadlines;
mod erasure;
mod slots;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use crate::engine::customer::Customer;
use crate::store::{Store, StoreError};
use crate::wire::customer::{decode, encode_into};
use behind::Round;
pub use erasure::ErasureKey;
pub(super) use slots::Slot;
use slots::{Places, Slots};

/// Bytes in memory of a customer, roughly: so many, and so many for each of the encoded form.
const WEIGHT_FIXED: usize = 420;
const WEIGHT_PER_BYTE: usize = 5;
/// Bytes of encoded customers kept for the next commit.
const ENCODED_MAX: usize = 64 << 20;

/// First byte of the key of a customer; the customer id follows.
const CUSTOMER: u8 = b'c';
/// First byte of the key of an erased customer; the keyed hash follows.
const ERASED: u8 = b'e';

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

/// How often customers were wanted, and how often they were not in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reads {
    /// Wanted.
    pub(super) lookups: u64,
    /// Read from the store, or new.
    pub(super) misses: u64,
}

/// Customers in key order.
#[derive(Debug)]
pub struct Page {
    /// Keys and customers.
    pub customers: Vec<(Vec<u8>, Customer)>,
    /// After which key the next page starts; `None` when there are no more.
    pub next: Option<Vec<u8>>,
}

/// A customer in memory.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "marks that have nothing to do with each other")]
struct Cached {
    key: Box<[u8]>,
    customer: Customer,
    /// The place among `dirty` of one who changed since the last commit; whatever it was before of one who did not.
    dirty_at: usize,
    /// Of the commits that were sent, how many were before they changed last.
    n_sent: u64,
    /// Changed since they were written to the store.
    unsaved: bool,
    /// Used since the last look for somebody to let go.
    used: bool,
    /// To be removed from the store: erased.
    removed: bool,
    /// Counted among those with a deadline.
    has_deadline: bool,
    /// The deadline under which the store lists them.
    stored_deadline: Option<i64>,
    /// The same as long as it is what the store listed when they were loaded: then it comes up among the `fetched`.
    loaded_deadline: Option<i64>,
    /// The instant under which `deadlines` lists them: never later than their deadline, unless that is the loaded one.
    listed: Option<i64>,
    /// Bytes in memory, roughly.
    weight: usize,
}

/// A customer who changed since the last commit.
#[derive(Debug, Clone, Copy)]
struct Dirty {
    slot: Slot,
    /// Key and value as of now; `None` for who is still to be encoded.
    encoded: Option<Encoded>,
}

/// Where the bytes of a customer are in `encoded`: the key, and behind it the value, if there is one.
#[derive(Debug, Clone, Copy)]
struct Encoded {
    start: usize,
    key_end: usize,
    end: usize,
    removed: bool,
}

/// The customers of one partition.
#[derive(Debug)]
pub(super) struct Customers<S> {
    store: S,
    erasure_key: ErasureKey,
    /// Whether anybody was ever erased here; `None` until that is asked.
    any_erased: Option<bool>,
    slots: Slots<Cached>,
    places: Places,
    dirty: Vec<Dirty>,
    /// Who was touched last, if that was for the first time since the last commit. They are encoded when the next one is
    /// touched: they have come to the processor's caches then, and will be gone from there when the commit comes.
    latest: Option<Slot>,
    encoded: Vec<u8>,
    /// How many commits were sent, and how many of them have ended well.
    n_sent: u64,
    n_committed: u64,
    /// In the order in which they changed first since they were written.
    unsaved: VecDeque<Slot>,
    /// Unsaved as well: whose turn came when their last change was not committed yet.
    held_back: Vec<Slot>,
    round: Round,
    /// Instants at which somebody in memory is to be looked at; one that is not `listed` any more is stale.
    deadlines: BinaryHeap<Reverse<(i64, Slot)>>,
    /// The store's next deadlines, from `fetched_to` on: up to there nobody whom the store lists is still to be looked at.
    fetched: VecDeque<(i64, Vec<u8>)>,
    fetched_to: Option<(i64, Vec<u8>)>,
    /// The store has no more than those.
    fetched_all: bool,
    /// The store lists nobody before this instant.
    passed: i64,
    /// How many more customers have a deadline than in the beginning.
    n_deadlines: i64,
    /// By how many that is going to change with the next commit.
    n_deadlines_moved: i64,
    weight: usize,
    weight_max: usize,
    hand: Slot,
    reads: Reads,
}

impl<S: Store> Customers<S> {
    pub(super) fn new(store: S, erasure_key: ErasureKey) -> Self {
        Self {
            store,
            erasure_key,
            any_erased: None,
            slots: Slots::default(),
            places: Places::default(),
            dirty: Vec::new(),
            latest: None,
            encoded: Vec::new(),
            n_sent: 0,
            n_committed: 0,
            unsaved: VecDeque::new(),
            held_back: Vec::new(),
            round: Round::default(),
            deadlines: BinaryHeap::new(),
            fetched: VecDeque::new(),
            fetched_to: None,
            fetched_all: false,
            passed: i64::MIN,
            n_deadlines: 0,
            n_deadlines_moved: 0,
            weight: 0,
            weight_max: usize::MAX,
            hand: Slot::default(),
            reads: Reads::default(),
        }
    }

    /// The look-ups since last taken.
    pub(super) fn take_reads(&mut self) -> Reads {
        std::mem::take(&mut self.reads)
    }

    /// Bytes that customers in memory may take, roughly; those that are not in the store yet come on top.
    pub(super) fn limit_memory(&mut self, bytes: usize) {
        self.weight_max = bytes;
    }

    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// The customer at a place.
    pub(super) fn get(&self, slot: Slot) -> &Customer {
        &self.slots[slot].customer
    }

    /// The key of the customer at a place.
    pub(super) fn key(&self, slot: Slot) -> &[u8] {
        &self.slots[slot].key
    }

    /// The customer at a place, to be changed.
    pub(super) fn touch(&mut self, slot: Slot) -> &mut Customer {
        if self.latest != Some(slot) {
            self.encode_latest();
        }
        let entry = &mut self.slots[slot];
        entry.removed = false;
        entry.n_sent = self.n_sent;
        if let Some(dirty) = self.dirty.get_mut(entry.dirty_at).filter(|dirty| dirty.slot == slot) {
            // Who changes time and again is encoded with the commit.
            dirty.encoded = None;
        } else {
            entry.dirty_at = self.dirty.len();
            self.dirty.push(Dirty { slot, encoded: None });
            self.latest = Some(slot);
            if !std::mem::replace(&mut entry.unsaved, true) {
                self.unsaved.push_back(slot);
            }
        }
        &mut entry.customer
    }

    fn encode_latest(&mut self) {
        let Some(slot) = self.latest.take().filter(|_| self.encoded.len() < ENCODED_MAX) else { return };
        let entry = &self.slots[slot];
        let (start, removed, dirty_at) = (self.encoded.len(), entry.removed, entry.dirty_at);
        self.encoded.extend_from_slice(&entry.key);
        let key_end = self.encoded.len();
        if !removed {
            encode_into(&entry.customer, &mut self.encoded);
        }
        let end = self.encoded.len();
        self.encoded_as(slot, end - key_end);
        if let Some(dirty) = self.dirty.get_mut(dirty_at) {
            dirty.encoded = Some(Encoded { start, key_end, end, removed });
        }
    }

    /// Notes what is to be known of a customer who was encoded.
    fn encoded_as(&mut self, slot: Slot, n_bytes: usize) {
        let entry = &mut self.slots[slot];
        if !entry.removed {
            let weight = weight_of(n_bytes);
            self.weight = self.weight - entry.weight + weight;
            entry.weight = weight;
        }
        let has_deadline = entry.customer.deadline.is_some() && !entry.removed;
        let had_deadline = std::mem::replace(&mut entry.has_deadline, has_deadline);
        self.n_deadlines_moved += i64::from(has_deadline) - i64::from(had_deadline);
    }

    /// The customer if there is one, without keeping them in memory.
    pub(super) fn peek(&self, customer_id: &str) -> Result<Option<Customer>, StoreError> {
        self.peek_key(&key_of(customer_id))
    }

    fn peek_key(&self, key: &[u8]) -> Result<Option<Customer>, StoreError> {
        match self.find(key) {
            Some(slot) => Ok(Some(self.get(slot).clone())),
            None => self.store.get(key)?.map(|bytes| self.decoded(&bytes)).transpose(),
        }
    }

    fn find(&self, key: &[u8]) -> Option<Slot> {
        self.places.find(key, |slot| *self.slots[slot].key == *key)
    }

    /// Brings a customer into memory; one nobody knows is new, and stays unknown until [`touch`](Self::touch)ed.
    pub(super) fn load(&mut self, customer_id: &str) -> Result<Slot, StoreError> {
        let mut key = smallvec::SmallVec::<[u8; 64]>::new();
        key.push(CUSTOMER);
        key.extend_from_slice(customer_id.as_bytes());
        self.reads.lookups += 1;
        if let Some(slot) = self.find(&key) {
            self.slots[slot].used = true;
            return Ok(slot);
        }
        self.reads.misses += 1;
        let loaded = match self.store.get(&key)? {
            Some(bytes) => {
                let customer = self.decoded(&bytes)?;
                let (deadline, weight) = (customer.deadline, weight_of(bytes.len()));
                Cached {
                    customer,
                    stored_deadline: deadline,
                    loaded_deadline: deadline,
                    has_deadline: deadline.is_some(),
                    weight,
                    ..Cached::default()
                }
            }
            None => Cached { customer: self.after_erasure(customer_id)?, ..Cached::default() },
        };
        Ok(self.insert(&key, loaded))
    }

    fn insert(&mut self, key: &[u8], entry: Cached) -> Slot {
        let entry = Cached { key: key.into(), used: true, weight: entry.weight.max(WEIGHT_FIXED), ..entry };
        self.weight += entry.weight;
        let slot = self.slots.insert(entry);
        self.places.insert(key, slot);
        slot
    }

    /// A new customer, who goes on counting changes where one erased under the same id left off.
    fn after_erasure(&mut self, customer_id: &str) -> Result<Customer, StoreError> {
        if self.any_erased.is_none() {
            let first = self.store.scan(Some(&[CUSTOMER + 1]), 1)?;
            self.any_erased = Some(first.first().is_some_and(|(key, _)| key.first() == Some(&ERASED)));
        }
        if self.any_erased == Some(false) {
            return Ok(Customer::default());
        }
        Ok(self.peek_key(&self.erasure_key.key(customer_id))?.unwrap_or_default())
    }

    fn decoded(&self, bytes: &[u8]) -> Result<Customer, StoreError> {
        decode(bytes).map_err(|_| StoreError::Unreadable { path: self.store.location(), what: "customer".into() })
    }

    /// Forgets a customer but for the keyed hash of the id, the instant of the erasure and the last sequence.
    pub(super) fn erase(&mut self, slot: Slot, erased_at: i64) {
        let key = customer_id_of(self.key(slot)).map(|customer_id| self.erasure_key.key(customer_id));
        let customer = self.touch(slot);
        let erased_at = customer.erased_at.max(Some(erased_at));
        let remains = Customer { sequence: customer.sequence, erased_at, ..Customer::default() };
        *customer = remains.clone();
        self.slots[slot].removed = true;
        let Some(key) = key else { return };
        self.any_erased = Some(true);
        let slot = self.find(&key).unwrap_or_else(|| self.insert(&key, Cached::default()));
        *self.touch(slot) = remains;
    }

    /// The customers in key order, starting after a key, at most `limit` that the store holds: as they are now.
    pub(super) fn scan(&self, after: Option<&[u8]>, limit: usize) -> Result<Page, StoreError> {
        let mut customers = BTreeMap::new();
        let next = self.walk(after, limit, |key, customer| {
            customers.insert(key.to_vec(), customer.clone());
        })?;
        Ok(Page { customers: customers.into_iter().collect(), next })
    }

    /// Shows customers in the order of their keys, about `limit` of them after `after`, as they are now; those that the
    /// store does not have yet come last. The key to go on after, if there are more.
    pub(super) fn visit(
        &self,
        after: Option<&[u8]>,
        limit: usize,
        mut each: impl FnMut(&str, &Customer),
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.walk(after, limit, |key, customer| {
            if let Some(customer_id) = customer_id_of(key).filter(|_| customer.own_time.is_some()) {
                each(customer_id, customer);
            }
        })
    }

    fn walk(
        &self,
        after: Option<&[u8]>,
        limit: usize,
        mut each: impl FnMut(&[u8], &Customer),
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let page = self.store.scan(after, limit)?;
        let next = page.last().filter(|_| page.len() == limit).map(|(key, _)| key.clone());
        for (key, bytes) in page.iter().filter(|(key, _)| is_customer(key)) {
            match self.find(key) {
                Some(slot) => each(key, self.get(slot)),
                None => each(key, &self.decoded(bytes)?),
            }
        }
        let is_here = |key: &[u8]| {
            after.is_none_or(|after| key > after)
                && next.as_ref().is_none_or(|end| key <= end.as_slice())
                && page.binary_search_by(|(stored, _)| stored.as_slice().cmp(key)).is_err()
        };
        let unsaved = self.unsaved.iter().chain(&self.held_back);
        for slot in unsaved.filter(|slot| is_here(self.key(**slot))) {
            each(self.key(*slot), self.get(*slot));
        }
        Ok(next)
    }

    /// Puts a customer as they are now in the place of what they were.
    pub(super) fn replace(&mut self, customer_id: &str, customer: Customer) -> Result<(), StoreError> {
        let slot = self.load(customer_id)?;
        if *self.get(slot) == customer {
            // At most what is derived differs, which is not stored.
            self.slots[slot].customer = customer;
            return Ok(());
        }
        *self.touch(slot) = customer;
        self.reschedule(slot);
        Ok(())
    }

    /// Tells each customer who changed since the last commit: key and encoded value, `None` for one who is removed.
    pub(super) fn changed<E>(&mut self, mut tell: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>) -> Result<(), E> {
        let mut bytes = Vec::new();
        for place in 0..self.dirty.len() {
            let Dirty { slot, encoded } = self.dirty[place];
            if let Some(Encoded { start, key_end, end, removed }) = encoded {
                let value = (!removed).then(|| &self.encoded[key_end..end]);
                tell(&self.encoded[start..key_end], value)?;
                continue;
            }
            bytes.clear();
            let entry = &self.slots[slot];
            if !entry.removed {
                encode_into(&entry.customer, &mut bytes);
            }
            tell(&entry.key, (!entry.removed).then_some(&bytes))?;
            self.encoded_as(slot, bytes.len());
        }
        Ok(())
    }

    /// What changed is on its way to the changelog; it must not be written to the store before it is committed.
    pub(super) fn sent(&mut self) {
        self.n_sent += 1;
        self.n_deadlines += std::mem::take(&mut self.n_deadlines_moved);
        self.forget_dirty();
    }

    /// Whether customers take more memory than they may.
    pub(super) fn is_full(&self) -> bool {
        self.weight > self.weight_max
    }

    fn forget_dirty(&mut self) {
        self.dirty.clear();
        self.latest = None;
        self.encoded.clear();
    }

    /// Throws away what is in memory: the customers are as the store has them.
    pub(super) fn discard(&mut self) {
        self.slots = Slots::default();
        self.places = Places::default();
        self.forget_dirty();
        self.n_deadlines_moved = 0;
        (self.n_sent, self.n_committed) = (0, 0);
        self.unsaved.clear();
        self.held_back.clear();
        self.round = Round::default();
        self.deadlines.clear();
        self.weight = 0;
        self.reads = Reads::default();
        self.any_erased = None;
        self.passed = i64::MIN;
        self.fetched_to = None;
        self.forget_fetched();
    }
}

fn weight_of(n_bytes: usize) -> usize {
    WEIGHT_FIXED + WEIGHT_PER_BYTE * n_bytes
}
