//! When what percentiles compare with is made anew, and by which steps.
//!
//! At each multiple of the refresh interval that the partition clock passes, the values of all customers as of that
//! instant are collected; the distribution over them is put in force; and whoever changes sides under it gets their change,
//! with that instant. Alone, as in a replay, that is one step and exact. With other partitions it goes on beside the
//! records, some customers at a time, and waits for the others' distributions in between; what is in force is part of the
//! partition's state, so that a restart goes on with the same.

use std::sync::Arc;

use compact_str::CompactString;
use rust_decimal::Decimal;

use crate::engine::catalog::Catalog;
use crate::engine::customer::Customer;
use crate::engine::percentile::{CutOffs, Distribution};
use crate::store::{Store, StoreError, Update};
use crate::wire::distribution::{Dated, decode, encode};

use super::Partition;
use super::ranking::Ranking;

/// First byte of the key of a distribution in force; the percentile's stable name follows.
const PERCENTILE: u8 = b'p';
/// How finely a distribution is described to others: ranks are wrong by at most a thousandth of the customers for it.
const PARTS: u64 = 500;
/// Values collected before they are summed up, so that memory does not grow with the customers of a partition.
const CHUNK: usize = 1 << 20;
/// How finely they are.
const CHUNK_PARTS: u64 = 10_000;

/// Where a refresh stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// Nothing is to be done before the clock moves on.
    Done,
    /// There is more to do.
    Going,
    /// This partition's distributions as of an instant are known; those of the others are waited for.
    Collected(i64),
}

/// What customers are compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct InForce {
    at: Option<i64>,
    cut_offs: Arc<CutOffs>,
    /// Whether every customer was compared with it.
    applied: bool,
}

#[derive(Debug)]
enum Work {
    Idle,
    Collecting {
        at: i64,
        after: Option<Vec<u8>>,
        collected: Vec<Collected>,
    },
    Collected {
        at: i64,
        own: Vec<Distribution>,
    },
    /// `old` is what customers were compared with before, where that is known.
    Applying {
        after: Option<Vec<u8>>,
        old: Option<Arc<CutOffs>>,
    },
}

/// The values of some customers, the earlier ones summed up.
#[derive(Debug, Default)]
struct Collected {
    before: Option<Distribution>,
    values: Vec<Decimal>,
}

impl Collected {
    fn distribution(self) -> Distribution {
        let last = Distribution::of(self.values);
        self.before.map_or_else(|| last.clone(), |before| Distribution::sum(&[&before, &last]))
    }
}

/// What percentiles compare with in a partition.
#[derive(Debug)]
pub(super) struct Percentiles {
    /// Stable names, in the order of the catalog.
    keys: Vec<u64>,
    period_ms: i64,
    /// Whether there are other partitions, with which distributions are exchanged.
    exchanged: bool,
    in_force: InForce,
    committed: InForce,
    work: Work,
    /// Alone: the next refresh, and everybody's values.
    next_at: Option<i64>,
    ranking: Ranking,
}

impl Percentiles {
    pub(super) fn new(catalog: &Catalog, period_ms: i64) -> Self {
        Self {
            keys: catalog.percentiles.iter().map(|percentile| percentile.key).collect(),
            period_ms: period_ms.max(1),
            exchanged: false,
            in_force: InForce::default(),
            committed: InForce::default(),
            work: Work::Idle,
            next_at: None,
            ranking: Ranking::new(catalog.percentiles.len()),
        }
    }

    pub(super) fn cut_offs(&self) -> Arc<CutOffs> {
        self.in_force.cut_offs.clone()
    }

    /// A customer's values may have changed.
    pub(super) fn touched(&mut self, customer_id: &str) {
        if !self.exchanged && !self.keys.is_empty() {
            self.ranking.touch(customer_id);
        }
    }

    pub(super) fn committed(&mut self) {
        self.committed = self.in_force.clone();
    }

    pub(super) fn aborted(&mut self) {
        self.in_force = self.committed.clone();
        self.work = Work::Idle;
    }

    /// What is in force, where it is not what was committed.
    pub(super) fn updates(&self) -> Vec<Update> {
        let InForce { at: Some(at), cut_offs, applied } = &self.in_force else { return Vec::new() };
        if self.in_force == self.committed {
            return Vec::new();
        }
        let update = |(key, distribution): &(u64, Arc<Distribution>)| {
            let dated = Dated { at: *at, applied: *applied, distribution: (**distribution).clone() };
            Update { key: key_of(*key), value: Some(encode(&dated)), previous_deadline: None, deadline: None }
        };
        cut_offs.0.iter().map(update).collect()
    }

    /// The first multiple of the period at or after an instant.
    fn first_at(&self, instant: i64) -> i64 {
        let before = instant.rem_euclid(self.period_ms);
        if before == 0 { instant } else { instant.saturating_add(self.period_ms - before) }
    }

