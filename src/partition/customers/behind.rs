//! Writing behind: who changed goes to the store some time after their commit, and may then leave memory.
//!
//! A round of writing begins with all who are unsaved, and ends when they are written. What the marker of its beginning
//! says is then in the store.

use super::{Customers, Slot};
use crate::store::{Batch, Store, StoreError, Update};

/// Customers that are written to the store at once when memory is short.
const RELIEF: usize = 4_096;
/// Customers that are written to the store at once when it is not.
const AT_ONCE: usize = 1_000;

/// One turn of writing behind: when those who were unsaved at its beginning are written, and nobody of them is held back,
/// the store holds what the marker of its beginning says.
#[derive(Debug, Default)]
pub(super) struct Round {
    marker: Option<Vec<u8>>,
    /// How many of `unsaved` are still of this round.
    remaining: usize,
    /// How many there were.
    length: usize,
}

impl<S: Store> Customers<S> {
    /// What was sent is committed. If memory is short, some of it goes to the store at once, to let others go.
    pub(in crate::partition) fn committed(&mut self, marker: Option<&[u8]>) -> Result<(), StoreError> {
        self.n_committed = self.n_sent;
        if self.is_full() {
            self.save_some(marker, RELIEF.max(self.unsaved.len() / 4))?;
            self.let_go();
        }
        Ok(())
    }

    /// Writes what is of the partition itself.
    pub(in crate::partition) fn write(&mut self, updates: Vec<Update>) -> Result<(), StoreError> {
        if updates.is_empty() { Ok(()) } else { self.store.write(&Batch { updates, marker: None }) }
    }

    /// Part of what is unsaved goes to the store: `share` of the round, which is the part of the time for a round that has
    /// passed since the last time, but not so much that others wait long.
    pub(in crate::partition) fn write_behind(&mut self, marker: Option<&[u8]>, share: f64) -> Result<(), StoreError> {
        let is_new = self.round.marker.as_deref() != marker;
        if self.unsaved.is_empty() && self.held_back.is_empty() && !is_new {
            return Ok(());
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rough part of a number of customers in memory"
        )]
        let quota = (self.round.length as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
        self.save_some(marker, quota.min(AT_ONCE))
    }

    /// Whether a round cannot end because those who are held back change with every commit.
    pub(in crate::partition) fn is_held_up(&self) -> bool {
        self.round.remaining == 0 && !self.held_back.is_empty()
    }

    /// Writes all that is committed to the store; the marker only if that is all.
    pub(in crate::partition) fn save(&mut self, marker: Option<&[u8]>) -> Result<(), StoreError> {
        self.round = Round { marker: marker.map(<[u8]>::to_vec), remaining: self.unsaved.len(), length: 0 };
        self.save_some(marker, self.unsaved.len())
    }

    /// Writes the next `quota` of those who are unsaved to the store, and the marker of the round where that ends. Who has
    /// changed since the last commit that ended is held back: what was committed of them is not known any more.
    fn save_some(&mut self, marker: Option<&[u8]>, quota: usize) -> Result<(), StoreError> {
        let n_taken = quota.min(self.unsaved.len());
        let is_last = n_taken >= self.round.remaining;
        let held_back = if is_last { self.held_back.as_slice() } else { &[] };
        let turn = held_back.iter().chain(self.unsaved.range(..n_taken)).copied();
        let (ready, not_yet): (Vec<_>, Vec<_>) = turn.partition(|slot| self.slots[*slot].n_sent < self.n_committed);
        let ends_round = is_last && not_yet.is_empty();
        let batch = Batch {
            updates: ready.iter().map(|slot| self.update_of(*slot)).collect(),
            marker: if ends_round { self.round.marker.take() } else { None },
        };
        if !batch.updates.is_empty() || batch.marker.is_some() {
            self.store.write(&batch)?;
        }
        for slot in ready {
            self.saved(slot);
        }
        if is_last {
            self.held_back.clear();
        }
        self.held_back.extend(not_yet);
        self.unsaved.drain(..n_taken);
        self.round.remaining = self.round.remaining.saturating_sub(n_taken);
        if ends_round {
            let length = self.unsaved.len();
            self.round = Round { marker: marker.map(<[u8]>::to_vec), remaining: length, length };
        }
        Ok(())
    }

    /// What the store is to be told of a customer.
    fn update_of(&self, slot: Slot) -> Update {
        let entry = &self.slots[slot];
        let value = entry.stored().map(<[u8]>::to_vec);
        let deadline = entry.deadline().filter(|_| !entry.removed);
        Update::relisted(entry.key().to_vec(), value, entry.stored_deadline, deadline)
    }

    /// Notes that the store has been told.
    fn saved(&mut self, slot: Slot) {
        let entry = &mut self.slots[slot];
        entry.unsaved = false;
        let deadline = entry.deadline().filter(|_| !entry.removed);
        if std::mem::replace(&mut entry.stored_deadline, deadline) != deadline {
            entry.loaded_deadline = None;
        }
        // Where it does not come up by itself any more, the store is to be looked through from there on again: the customer
        // may leave memory.
        if let Some(deadline) = deadline.filter(|_| entry.loaded_deadline.is_none()) {
            self.passed = self.passed.min(deadline);
            self.fetched_to.take_if(|(instant, _)| *instant >= deadline);
        }
    }

    /// Lets customers go who were not used lately and are in the store, until memory is what it should be.
    fn let_go(&mut self) {
        let mut any = false;
        for _ in 0..2 * self.slots.len() {
            if !self.is_full() {
                break;
            }
            self.hand = self.slots.after(self.hand);
            let entry = &mut self.slots[self.hand];
            if entry.key().is_empty() || entry.unsaved || std::mem::take(&mut entry.used) {
                continue;
            }
            let entry = self.slots.free(self.hand);
            self.places.remove(entry.key(), self.hand);
            self.weight -= entry.weight();
            any = true;
        }
        if any {
            // Their deadlines are the store's to tell from now on.
            self.forget_fetched();
        }
    }
}
