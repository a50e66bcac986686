//! Where customers are in memory, and which of them has a key. Both grow a little at a time: what would be moved all at once,
//! as a vector or a table is that doubles, would hold up a partition of a million customers for a tenth of a second.

use std::hash::BuildHasher as _;
use std::ops::{Index, IndexMut};

use hashbrown::HashTable;

/// Entries of a page.
const PAGE: usize = 256;
/// Tables that double each at its own time.
const N_TABLES: usize = 64;

/// Where a customer is in memory; stays the same until the next commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::partition) struct Slot(u32);

impl Slot {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// Entries by slot, in pages that stay where they are.
#[derive(Debug)]
pub(super) struct Slots<T> {
    pages: Vec<Vec<T>>,
    free: Vec<Slot>,
    len: u32,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    /// Puts an entry into a slot that was freed, or into a new one.
    pub(super) fn insert(&mut self, entry: T) -> Slot {
        if let Some(slot) = self.free.pop() {
            self[slot] = entry;
            return slot;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(entry);
        }
        let slot = Slot(self.len);
        // Four thousand million customers are more than fits.
        self.len = self.len.saturating_add(1);
        slot
    }

    /// Lets another have the slot.
    pub(super) fn free(&mut self, slot: Slot) -> T
    where
        T: Default,
    {
        self.free.push(slot);
        std::mem::take(&mut self[slot])
    }

    /// How many slots there are, free ones included.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// The slot after this one; the first after the last.
    pub(super) fn after(&self, slot: Slot) -> Slot {
        if slot.0 + 1 < self.len { Slot(slot.0 + 1) } else { Slot(0) }
    }
}

impl<T> Index<Slot> for Slots<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        &self.pages[slot.index() / PAGE][slot.index() % PAGE]
    }
}

impl<T> IndexMut<Slot> for Slots<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        &mut self.pages[slot.index() / PAGE][slot.index() % PAGE]
    }
}

/// Slots by key. A part of each key's hash is kept, so that a table that doubles need not look at the keys.
#[derive(Debug)]
pub(super) struct Places {
    tables: Box<[HashTable<Place>]>,
    hasher: foldhash::fast::RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u32,
    slot: Slot,
}

impl Place {
    /// The tables want all 64 bits to differ.
    fn spread(self) -> u64 {
        u64::from(self.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Default for Places {
    fn default() -> Self {
        let tables = (0..N_TABLES).map(|_| HashTable::new()).collect();
        Self { tables, hasher: foldhash::fast::RandomState::default() }
    }
}

impl Places {
    /// The slot of a key, of those that may have it.
    pub(super) fn find(&self, key: &[u8], mut has_key: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let (table, hash) = self.place(key);
        let sought = Place { hash, slot: Slot(0) };
        let is_it = |place: &Place| place.hash == hash && has_key(place.slot);
        self.tables[table].find(sought.spread(), is_it).map(|place| place.slot)
    }

    /// Notes the slot of a key that has none.
    pub(super) fn insert(&mut self, key: &[u8], slot: Slot) {
        let (table, hash) = self.place(key);
        let place = Place { hash, slot };
        self.tables[table].insert_unique(place.spread(), place, |place| place.spread());
    }

    /// Forgets that a key has this slot.
    pub(super) fn remove(&mut self, key: &[u8], slot: Slot) {
        let (table, hash) = self.place(key);
        let place = Place { hash, slot };
        if let Ok(found) = self.tables[table].find_entry(place.spread(), |other| other.slot == slot) {
            found.remove();
        }
    }

    /// The table of a key, and what of its hash is kept.
    fn place(&self, key: &[u8]) -> (usize, u32) {
        let hash = self.hasher.hash_one(key);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let kept = hash as u32;
        ((hash >> 32) as usize % N_TABLES, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_slots_while_others_come_and_go() {
        let (mut slots, mut places) = (Slots::<String>::default(), Places::default());
        let key = |number: usize| format!("customer-{number}");
        let find = |slots: &Slots<String>, places: &Places, number: usize| {
            places.find(key(number).as_bytes(), |slot| slots[slot] == key(number))
        };
        for number in 0..10 * PAGE {
            let slot = slots.insert(key(number));
            places.insert(key(number).as_bytes(), slot);
            if number % 3 == 2 {
                let gone = find(&slots, &places, number - 1).unwrap();
                assert_eq!(slots.free(gone), key(number - 1));
                places.remove(key(number - 1).as_bytes(), gone);
            }
        }
        for number in 0..10 * PAGE {
            let is_gone = number % 3 == 1 && number + 1 < 10 * PAGE;
            assert_eq!(find(&slots, &places, number).is_none(), is_gone, "{number}");
        }
        assert!(slots.len() < 7 * PAGE, "slots are used again");
        assert_eq!(slots.after(slots.after(Slot(slots.len - 2))), Slot(0));
    }
}
