//! A customer in memory: packed in one piece, and opened while there is something to do with them.
//!
//! Most customers have a dozen lists of few entries. As objects these are a dozen places in memory, each of which the processor
//! waits for; packed they are five lines of its cache one after the other, and a quarter of the bytes. A few are so large that
//! reading all of it for each record takes longer than that: they are left open, and packed once for each commit.

use std::borrow::Cow;

use crate::engine::customer::Customer;
use crate::wire::customer::{Unreadable, head, pack, unpack};

/// Bytes of a customer besides key and state: the entry here, and their places in the table of keys, among the unsaved and
/// in the list of deadlines.
const WEIGHT_FIXED: usize = size_of::<Cached>() + 32;
/// Who takes more bytes is left open.
const LARGE: usize = 1_024;
/// How many times the bytes of a large customer they take besides, open.
const WEIGHT_OPEN: usize = 5;

/// So many may be opened between two commits because they change again.
const SPARE_MAX: usize = 128;

/// Customers that are nobody any more, whose lists have memory for the next.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "boxes are handed out and come back")]
pub(super) struct Spare(Vec<Box<Customer>>);

impl Spare {
    /// Somebody to be made someone else of.
    fn take(&mut self) -> Box<Customer> {
        self.0.pop().unwrap_or_default()
    }

    /// Somebody new.
    pub(super) fn newcomer(&mut self) -> Box<Customer> {
        let mut customer = self.take();
        customer.begin_anew();
        customer
    }

    /// Takes somebody back whom nobody needs any more.
    pub(super) fn put(&mut self, customer: Box<Customer>) {
        if self.0.len() < SPARE_MAX {
            self.0.push(customer);
        }
    }
}

/// One customer.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "marks that have nothing to do with each other")]
pub(super) struct Cached {
    /// The key, and behind it the customer as they are, or were when they were opened; nothing of somebody new. There may be
    /// room behind that.
    bytes: Box<[u8]>,
    key_end: usize,
    /// The end of what is stored; what is derived follows.
    stored_end: usize,
    /// The end of that.
    end: usize,
    /// What they are now, if they are open.
    pub(super) open: Option<Box<Customer>>,
    /// Changed since they were packed.
    pub(super) is_stale: bool,
    /// To be packed with the next commit.
    pub(super) waits: bool,
    /// How many commits were sent before they changed last, the first being number one; 0 of who did not change.
    pub(super) n_sent: u64,
    /// Changed since they were written to the store.
    pub(super) unsaved: bool,
    /// Used since the last look for somebody to let go.
    pub(super) used: bool,
    /// To be removed from the store: erased.
    pub(super) removed: bool,
    /// Counted among those with a deadline.
    pub(super) has_deadline: bool,
    /// The deadline when they were packed.
    packed_deadline: Option<i64>,
    /// The deadline under which the store lists them.
    pub(super) stored_deadline: Option<i64>,
    /// The same as long as it is what the store listed when they were loaded: then it comes up among the `fetched`.
    pub(super) loaded_deadline: Option<i64>,
    /// The instant under which `deadlines` lists them: never later than their deadline, unless that is the loaded one.
    pub(super) listed: Option<i64>,
}

impl Cached {
    /// Somebody as the store has them.
    pub(super) fn of_stored(key: &[u8], stored: &[u8]) -> Result<Self, Unreadable> {
        let deadline = head(stored)?.deadline;
        Ok(Self {
            bytes: [key, stored].concat().into(),
            key_end: key.len(),
            stored_end: key.len() + stored.len(),
            end: key.len() + stored.len(),
            packed_deadline: deadline,
            stored_deadline: deadline,
            loaded_deadline: deadline,
            has_deadline: deadline.is_some(),
            ..Self::default()
        })
    }

    /// Somebody the store does not have.
    pub(super) fn of_new(key: &[u8], customer: Box<Customer>) -> Self {
        let (bytes, end) = (key.into(), key.len());
        Self { bytes, key_end: end, stored_end: end, end, open: Some(customer), ..Self::default() }
    }

