//! One partition's life: records in order of arrival, the partition clock, and the customers' deadlines as it passes
//! them. The same for live traffic, replay and tests; only the store and who reads the wall clock differ.
//!
//! Customers that changed are kept here, in front of the store, until their transaction has committed; an aborted one
//! throws them away.

mod clock;
mod customers;
mod names;
mod percentiles;
mod ranking;
mod retention;

use std::borrow::Cow;
use std::sync::Arc;

use compact_str::CompactString;

use crate::engine::customer::Customer;
use crate::engine::effects::{Change, Outcome, Refusal};
use crate::engine::record::{Body, Envelope, Origin, Record};
use crate::engine::{Applied, Engine, catalog};
use crate::store::{Store, StoreError, Update};
pub use clock::Clock;
use customers::{Customers, Slot};
pub use customers::{ErasureKey, Page, Receipt, customer_id_of, is_customer, key_of, memory_of_customer};
use names::Names;
use percentiles::Percentiles;
pub use percentiles::Refresh;
use retention::Search;

/// Instants the engine reckons with: years 1 to 9999.
pub const INSTANTS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// One partition number.
#[derive(Debug)]
pub struct Partition<S> {
    engine: Engine,
    clock: Clock,
    customers: Customers<S>,
    percentiles: Percentiles,
    names: Names,
    search: Search,
    changes: Vec<Change>,
    counts: Counts,
}

/// What happened besides outcomes, since last taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deadlines looked at because the clock passed them.
    pub deadlines: u64,
    /// Customers erased.
    pub erased_customers: u64,
    /// Profile traits that are not declared, dropped.
    pub undeclared_traits: u64,
    /// Profile traits whose value does not fit the declared type, now unknown.
    pub misfit_traits: u64,
    /// Customers to be changed who were in memory.
    pub cache_hits: u64,
    /// Customers to be changed who had to be read from the store.
    pub cache_misses: u64,
}

impl<S: Store> Partition<S> {
    /// A partition over what `store` holds, its clock at `clock`.
    pub fn new(engine: Engine, store: S, erasure_key: ErasureKey, clock: Option<i64>) -> Self {
        Self {
            clock: Clock::new(clock),
            percentiles: Percentiles::new(engine.catalog(), engine.limits().percentile_refresh_ms),
            names: Names::of(engine.catalog()),
            search: Search::default(),
            customers: Customers::new(store, erasure_key),
            changes: Vec::new(),
            counts: Counts::default(),
            engine,
        }
    }

    /// Lets flips happen that are due before a record that is about to be offered, at most `budget`; the clock follows the
    /// record as it would then. Whether none is left, so that offering it costs no more than the record itself.
    ///
    /// # Errors
    /// When the store fails; the partition must then be [discarded](Self::discard).
    pub fn make_way(&mut self, record: &Record, wall_ms: Option<i64>, budget: usize) -> Result<bool, StoreError> {
        let occurred_at = record.envelope.occurred_at;
        let mut clock = self.clock;
        clock.follow(occurred_at, self.engine.limits().grace_ms, wall_ms);
        let Some(now) = clock.now() else { return Ok(true) };
        if self.customers.next_due(now)?.is_none() || self.refusal(record, wall_ms).is_some() {
            return Ok(true);
        }
        let slot = self.customers.load(&record.envelope.customer_id)?;
        if self.dropped(slot, &record.envelope)?.is_some() {
            return Ok(true);
        }
        self.clock = clock;
        self.pass_deadlines(budget)
    }

