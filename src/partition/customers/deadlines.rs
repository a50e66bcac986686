//! The order in which customers' deadlines fall due: of those in memory by a heap, of the others by the store's list.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;

use compact_str::CompactString;

use super::{Customers, Slot, customer_id_of};
use crate::store::{Store, StoreError};

/// Deadlines fetched from the store at a time.
const DUE_PAGE: usize = 256;

impl<S: Store> Customers<S> {
    /// Packs a customer who was changed, and sees to it that they are looked at when the deadline they have now is due. One
    /// that moved to a later instant is looked at in vain once, which costs less than to list everybody anew with each event.
    pub(in crate::partition) fn settle(&mut self, slot: Slot) {
        self.close(slot);
        let entry = &mut self.slots[slot];
        let Some(deadline) = entry.deadline() else { return };
        let is_listed = entry.listed.is_some_and(|listed| listed <= deadline);
        if is_listed || entry.loaded_deadline == Some(deadline) {
            return;
        }
        entry.listed = Some(deadline);
        self.deadlines.push(Reverse((deadline, slot)));
        if self.deadlines.len() > 1_024 + 2 * self.slots.len() {
            self.drop_stale();
        }
    }

    fn drop_stale(&mut self) {
        let slots = std::mem::take(&mut self.deadlines).into_vec();
        let is_current = |Reverse((listed, slot)): &Reverse<(i64, Slot)>| self.slots[*slot].listed == Some(*listed);
        let mut current: Vec<_> = slots.into_iter().filter(is_current).collect();
        current.sort_unstable();
        current.dedup();
        self.deadlines = current.into();
    }

    /// The earliest deadline before `now`, and whose it is.
    pub(in crate::partition) fn next_due(&mut self, now: i64) -> Result<Option<(i64, Slot)>, StoreError> {
        loop {
            let listed = self.deadlines.peek().map(|Reverse(first)| *first).filter(|(instant, _)| *instant < now);
            let stored = self.next_stored()?.filter(|instant| *instant < now);
            match (listed, stored) {
                (Some((instant, slot)), stored) if stored.is_none_or(|stored| instant <= stored) => {
                    if self.is_due(slot, instant) {
                        return Ok(Some((instant, slot)));
                    }
                    self.list_anew();
                }
                (_, Some(instant)) => {
                    let slot = self.load_fetched()?;
                    if let Some(slot) = slot.filter(|slot| self.is_due(*slot, instant)) {
                        return Ok(Some((instant, slot)));
                    }
                    self.fetched_to = self.fetched.pop_front();
                    // It does not come up again, should the customer's deadline come back to it.
                    if let Some(slot) = slot {
                        self.slots[slot].loaded_deadline.take_if(|loaded| *loaded == instant);
                    }
                }
                _ => {
                    self.passed = self.passed.max(now);
                    return Ok(None);
                }
            }
        }
    }

    /// The least instant at which somebody is to be looked at, be it in vain.
    pub(in crate::partition) fn next_deadline(&mut self) -> Result<Option<i64>, StoreError> {
        let listed = self.deadlines.peek().map(|Reverse((instant, _))| *instant);
        Ok(listed.into_iter().chain(self.next_stored()?).min())
    }

    fn is_due(&self, slot: Slot, instant: i64) -> bool {
        self.slots[slot].deadline().is_some_and(|deadline| deadline <= instant)
    }

    /// Takes the first of the listed deadlines away; the customer's has moved on, and is listed instead.
    fn list_anew(&mut self) {
        let Some(mut first) = self.deadlines.peek_mut() else { return };
        let Reverse((instant, slot)) = *first;
        let entry = &mut self.slots[slot];
        if entry.listed == Some(instant) {
            entry.listed = entry.deadline().filter(|deadline| entry.loaded_deadline != Some(*deadline));
            if let Some(deadline) = entry.listed {
                *first = Reverse((deadline, slot));
                return;
            }
        }
        PeekMut::pop(first);
    }

    fn load_fetched(&mut self) -> Result<Option<Slot>, StoreError> {
        let Some((_, key)) = self.fetched.front() else { return Ok(None) };
        if let Some(slot) = self.find(key) {
            return Ok(Some(slot));
        }
        let customer_id = customer_id_of(key).map(CompactString::from);
        customer_id.map(|customer_id| self.load(&customer_id)).transpose()
    }

    /// How many deadlines before `now` are still to be looked at, and by how many more customers have one than in the
    /// beginning, as committed.
    pub(in crate::partition) fn timers(&mut self, now: i64) -> Result<(u64, i64), StoreError> {
        let mut n_due = 0;
        if self.next_due(now)?.is_some() {
            let stored = self.fetched.iter().filter(|(instant, _)| *instant < now).count();
            n_due = self.deadlines.iter().filter(|Reverse((instant, _))| *instant < now).count() + stored;
        }
        Ok((n_due as u64, self.n_deadlines))
    }

    /// The store's next deadline; more are fetched when all that were are used up.
    fn next_stored(&mut self) -> Result<Option<i64>, StoreError> {
        if self.fetched.is_empty() && !self.fetched_all {
            let fetched_to = self.fetched_to.as_ref().map(|(instant, key)| (*instant, key.as_slice()));
            // What is behind is not looked at again: a database remembers for long what was deleted there.
            let after = fetched_to.filter(|(instant, _)| *instant >= self.passed);
            let after = after.or_else(|| Some((self.passed.checked_sub(1)?, [u8::MAX].as_slice())));
            let page = self.store.due(i64::MAX, after, DUE_PAGE)?;
            self.fetched_all = page.len() < DUE_PAGE;
            self.fetched.extend(page);
        }
        Ok(self.fetched.front().map(|(instant, _)| *instant))
    }

    pub(super) fn forget_fetched(&mut self) {
        self.fetched.clear();
        self.fetched_all = false;
    }
}
