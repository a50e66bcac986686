//! A file of records through the whole set: the partition clock, what is refused, and the numbered changes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use segue::definition::ast::{Aggregate, Expr, Pattern};
use serde_json::Value as Json;

use crate::customer::{Customer, Moves, held_nodes, patterns_in};
use crate::definitions::{Set, percentiles};
use crate::record::{Body, FieldType, Record, Schemas, decode};
use crate::value::Val;

/// What the two sides are run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) grace_ms: i64,
    pub(crate) allowed_lateness_ms: i64,
    pub(crate) dedup_ids: usize,
    pub(crate) dedup_window_ms: i64,
    pub(crate) zone: String,
    pub(crate) until: Option<i64>,
    pub(crate) percentile_refresh_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            grace_ms: 0,
            allowed_lateness_ms: 86_400_000,
            dedup_ids: 256,
            dedup_window_ms: 86_400_000,
            zone: "UTC".to_owned(),
            until: None,
            percentile_refresh_ms: 3_600_000,
        }
    }
}

/// A change, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change {
    pub(crate) customer: String,
    pub(crate) sequence: u64,
    pub(crate) at: i64,
    pub(crate) entered: bool,
    pub(crate) segment: String,
    pub(crate) cause: String,
    /// What the carried traits were; not compared for an erasure, which leaves none.
    pub(crate) traits: Vec<(String, Val)>,
}

/// What everything is evaluated against.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) set: Set,
    pub(crate) schemas: Schemas,
    pub(crate) zone: TimeZone,
    pub(crate) settings: Settings,
    /// The values that each percentile compares with, by the place of its aggregate in memory.
    pub(crate) cut_offs: RefCell<BTreeMap<usize, Vec<Val>>>,
    /// Looks ahead left before the case is given up as too costly.
    effort: Cell<u32>,
}

/// The search for flips took too long to be worth it.
pub(crate) const GIVEN_UP: &str = "too costly for the oracle";

impl World {
    pub(crate) fn new(set: Set, schemas: Schemas, settings: Settings) -> Self {
        let zone = TimeZone::get(&settings.zone).expect("a known time zone");
        let cut_offs = RefCell::default();
        Self { set, schemas, zone, settings, cut_offs, effort: Cell::new(20_000) }
    }

    pub(crate) fn spend_effort(&self) {
        assert!(self.effort.get() > 0, "{GIVEN_UP}");
        self.effort.set(self.effort.get() - 1);
    }

    pub(crate) fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.set.expressions().flat_map(patterns_in)
    }

    pub(crate) fn held_nodes(&self) -> impl Iterator<Item = (&Expr, &Expr, i64)> {
        self.set.expressions().flat_map(held_nodes)
    }

    pub(crate) fn segment_names(&self) -> impl Iterator<Item = String> {
        let tiers = self
            .set
            .groups
            .iter()
            .flat_map(|group| group.tiers.iter().map(|(tier, _)| format!("{}.{tier}", group.name)));
        self.set.segments.iter().map(|segment| segment.name.clone()).chain(tiers)
    }

    /// How many names of a path after `each` lead to the array: the longest that is one.
    pub(crate) fn array_length(&self, event_type: &str, path: &[&str]) -> usize {
        let mut fields = self.schemas.get(event_type);
        let mut longest = 0;
        for (index, name) in path.iter().enumerate() {
            let field = fields.and_then(|fields| fields.iter().find(|(known, _)| known == name));
            fields = match field {
                Some((_, FieldType::ArrayOf(elements))) => {
                    longest = index + 1;
                    Some(elements)
                }
                Some((_, FieldType::Record(fields))) => Some(fields),
                _ => None,
            };
        }
        longest
    }
}

/// All that is known of a customer id.
#[derive(Debug, Default)]
struct Ledger {
    customer: Option<Customer>,
    sequence: u64,
    erased_at: Option<i64>,
}

/// The changes that the records bring about.
pub(crate) fn replay(world: &World, lines: &[Json]) -> Vec<Change> {
    let (ledgers, changes) = (BTreeMap::new(), vec![]);
    let mut partition = Partition { world, ledgers, clock: None, next_refresh: None, changes };
    for (arrival, line) in lines.iter().enumerate() {
        if let Some(record) = decode(line, &world.schemas, &world.zone) {
            partition.take(&record, arrival);
        }
    }
    if let Some(until) = world.settings.until {
        partition.refresh_before(until + 1);
        partition.let_time_pass(until);
    }
    partition.changes.sort();
    partition.changes
}

struct Partition<'a> {
    world: &'a World,
    ledgers: BTreeMap<String, Ledger>,
    clock: Option<i64>,
    next_refresh: Option<i64>,
    changes: Vec<Change>,
}