    /// Has the processor fetch what is in memory of customers who are about to be wanted.
    pub fn look_ahead<'k>(&self, customer_ids: impl Iterator<Item = &'k [u8]>) {
        self.customers.look_ahead(customer_ids);
    }

    /// Bytes that customers in memory may take, roughly; those that are not in the store yet come on top.
    pub fn limit_memory(&mut self, bytes: usize) {
        self.customers.limit_memory(bytes);
    }

    /// Takes a record in: refuses it, drops it, or applies it, after the flips of all customers that the clock passes
    /// with it. `wall_ms` is the wall clock, live; a replay has none.
    ///
    /// # Errors
    /// When the store fails; the partition must then be [discarded](Self::discard).
    pub fn offer(&mut self, record: &Record, origin: &Origin, wall_ms: Option<i64>) -> Result<Outcome, StoreError> {
        let envelope = &record.envelope;
        if let Some(refusal) = self.refusal(record, wall_ms) {
            return Ok(Outcome::Refused(refusal));
        }
        let slot = self.customers.load(&envelope.customer_id)?;
        if let Some(outcome) = self.dropped(slot, envelope)? {
            self.customers.close(slot);
            return Ok(outcome);
        }
        self.clock.follow(envelope.occurred_at, self.engine.limits().grace_ms, wall_ms);
        self.pass_deadlines(usize::MAX)?;
        self.apply(slot, record, origin)?;
        // What a late record leads to may be behind the clock already.
        if self.clock.now().is_some_and(|now| envelope.occurred_at < now) {
            self.pass_deadlines(usize::MAX)?;
        }
        Ok(Outcome::Processed)
    }

    /// Why a record counts for nothing, if it does; the customer is left open.
    fn dropped(&mut self, slot: Slot, envelope: &Envelope) -> Result<Option<Outcome>, StoreError> {
        let customer = self.customers.get(slot)?;
        if customer.erased_at.is_some_and(|erased_at| envelope.occurred_at < erased_at) {
            return Ok(Some(Outcome::Erased));
        }
        let is_again = customer.has_seen(catalog::key(&envelope.event_id), self.engine.limits());
        Ok(is_again.then_some(Outcome::Duplicate))
    }

    fn refusal(&self, record: &Record, wall_ms: Option<i64>) -> Option<Refusal> {
        let limits = self.engine.limits();
        let Envelope { event_id, customer_id, occurred_at } = &record.envelope;
        if customer_id.is_empty() {
            return Some(Refusal::NoCustomerId);
        }
        if event_id.is_empty() {
            return Some(Refusal::NoEventId);
        }
        if !INSTANTS.contains(occurred_at) {
            return Some(Refusal::BadTime);
        }
        if wall_ms.is_some_and(|wall_ms| *occurred_at > wall_ms.saturating_add(limits.max_ahead_ms)) {
            return Some(Refusal::InTheFuture);
        }
        let is_event = matches!(record.body, Body::Event(_));
        let is_late = self.clock.is_too_late(*occurred_at, limits.allowed_lateness_ms);
        (is_event && is_late).then_some(Refusal::TooLate)
    }

    fn apply(&mut self, slot: Slot, record: &Record, origin: &Origin) -> Result<(), StoreError> {
        let customer = self.customers.touch(slot)?;
        let Applied { erased, undeclared_traits, misfit_traits } =
            self.engine.apply(customer, record, origin, self.clock.now(), &mut self.changes);
        self.percentiles.touched(&record.envelope.customer_id);
        self.counts.undeclared_traits += undeclared_traits as u64;
        self.counts.misfit_traits += misfit_traits as u64;
        if erased {
            self.counts.erased_customers += 1;
            self.customers.erase(slot, record.envelope.occurred_at)?;
        } else {
            self.customers.settle(slot);
        }
        Ok(())
    }

    /// Moves the clock on, for the wall clock once everything has been read, or the end of a replay; at most `budget`
    /// deadlines are passed. Whether all that are due are done.
    ///
    /// # Errors
    /// When the store fails; the partition must then be [discarded](Self::discard).
    pub fn advance(&mut self, clock_ms: i64, budget: usize) -> Result<bool, StoreError> {
        self.clock.advance(clock_ms);
        self.pass_deadlines(budget)
    }

    /// Lets the flips happen whose instant the clock has passed, in order of instants.
    fn pass_deadlines(&mut self, budget: usize) -> Result<bool, StoreError> {
        let Some(now) = self.clock.now() else { return Ok(true) };
        for _ in 0..budget {
            let due = self.customers.next_due(now)?;
            if self.refresh_at_once(due.map(|(deadline, _)| deadline), now)? {
                continue;
            }
            let Some((_, slot)) = due else { return Ok(true) };
            let customer_id = CompactString::from(customer_id_of(self.customers.key(slot)).unwrap_or_default());
            let customer = self.customers.touch(slot)?;
            // One step at a time, so that customers' flips come in one order.
            let until = customer.deadline.map_or(now, |deadline| deadline.saturating_add(1).min(now));
            self.engine.elapse(&customer_id, customer, until, &mut self.changes);
            self.percentiles.touched(&customer_id);
            self.customers.settle(slot);
            self.counts.deadlines += 1;
        }
        Ok(false)
    }

    /// The segments that customers may be members of, by key: those defined now, and those of earlier definitions.
    pub fn segment_names(&self) -> impl Iterator<Item = (u64, Arc<str>)> + '_ {
        self.names.all()
    }

    /// Evaluates a customer under the present definitions, which are new to them.
    ///
    /// # Errors
    /// When the store fails; the partition must then be [discarded](Self::discard).
    pub fn redefine(&mut self, customer_id: &str) -> Result<(), StoreError> {
        let slot = self.customers.load(customer_id)?;
        let customer = self.customers.touch(slot)?;
        let now = self.clock.now().or(customer.own_time).unwrap_or(0);
        let former = |key| self.names.former(key);
        self.engine.redefine(customer_id, customer, now, former, &mut self.changes);
        self.customers.settle(slot);
        Ok(())
    }

    /// A customer as of now, uncommitted changes included; `None` if there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub fn customer(&mut self, customer_id: &str) -> Result<Option<Customer>, StoreError> {
        let customer = self.customers.peek(customer_id)?.filter(|customer| customer.own_time.is_some());
        Ok(customer.map(Cow::into_owned))
    }

    /// The receipt of a customer's last erasure, uncommitted ones included; `None` if there was none.
    ///
    /// # Errors
    /// When the store fails.
    pub fn erasure(&mut self, customer_id: &str) -> Result<Option<Receipt>, StoreError> {
        self.customers.receipt(customer_id)
    }

    /// When the clock has something to pass next, milliseconds since the epoch; it may turn out to be nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub fn next_deadline(&mut self) -> Result<Option<i64>, StoreError> {
        self.customers.next_deadline()
    }

    /// Where the partition clock is, milliseconds since the epoch.
    pub fn clock(&self) -> Option<i64> {
        self.clock.now()
    }

    /// The engine, to explain and to evaluate.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The definitions at work.
    pub fn catalog(&self) -> &Arc<catalog::Catalog> {
        self.engine.catalog()
    }

    /// The store behind, for read-outs.
    pub fn store(&self) -> &S {
        self.customers.store()
    }

    /// Changes since last taken, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The same, one after the other; what is not taken of them is lost.
    pub fn drain_changes(&mut self) -> std::vec::Drain<'_, Change> {
        self.changes.drain(..)
    }

    /// Puts changes back that were taken but not handed on.
    pub fn put_back(&mut self, mut changes: Vec<Change>) {
        changes.append(&mut self.changes);
        self.changes = changes;
    }

    /// What happened besides, since last taken.
    pub fn take_counts(&mut self) -> Counts {
        let reads = self.customers.take_reads();
        let (cache_hits, cache_misses) = (reads.lookups.saturating_sub(reads.misses), reads.misses);
        Counts { cache_hits, cache_misses, ..std::mem::take(&mut self.counts) }
    }

    /// Customers in key order, starting after a key, at most `limit` of the store's and those it does not hold yet: as of
    /// now, uncommitted changes included.
    ///
    /// # Errors
    /// When the store fails.
    pub fn scan(&self, after: Option<&[u8]>, limit: usize) -> Result<Page, StoreError> {
        self.customers.scan(after, limit)
    }

    /// Tells each customer who changed since the last commit, as the changelog holds them: key and encoded value, `None`
    /// for one who is removed.
    ///
    /// # Errors
    /// Those of `tell`.
    pub fn changed<E>(&mut self, mut tell: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>) -> Result<(), E> {
        self.customers.changed(&mut tell)?;
        for Update { key, value, .. } in self.own_updates() {
            tell(&key, value.as_deref())?;
        }
        Ok(())
    }

    /// What is of the partition and no customer.
    fn own_updates(&self) -> Vec<Update> {
        self.percentiles.updates().into_iter().chain(self.names.update()).collect()
    }

    /// What [changed](Self::changed) is on its way: what changes from here on is of the next commit.
    pub fn sent(&mut self) {
        self.customers.sent();
    }

    /// Whether nothing else may change before the next commit has [ended](Self::committed): not only customers changed, or
    /// some that the store waits for change with every commit.
    pub fn must_be_saved(&self) -> bool {
        self.customers.is_held_up() || !self.own_updates().is_empty()
    }

    /// What was [sent](Self::sent) is committed, and `marker` says how far that is. If memory is short, the store gets some
    /// of it.
    ///
    /// # Errors
    /// When the store fails; it must then be restored from the changelog.
    pub fn committed(&mut self, marker: Option<&[u8]>) -> Result<(), StoreError> {
        self.customers.committed(marker)
    }

    /// Writes what is of the partition and no customer: it is committed, and has not changed since.
    ///
    /// # Errors
    /// When the store fails; it must then be restored from the changelog.
    pub fn save_own(&mut self) -> Result<(), StoreError> {
        let updates = self.own_updates();
        self.percentiles.committed();
        self.names.committed();
        self.customers.write(updates)
    }

    /// Writes some of what is committed to the store: `share` of what waited for it when the round of writing began, but only
    /// so much that it is quickly done. `marker` is of the last commit.
    ///
    /// # Errors
    /// When the store fails; it must then be restored from the changelog.
    pub fn write_behind(&mut self, marker: Option<&[u8]>, share: f64) -> Result<(), StoreError> {
        self.customers.write_behind(marker, share)
    }

    /// All of a commit, for whoever has no transaction.
    ///
    /// # Errors
    /// When the store fails.
    pub fn commit(&mut self, share: f64) -> Result<(), StoreError> {
        self.sent();
        self.save_own()?;
        self.committed(None)?;
        self.write_behind(None, share)
    }

    /// Writes all customers that are committed to the store, with the marker if that is all there is.
    ///
    /// # Errors
    /// When the store fails; it must then be restored from the changelog.
    pub fn save(&mut self, marker: Option<&[u8]>) -> Result<(), StoreError> {
        self.customers.save(marker)
    }

    /// How many deadlines the clock has passed that are still to be looked at, and by how many more customers have one
    /// than in the beginning, as committed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn timers(&mut self) -> Result<(u64, i64), StoreError> {
        self.customers.timers(self.clock.now().unwrap_or(i64::MIN))
    }

    /// Throws away all that is not saved.
    pub fn discard(&mut self) {
        self.changes.clear();
        self.percentiles.aborted();
        self.engine.set_cut_offs(self.percentiles.cut_offs());
        self.counts = Counts::default();
        self.customers.discard();
    }
}