    /// The customer, opened; in one of `spare`, if there is one.
    pub(super) fn open(&mut self, spare: &mut Spare) -> Result<&mut Customer, Unreadable> {
        if self.open.is_none() {
            let mut customer = spare.take();
            self.unpack(&mut customer)?;
            self.open = Some(customer);
        }
        Ok(self.open.get_or_insert_default())
    }

    /// The customer, to be looked at.
    pub(super) fn customer(&self) -> Result<Cow<'_, Customer>, Unreadable> {
        if let Some(customer) = &self.open {
            return Ok(Cow::Borrowed(customer));
        }
        let mut customer = Customer::default();
        self.unpack(&mut customer)?;
        Ok(Cow::Owned(customer))
    }

    fn unpack(&self, customer: &mut Customer) -> Result<(), Unreadable> {
        let packed = self.bytes.get(self.key_end..self.end).ok_or(Unreadable)?;
        unpack(packed, self.stored_end - self.key_end, customer)
    }

    /// The store's key of the customer; nothing where there is nobody.
    pub(super) fn key(&self) -> &[u8] {
        self.bytes.get(..self.key_end).unwrap_or_default()
    }

    /// What is stored of them, as they were packed; `None` of who is to be removed.
    pub(super) fn stored(&self) -> Option<&[u8]> {
        self.bytes.get(self.key_end..self.stored_end).filter(|_| !self.removed)
    }

    /// Something of each line of the processor's cache that this entry takes.
    pub(super) fn glance(&self) -> usize {
        self.end ^ usize::from(self.listed.is_some()) ^ usize::from(self.unsaved)
    }

    /// Something of each line that they take packed, where that is to be read.
    pub(super) fn skim(&self) -> usize {
        let unread = if self.open.is_none() { &self.bytes[..] } else { &[] };
        unread.iter().step_by(64).fold(0, |seen, byte| seen ^ usize::from(*byte))
    }

    /// Whether they are left open.
    pub(super) fn is_large(&self) -> bool {
        self.end > LARGE
    }

    /// Packs what they are now, if that is something else. `buffer` is for the purpose, so that it need not be asked for each
    /// time.
    pub(super) fn pack(&mut self, buffer: &mut Vec<u8>) {
        let Some(customer) = self.open.as_ref().filter(|_| self.is_stale || self.stored_end == self.key_end) else {
            return;
        };
        buffer.clear();
        buffer.extend_from_slice(self.bytes.get(..self.key_end).unwrap_or_default());
        self.stored_end = self.key_end + pack(customer, buffer);
        self.packed_deadline = customer.deadline;
        self.is_stale = false;
        self.end = buffer.len();
        let room = room_for(self.end);
        if room > self.bytes.len() || room < self.bytes.len() / 2 {
            buffer.resize(room, 0);
            self.bytes = buffer.as_slice().into();
        } else {
            self.bytes[..self.end].copy_from_slice(buffer);
        }
    }

    /// When time alone may next change something.
    pub(super) fn deadline(&self) -> Option<i64> {
        self.open.as_ref().map_or(self.packed_deadline, |customer| customer.deadline)
    }

    /// Bytes in memory, roughly, with what the allocator rounds up to, and those who are open just now.
    pub(super) fn weight(&self) -> usize {
        weight(self.bytes.len(), self.is_large())
    }
}

fn weight(room: usize, is_large: bool) -> usize {
    WEIGHT_FIXED + room + if is_large { WEIGHT_OPEN * room } else { room / 8 }
}

/// Bytes that a customer takes in memory, roughly, of whom key and state are so many bytes.
#[must_use]
pub fn memory_of_customer(n_bytes: usize) -> usize {
    weight(room_for(n_bytes), n_bytes > LARGE)
}

/// Room for so many bytes, which costs nothing: allocators have four sizes between a power of two and the next.
fn room_for(n_bytes: usize) -> usize {
    n_bytes.next_multiple_of((n_bytes.next_power_of_two() / 8).max(16))
}
