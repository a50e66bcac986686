//! Customers nobody has heard of for too long are forgotten, as if they had asked for it. They are looked for now and
//! then, some at a time beside the records: nothing hangs on the very instant.

use compact_str::CompactString;

use crate::engine::customer::Customer;
use crate::store::{Store, StoreError};

use super::Partition;

/// How long between two looks at everybody, milliseconds of the partition clock, at least and at most; in between, a
/// hundredth of the retention.
const PAUSE_MS: std::ops::RangeInclusive<i64> = 1_000..=86_400_000;

/// How far the look at everybody has come.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// The last key looked at; `None` at the beginning.
    after: Option<Vec<u8>>,
    /// No look before this, milliseconds since the epoch.
    not_before: Option<i64>,
}

impl<S: Store> Partition<S> {
    /// Looks at about `limit` customers and forgets those not heard of for as long as the limits say; the changes that
    /// end their memberships are among the changes. How many were forgotten, and whether there is more to do at once.
    ///
    /// # Errors
    /// When the store fails; the partition must then be [discarded](Self::discard).
    pub fn forget_idle(&mut self, limit: usize) -> Result<(usize, bool), StoreError> {
        let (Some(now), Some(retention_ms)) = (self.clock.now(), self.engine.limits().retention_ms) else {
            return Ok((0, false));
        };
        if self.search.not_before.is_some_and(|not_before| now < not_before) {
            return Ok((0, false));
        }
        let expiry = |customer: &Customer| customer.heard_at().map(|heard_at| heard_at.saturating_add(retention_ms));
        let mut idle: Vec<(CompactString, i64)> = Vec::new();
        let next = self.customers.visit(self.search.after.as_deref(), limit, |customer_id, customer| {
            let expired = expiry(customer).filter(|expiry| *expiry <= now);
            idle.extend(expired.map(|expired| (customer_id.into(), expired)));
        })?;
        for (customer_id, expired) in &idle {
            self.forget(customer_id, *expired)?;
        }
        if next.is_none() {
            let pause_ms = (retention_ms / 100).clamp(*PAUSE_MS.start(), *PAUSE_MS.end());
            self.search.not_before = Some(now.saturating_add(pause_ms));
        }
        self.search.after = next;
        Ok((idle.len(), self.search.after.is_some()))
    }

    fn forget(&mut self, customer_id: &str, at: i64) -> Result<(), StoreError> {
        let slot = self.customers.load(customer_id)?;
        let customer = self.customers.touch(slot)?;
        self.engine.forget(customer_id, customer, at, &mut self.changes);
        self.percentiles.touched(customer_id);
        self.counts.erased_customers += 1;
        self.customers.erase(slot, at)
    }
}