    /// The last multiple of the period before an instant.
    fn last_before(&self, instant: i64) -> i64 {
        let instant = instant.saturating_sub(1);
        instant.saturating_sub(instant.rem_euclid(self.period_ms))
    }

    /// What a store says is in force.
    fn stored(&self, store: &impl Store) -> Result<InForce, StoreError> {
        let mut kept = Vec::new();
        let mut in_force = InForce { applied: true, ..InForce::default() };
        for key in &self.keys {
            let Some(bytes) = store.get(&key_of(*key))? else { continue };
            let unreadable = || StoreError::Unreadable { path: store.location(), what: "distribution".to_owned() };
            let dated = decode(&bytes).map_err(|_| unreadable())?;
            in_force.at = in_force.at.max(Some(dated.at));
            in_force.applied &= dated.applied;
            kept.push((*key, Arc::new(dated.distribution)));
        }
        in_force.cut_offs = Arc::new(CutOffs(kept));
        Ok(in_force)
    }

    fn begin(&mut self, at: i64) {
        let collected = self.keys.iter().map(|_| Collected::default()).collect();
        self.work = Work::Collecting { at, after: None, collected };
    }

    /// Whether the clock has passed a refresh that is not in force yet.
    fn is_due(&self, at: i64) -> bool {
        let is_known = |key: &u64| self.in_force.cut_offs.of(*key).is_some();
        !(self.in_force.at >= Some(at) && self.keys.iter().all(is_known))
    }
}

impl<S: Store> Partition<S> {
    /// The partition as one of several that exchange their distributions, with what was in force, and the names of the
    /// segments that were defined, when it was put down.
    ///
    /// # Errors
    /// When the store fails.
    pub fn resumed(mut self) -> Result<Self, StoreError> {
        let in_force = self.percentiles.stored(self.customers.store())?;
        self.percentiles.exchanged = true;
        self.percentiles.committed = in_force.clone();
        self.percentiles.in_force = in_force;
        self.engine.set_cut_offs(self.percentiles.cut_offs());
        self.names.restore(self.customers.store())?;
        Ok(self)
    }

    /// Does a step of what percentiles need, over about `limit` customers. Whoever changes sides is among the changes.
    ///
    /// # Errors
    /// When the store fails; the partition must then be [discarded](Self::discard).
    pub fn refresh(&mut self, limit: usize) -> Result<Refresh, StoreError> {
        let Some(now) = self.clock.now().filter(|_| !self.percentiles.keys.is_empty()) else {
            return Ok(Refresh::Done);
        };
        match std::mem::replace(&mut self.percentiles.work, Work::Idle) {
            Work::Idle => {
                let at = self.percentiles.last_before(now);
                if self.percentiles.in_force.at.is_some() && !self.percentiles.in_force.applied {
                    self.percentiles.work = Work::Applying { after: None, old: None };
                } else if self.percentiles.is_due(at) {
                    self.percentiles.begin(at);
                } else {
                    return Ok(Refresh::Done);
                }
            }
            Work::Collecting { at, after, collected } => self.collect(at, after.as_deref(), collected, limit)?,
            Work::Collected { at, own } => {
                self.percentiles.work = Work::Collected { at, own };
                return Ok(Refresh::Collected(at));
            }
            Work::Applying { after, old } => self.compare_anew(after.as_deref(), old, limit)?,
        }
        Ok(Refresh::Going)
    }

