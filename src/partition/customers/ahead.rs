//! Looking ahead: the processor waits a hundred cycles and more for each place in memory. One customer after the other has four
//! such places to be waited for; where several are read that have nothing to do with each other, it waits for them at once.

use smallvec::SmallVec;

use super::{Customers, Slot, short_key};
use crate::store::Store;

impl<S: Store> Customers<S> {
    /// Reads something of everything that customers take in memory, so that it is in the processor's caches.
    pub(in crate::partition) fn look_ahead<'k>(&self, customer_ids: impl Iterator<Item = &'k [u8]>) {
        // That it is the place of another with the same hash does not matter here, and to compare keys is to wait for them.
        let places = customer_ids.filter_map(|customer_id| self.places.find(&short_key(customer_id), |_| true));
        let slots: SmallVec<[Slot; 16]> = places.collect();
        let glances = slots.iter().fold(0, |seen, slot| seen ^ self.slots[*slot].glance());
        let skimmed = slots.iter().fold(0, |seen, slot| seen ^ self.slots[*slot].skim());
        // What nobody needs would not be read.
        std::hint::black_box((glances, skimmed));
    }
}