impl Partition<'_> {
    fn take(&mut self, record: &Record, arrival: usize) {
        let world = self.world;
        let is_event = matches!(record.body, Body::Event { .. });
        let too_late = |clock: i64| clock - record.at > world.settings.allowed_lateness_ms;
        if is_event && self.clock.is_some_and(too_late) {
            return;
        }
        let ledger = self.ledgers.entry(record.customer_id.clone()).or_default();
        if ledger.erased_at.is_some_and(|erased_at| record.at < erased_at) {
            return;
        }
        if ledger.customer.as_ref().is_some_and(|customer| customer.remembers(&record.event_id, world)) {
            return;
        }
        let clock = self.clock.unwrap_or(i64::MIN).max(record.at - world.settings.grace_ms);
        self.clock = Some(clock);
        self.refresh_before(clock);
        self.flips(&record.customer_id, record.at - 1);
        let ledger = self.ledgers.entry(record.customer_id.clone()).or_default();
        if matches!(record.body, Body::Erasure) {
            ledger.erased_at = Some(record.at);
        }
        if ledger.customer.is_some() || !matches!(record.body, Body::Erasure) {
            let customer = ledger.customer.get_or_insert_with(|| Customer::new(&record.customer_id));
            let moves = customer.apply(record, arrival, world);
            let at = customer.own_time;
            let cause = match record.body {
                Body::Event { .. } | Body::Profile(_) => "event",
                Body::Consent { .. } => "consent",
                Body::Erasure => "erasure",
            };
            if matches!(record.body, Body::Erasure) {
                ledger.customer = None;
            }
            self.report(&record.customer_id, at, moves, cause);
        }
        self.let_time_pass(clock - 1);
    }

    /// At each multiple of the interval that the clock passes, all values are taken anew and all customers looked at.
    fn refresh_before(&mut self, clock: i64) {
        let world = self.world;
        let period = world.settings.percentile_refresh_ms;
        let mut at = self.next_refresh.unwrap_or_else(|| clock + (-clock).rem_euclid(period));
        let ranked: Vec<&Aggregate> = world.set.expressions().flat_map(percentiles).collect();
        while at < clock {
            if !ranked.is_empty() {
                self.let_time_pass(at - 1);
                self.refresh(at, &ranked);
            }
            at += period;
        }
        self.next_refresh = Some(at);
    }

    fn refresh(&mut self, at: i64, ranked: &[&Aggregate]) {
        let world = self.world;
        let mut customers: Vec<_> = self.ledgers.iter_mut().filter(|(_, ledger)| ledger.customer.is_some()).collect();
        let customers = customers.iter_mut().filter_map(|(id, ledger)| Some((*id, ledger.customer.as_mut()?)));
        let mut customers: Vec<(&String, &mut Customer)> = customers.collect();
        let present: Vec<_> = customers.iter().map(|(_, customer)| customer.present_truths(world)).collect();
        for aggregate in ranked {
            world.spend_effort();
            let values = customers.iter_mut().map(|(_, customer)| customer.ranked_value(aggregate, at, world));
            let values = values.filter(Val::is_known).collect();
            world.cut_offs.borrow_mut().insert(std::ptr::from_ref(*aggregate).addr(), values);
        }
        let moves = |((id, customer), present): ((&String, &mut Customer), Vec<_>)| {
            let moves = customer.compare_anew(at, &present, world);
            (id.clone(), at.max(customer.own_time), moves)
        };
        let moves: Vec<_> = customers.into_iter().zip(present).map(moves).collect();
        for (customer, at, moves) in moves {
            self.report(&customer, at, moves, "time");
        }
    }

    /// Flips of all customers up to `limit` happen.
    fn let_time_pass(&mut self, limit: i64) {
        let customers: Vec<String> = self.ledgers.keys().cloned().collect();
        for customer in customers {
            self.flips(&customer, limit);
        }
    }

    /// Flips of one customer up to `limit` happen, in order of instants.
    fn flips(&mut self, customer_id: &str, limit: i64) {
        loop {
            let Some(customer) = self.ledgers.get_mut(customer_id).and_then(|ledger| ledger.customer.as_mut()) else {
                return;
            };
            let Some(moves) = customer.flip(limit, self.world) else { return };
            let at = customer.own_time;
            self.report(customer_id, at, moves, "time");
        }
    }

    fn carried(&self, customer_id: &str, segment: &str) -> Vec<(String, Val)> {
        let customer = self.ledgers.get(customer_id).and_then(|ledger| ledger.customer.as_ref());
        let names = self.world.set.carried(segment).iter();
        customer
            .map(|customer| names.map(|name| (name.clone(), customer.trait_now(name, self.world))).collect())
            .unwrap_or_default()
    }

    fn report(&mut self, customer_id: &str, at: i64, moves: Moves, cause: &str) {
        for (entered, segment) in moves {
            let traits = self.carried(customer_id, &segment);
            let ledger = self.ledgers.entry(customer_id.to_owned()).or_default();
            ledger.sequence += 1;
            self.changes.push(Change {
                customer: customer_id.to_owned(),
                sequence: ledger.sequence,
                at,
                entered,
                segment,
                cause: cause.to_owned(),
                traits,
            });
        }
    }
}