    /// This partition's distributions by the percentiles' stable names, once they are collected, as they are told others.
    pub fn collected(&self) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
        let (at, own): (_, &[Distribution]) = match &self.percentiles.work {
            Work::Collected { at, own } => (*at, own),
            _ => (0, &[]),
        };
        let told =
            move |distribution: &Distribution| encode(&Dated { at, applied: true, distribution: distribution.clone() });
        self.percentiles.keys.iter().zip(own).map(move |(key, distribution)| (*key, told(distribution)))
    }

    /// Adds the distributions of the other partitions, in the order of [`collected`](Self::collected), to those of this one
    /// and puts the sums in force. Customers are compared with them by further [steps](Self::refresh).
    pub fn put_in_force(&mut self, others: &[Vec<Arc<Distribution>>]) {
        let Work::Collected { at, own } = std::mem::replace(&mut self.percentiles.work, Work::Idle) else { return };
        let exchanged = self.percentiles.exchanged;
        let sum = |(own, others): (Distribution, &[Arc<Distribution>])| {
            let parts: Vec<&Distribution> = std::iter::once(&own).chain(others.iter().map(|other| &**other)).collect();
            let sum = Distribution::sum(&parts);
            Arc::new(if exchanged { sum.reduced(PARTS) } else { sum })
        };
        let nobody = std::iter::repeat(&[][..]);
        let others = others.iter().map(Vec::as_slice).chain(nobody);
        let cut_offs = self.percentiles.keys.iter().copied().zip(own.into_iter().zip(others).map(sum)).collect();
        let in_force = InForce { at: Some(at), cut_offs: Arc::new(CutOffs(cut_offs)), applied: false };
        let old = std::mem::replace(&mut self.percentiles.in_force, in_force);
        // Who was not compared with the old ones may have been compared with still older ones.
        let old = Some(old.cut_offs).filter(|_| old.applied || old.at.is_none());
        self.percentiles.work = Work::Applying { after: None, old };
        self.engine.set_cut_offs(self.percentiles.cut_offs());
    }

    fn collect(
        &mut self,
        at: i64,
        after: Option<&[u8]>,
        mut collected: Vec<Collected>,
        limit: usize,
    ) -> Result<(), StoreError> {
        let Self { customers, engine, percentiles, .. } = self;
        let next = customers.visit(after, limit, |customer_id, customer| {
            for (collected, reading) in collected.iter_mut().zip(engine.ranked(customer_id, customer, at)) {
                let Some(reading) = reading else { continue };
                collected.values.extend(reading.value.position());
                if collected.values.len() >= CHUNK {
                    collected.before = Some(std::mem::take(collected).distribution().reduced(CHUNK_PARTS));
                }
            }
        })?;
        percentiles.work = if next.is_some() {
            Work::Collecting { at, after: next, collected }
        } else {
            let own = collected.into_iter().map(|collected| collected.distribution().reduced(PARTS)).collect();
            Work::Collected { at, own }
        };
        Ok(())
    }

    fn compare_anew(
        &mut self,
        after: Option<&[u8]>,
        old: Option<Arc<CutOffs>>,
        limit: usize,
    ) -> Result<(), StoreError> {
        let Self { customers, engine, percentiles, changes, .. } = self;
        let Some(at) = percentiles.in_force.at else { return Ok(()) };
        let mut moved: Vec<(CompactString, Customer)> = Vec::new();
        let next = customers.visit(after, limit, |customer_id, customer| {
            let after = engine.compare_anew(customer_id, customer, old.as_deref(), at, changes);
            moved.extend(after.map(|after| (CompactString::from(customer_id), after)));
        })?;
        for (customer_id, customer) in moved {
            customers.replace(&customer_id, customer)?;
        }
        percentiles.in_force.applied = next.is_none();
        percentiles.work = if next.is_some() { Work::Applying { after: next, old } } else { Work::Idle };
        Ok(())
    }

    /// Alone: makes the next refresh that is due before the next deadline, all of it. Whether there was one.
    pub(super) fn refresh_at_once(&mut self, next_deadline: Option<i64>, now: i64) -> Result<bool, StoreError> {
        let percentiles = &mut self.percentiles;
        if percentiles.keys.is_empty() || percentiles.exchanged {
            return Ok(false);
        }
        let at = percentiles.next_at.unwrap_or_else(|| percentiles.first_at(now));
        // Nothing is other than it was before some value changes.
        let at = at.max(percentiles.first_at(percentiles.ranking.holds_until().min(now)));
        percentiles.next_at = Some(at);
        if at >= now || next_deadline.is_some_and(|deadline| deadline < at) {
            return Ok(false);
        }
        percentiles.next_at = Some(at.saturating_add(percentiles.period_ms));
        for customer_id in percentiles.ranking.take_changed(at) {
            let customer = self.customers.peek(&customer_id)?.filter(|customer| customer.own_time.is_some());
            let decided_at = customer.as_ref().map_or(i64::MAX, |customer| self.engine.next_decision(customer));
            let readings = customer.map(|customer| self.engine.ranked(&customer_id, &customer, at));
            self.percentiles.ranking.set(&customer_id, &readings.unwrap_or_default(), decided_at);
        }
        let own = self.percentiles.ranking.distributions();
        let old = self.percentiles.cut_offs();
        self.percentiles.work = Work::Collected { at, own };
        self.put_in_force(&[]);
        self.percentiles.work = Work::Idle;
        self.percentiles.in_force.applied = true;
        let turning = self.engine.turning_values(&old);
        for customer_id in self.percentiles.ranking.having(turning.as_deref()) {
            let Some(customer) = self.customers.peek(&customer_id)? else { continue };
            let after = self.engine.compare_anew(&customer_id, &customer, None, at, &mut self.changes);
            if let Some(after) = after {
                self.customers.replace(&customer_id, after)?;
            }
        }
        Ok(true)
    }
}

fn key_of(percentile: u64) -> Vec<u8> {
    [[PERCENTILE].as_slice(), &percentile.to_be_bytes()].concat()
}
