//! The customers of a partition in memory, in front of the store, and the order in which their deadlines fall due.
//!
//! The store is written behind: a customer who changed stays here over many commits, because the changelog already holds
//! them, and is written when their turn comes round. What is not committed is never written. So what the store holds is
//! never ahead of Kafka, and at least what its marker says: reading the changelog from there on makes it whole.

mod ahead;
mod behind;
mod cached;
mod deadlines;
mod erasure;
mod slots;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use smallvec::SmallVec;

use crate::engine::customer::Customer;
use crate::store::{Store, StoreError};
use crate::wire::customer::{Unreadable, decode};
use behind::Round;
pub use cached::memory_of_customer;
use cached::{Cached, Spare};
pub use erasure::{ErasureKey, Receipt};
pub(super) use slots::Slot;
use slots::{Places, Slots};

/// First byte of the key of a customer; the customer id follows.
const CUSTOMER: u8 = b'c';
/// First byte of the key of an erased customer; the keyed hash follows.
const ERASED: u8 = b'e';

/// The store's key of a customer.
#[must_use]
pub fn key_of(customer_id: &str) -> Vec<u8> {
    short_key(customer_id.as_bytes()).into_vec()
}

/// The same, for the moment.
fn short_key(customer_id: &[u8]) -> SmallVec<[u8; 64]> {
    let mut key = SmallVec::new();
    key.push(CUSTOMER);
    key.extend_from_slice(customer_id);
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

/// The customers of one partition.
#[derive(Debug)]
pub(super) struct Customers<S> {
    store: S,
    erasure_key: ErasureKey,
    /// Whether anybody was ever erased here; `None` until that is asked.
    any_erased: Option<bool>,
    slots: Slots<Cached>,
    places: Places,
    /// Who changed since the last commit.
    dirty: Vec<Slot>,
    /// Who is packed with the next commit.
    waiting: Vec<Slot>,
    /// To pack customers in.
    buffer: Vec<u8>,
    /// To open customers in.
    spare: Spare,
    /// How many commits were sent, and how many of them have ended well; one more each, so that 0 is before all of them.
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
            waiting: Vec::new(),
            buffer: Vec::new(),
            spare: Spare::default(),
            n_sent: 1,
            n_committed: 1,
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

    /// The customer at a place, who is open until they are [settled](Self::settle) or [closed](Self::close).
    pub(super) fn get(&mut self, slot: Slot) -> Result<&Customer, StoreError> {
        self.open(slot).map(|customer| &*customer)
    }

    /// The key of the customer at a place.
    pub(super) fn key(&self, slot: Slot) -> &[u8] {
        self.slots[slot].key()
    }

    /// The customer at a place, to be changed, and then [settled](Self::settle).
    pub(super) fn touch(&mut self, slot: Slot) -> Result<&mut Customer, StoreError> {
        self.open(slot)?;
        let entry = &mut self.slots[slot];
        (entry.removed, entry.is_stale) = (false, true);
        if std::mem::replace(&mut entry.n_sent, self.n_sent) != self.n_sent {
            self.dirty.push(slot);
            if !std::mem::replace(&mut entry.unsaved, true) {
                self.unsaved.push_back(slot);
            }
        }
        self.open(slot)
    }

    fn open(&mut self, slot: Slot) -> Result<&mut Customer, StoreError> {
        let entry = &mut self.slots[slot];
        if entry.open.is_none() && entry.n_sent == self.n_sent && !entry.waits {
            // Who has changed since the last commit may do so time and again.
            entry.waits = true;
            self.waiting.push(slot);
        }
        entry.open(&mut self.spare).map_err(|Unreadable| unreadable(&self.store))
    }

    /// Packs a customer nobody needs any more, now or with the next commit.
    pub(super) fn close(&mut self, slot: Slot) {
        let entry = &mut self.slots[slot];
        if entry.waits {
            return;
        }
        if entry.is_large() {
            entry.waits = true;
            return self.waiting.push(slot);
        }
        self.pack(slot);
    }

    fn pack_waiting(&mut self) {
        for slot in std::mem::take(&mut self.waiting) {
            self.slots[slot].waits = false;
            self.pack(slot);
        }
    }

    fn pack(&mut self, slot: Slot) {
        let entry = &mut self.slots[slot];
        self.weight -= entry.weight();
        entry.pack(&mut self.buffer);
        self.weight += entry.weight();
        let has_deadline = entry.deadline().is_some() && !entry.removed;
        let had_deadline = std::mem::replace(&mut entry.has_deadline, has_deadline);
        self.n_deadlines_moved += i64::from(has_deadline) - i64::from(had_deadline);
        if !entry.is_large()
            && let Some(customer) = entry.open.take()
        {
            self.spare.put(customer);
        }
    }

    /// The customer if there is one, without keeping them in memory.
    pub(super) fn peek(&self, customer_id: &str) -> Result<Option<Cow<'_, Customer>>, StoreError> {
        self.peek_key(&key_of(customer_id))
    }

    fn peek_key(&self, key: &[u8]) -> Result<Option<Cow<'_, Customer>>, StoreError> {
        match self.find(key) {
            Some(slot) => self.customer(slot).map(Some),
            None => self.store.get(key)?.map(|bytes| self.decoded(&bytes).map(Cow::Owned)).transpose(),
        }
    }

    fn customer(&self, slot: Slot) -> Result<Cow<'_, Customer>, StoreError> {
        self.slots[slot].customer().map_err(|Unreadable| unreadable(&self.store))
    }

    fn find(&self, key: &[u8]) -> Option<Slot> {
        self.places.find(key, |slot| self.slots[slot].key() == key)
    }

    /// Brings a customer into memory; one nobody knows is new, and stays unknown until [`touch`](Self::touch)ed.
    pub(super) fn load(&mut self, customer_id: &str) -> Result<Slot, StoreError> {
        let key = short_key(customer_id.as_bytes());
        self.reads.lookups += 1;
        if let Some(slot) = self.find(&key) {
            self.slots[slot].used = true;
            return Ok(slot);
        }
        self.reads.misses += 1;
        let loaded = match self.store.get(&key)? {
            Some(bytes) => Cached::of_stored(&key, &bytes).map_err(|Unreadable| unreadable(&self.store))?,
            None => Cached::of_new(&key, self.newcomer(customer_id)?),
        };
        Ok(self.insert(loaded))
    }

    fn insert(&mut self, mut entry: Cached) -> Slot {
        entry.used = true;
        self.weight += entry.weight();
        let slot = self.slots.insert(entry);
        self.places.insert(self.slots[slot].key(), slot);
        slot
    }

    /// A new customer, who goes on counting changes where one erased under the same id left off.
    fn newcomer(&mut self, customer_id: &str) -> Result<Box<Customer>, StoreError> {
        Ok(self.remains(customer_id)?.map_or_else(|| self.spare.newcomer(), Box::new))
    }

    fn decoded(&self, bytes: &[u8]) -> Result<Customer, StoreError> {
        decode(bytes).map_err(|Unreadable| unreadable(&self.store))
    }

    /// Forgets a customer but for the keyed hash of the id, the instant of the erasure and the last sequence.
    pub(super) fn erase(&mut self, slot: Slot, erased_at: i64) -> Result<(), StoreError> {
        let key = customer_id_of(self.key(slot)).map(|customer_id| self.erasure_key.key(customer_id));
        let customer = self.touch(slot)?;
        let erased_at = customer.erased_at.max(Some(erased_at));
        let remains = Customer { sequence: customer.sequence, erased_at, ..Customer::default() };
        *customer = remains.clone();
        self.slots[slot].removed = true;
        self.close(slot);
        let Some(key) = key else { return Ok(()) };
        self.any_erased = Some(true);
        let slot = self.find(&key).unwrap_or_else(|| self.insert(Cached::of_new(&key, Box::default())));
        *self.touch(slot)? = remains;
        self.close(slot);
        Ok(())
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
                Some(slot) => each(key, &*self.customer(slot)?),
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
            each(self.key(*slot), &*self.customer(*slot)?);
        }
        Ok(next)
    }

    /// Puts a customer as they are now in the place of what they were.
    pub(super) fn replace(&mut self, customer_id: &str, customer: Customer) -> Result<(), StoreError> {
        let slot = self.load(customer_id)?;
        if *self.get(slot)? == customer {
            // At most what is derived differs, which is not stored.
            *self.open(slot)? = customer;
            self.slots[slot].is_stale = true;
        } else {
            *self.touch(slot)? = customer;
        }
        self.settle(slot);
        Ok(())
    }

    /// Tells each customer who changed since the last commit: key and encoded value, `None` for one who is removed.
    pub(super) fn changed<E>(&mut self, mut tell: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>) -> Result<(), E> {
        self.pack_waiting();
        for slot in &self.dirty {
            let entry = &self.slots[*slot];
            tell(entry.key(), entry.stored())?;
        }
        Ok(())
    }

    /// What changed is on its way to the changelog; it must not be written to the store before it is committed.
    pub(super) fn sent(&mut self) {
        self.pack_waiting();
        self.n_sent += 1;
        self.n_deadlines += std::mem::take(&mut self.n_deadlines_moved);
        self.dirty.clear();
    }

    /// Whether customers take more memory than they may.
    pub(super) fn is_full(&self) -> bool {
        self.weight > self.weight_max
    }

    /// Throws away what is in memory: the customers are as the store has them.
    pub(super) fn discard(&mut self) {
        self.slots = Slots::default();
        self.places = Places::default();
        self.dirty.clear();
        self.waiting.clear();
        self.n_deadlines_moved = 0;
        (self.n_sent, self.n_committed) = (1, 1);
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

fn unreadable(store: &impl Store) -> StoreError {
    StoreError::Unreadable { path: store.location(), what: "customer".into() }
}
