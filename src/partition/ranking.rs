//! Alone, as in a replay: everybody's ranked values in memory, so that a refresh looks only at customers who were touched,
//! whose values change by themselves, or who change sides. Exact, because nothing is left out.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;
use hashbrown::{HashMap, HashSet};
use rust_decimal::Decimal;

use crate::engine::percentile::{Distribution, Point};
use crate::engine::series::Reading;

/// The values of all customers, for each percentile in the order of the catalog.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    values: HashMap<CompactString, Vec<Option<Decimal>>>,
    by_value: Vec<BTreeMap<Decimal, BTreeSet<CompactString>>>,
    /// Customers whose values may be others than are known here.
    touched: HashSet<CompactString>,
    /// When values change by themselves; some of it is no longer so.
    expiring: BTreeSet<(i64, CompactString)>,
}

impl Ranking {
    pub(super) fn new(n_percentiles: usize) -> Self {
        Self { by_value: vec![BTreeMap::new(); n_percentiles], ..Self::default() }
    }

    pub(super) fn touch(&mut self, customer_id: &str) {
        if !self.touched.contains(customer_id) {
            self.touched.insert(customer_id.into());
        }
    }

    /// Before this instant all values stay what they are; `i64::MIN` if some are not known.
    pub(super) fn holds_until(&self) -> i64 {
        match self.expiring.first() {
            _ if !self.touched.is_empty() => i64::MIN,
            Some((until, _)) => *until,
            None => i64::MAX,
        }
    }

    /// The customers whose values are to be read anew at an instant.
    pub(super) fn take_changed(&mut self, at: i64) -> BTreeSet<CompactString> {
        let mut changed: BTreeSet<CompactString> = self.touched.drain().collect();
        let later = self.expiring.split_off(&(at.saturating_add(1), CompactString::default()));
        let expired = std::mem::replace(&mut self.expiring, later);
        changed.extend(expired.into_iter().map(|(_, customer_id)| customer_id));
        changed
    }

    /// What a customer's values are now; none for one who is gone. At `decided_at` time decides something that may count.
    pub(super) fn set(&mut self, customer_id: &CompactString, readings: &[Option<Reading>], decided_at: i64) {
        let before = self.values.remove(customer_id).unwrap_or_default();
        for (by_value, value) in self.by_value.iter_mut().zip(before) {
            let Some(value) = value else { continue };
            let Some(customers) = by_value.get_mut(&value) else { continue };
            customers.remove(customer_id);
            if customers.is_empty() {
                by_value.remove(&value);
            }
        }
        let mut values = Vec::with_capacity(readings.len());
        for (by_value, reading) in self.by_value.iter_mut().zip(readings) {
            let value = reading.as_ref().and_then(|reading| reading.value.position());
            if let Some(value) = value {
                by_value.entry(value).or_default().insert(customer_id.clone());
            }
            values.push(value);
        }
        let until = readings.iter().flatten().map(|reading| reading.until).fold(decided_at, i64::min);
        if until < i64::MAX {
            self.expiring.insert((until, customer_id.clone()));
        }
        if values.iter().any(Option::is_some) {
            self.values.insert(customer_id.clone(), values);
        }
    }

    /// How the values are distributed.
    pub(super) fn distributions(&self) -> Vec<Distribution> {
        let distribution = |by_value: &BTreeMap<Decimal, BTreeSet<CompactString>>| {
            let mut below = 0;
            let points = by_value.iter().map(|(value, customers)| {
                let up_to = below + customers.len() as u64;
                Point { value: *value, below: std::mem::replace(&mut below, up_to), up_to }
            });
            Distribution::with_points(points.collect()).unwrap_or_default()
        };
        self.by_value.iter().map(distribution).collect()
    }

    /// The customers with one of these values, or all who have any.
    pub(super) fn having(&self, values: Option<&[(usize, Decimal)]>) -> BTreeSet<CompactString> {
        let Some(values) = values else { return self.values.keys().cloned().collect() };
        let of = |(percentile, value): &(usize, Decimal)| self.by_value.get(*percentile)?.get(value);
        values.iter().filter_map(of).flatten().cloned().collect()
    }
}
