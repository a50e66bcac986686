//! What follows from what happened. Pure: a catalog, a customer and an input give effects. No IO, no clock, no thread,
//! no log; time is an argument.
//!
//! [`Engine::apply`] is the whole of it: the flips that time brought before the record, the record itself, and one
//! evaluation of what it touched. [`Engine::elapse`] is the same for time alone.

pub mod accumulator;
pub mod arithmetic;
mod boundaries;
mod bucket;
pub mod calendar;
pub mod catalog;
mod conditions;
pub mod counts;
mod crossing;
pub mod customer;
pub mod effects;
pub mod evaluator;
pub mod explain;
mod families;
mod feed;
mod filter;
mod membership;
mod merging;
pub mod missing;
pub mod pattern;
pub mod percentile;
pub mod profile;
pub mod projection;
mod readers;
pub mod record;
mod routes;
pub mod schema;
pub mod series;
mod tally;
mod thresholds;
pub mod value;
pub mod values;
mod why;

use std::collections::BinaryHeap;
use std::sync::Arc;

use catalog::{Catalog, EventTypeId, PercentileId};
use customer::{Customer, Dated, Limits, entry};
use effects::{Cause, Change};
use evaluator::Scratch;
use families::{FamilyId, Touched};
use feed::Intake;
use membership::{Agenda, Because, Evaluation};
use pattern::Bounds;
use percentile::{CutOffs, Watch};
use readers::{Readers, Timer};
use record::{Body, Envelope, EventFields, Origin, Record};
use routes::Routes;
use rust_decimal::Decimal;
use series::Reading;
use value::Value;

/// The name of profile records where an event type would be named.
const PROFILE: &str = "profile";

/// Applies records and time to customers, one at a time.
#[derive(Debug)]
pub struct Engine {
    catalog: Arc<Catalog>,
    limits: Limits,
    readers: Readers,
    routes: Vec<Routes>,
    names: Names,
    cut_offs: Arc<CutOffs>,
    watch: Watch,
    scratch: Scratch,
    touched: Touched,
    agenda: Agenda,
}

/// Texts that changes carry, shared instead of copied.
#[derive(Debug)]
struct Names {
    segments: Vec<Arc<str>>,
    /// The place of each segment in order of names.
    ranks: Vec<usize>,
    definitions: Vec<Arc<str>>,
    carried: Vec<Vec<Arc<str>>>,
    event_types: Vec<Arc<str>>,
    profile: Arc<str>,
}

impl Names {
    fn of(catalog: &Catalog) -> Self {
        let mut by_name: Vec<usize> = (0..catalog.segments.len()).collect();
        by_name.sort_unstable_by_key(|place| &catalog.segments[*place].name);
        let mut ranks = vec![0; by_name.len()];
        for (rank, place) in by_name.into_iter().enumerate() {
            ranks[place] = rank;
        }
        Self {
            ranks,
            segments: catalog.segments.iter().map(|segment| Arc::from(segment.name.as_str())).collect(),
            definitions: catalog.segments.iter().map(|segment| Arc::from(segment.definition.as_str())).collect(),
            carried: catalog
                .segments
                .iter()
                .map(|segment| segment.carry.iter().map(|(name, _)| Arc::from(name.as_str())).collect())
                .collect(),
            event_types: catalog.event_types.iter().map(|event_type| Arc::from(event_type.name.as_str())).collect(),
            profile: Arc::from(PROFILE),
        }
    }
}

/// What became of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// They asked to be forgotten: nothing but the instant of the erasure and the sequence may be kept.
    pub erased: bool,
    /// Profile traits that are not declared, dropped.
    pub undeclared_traits: usize,
    /// Profile traits whose value does not fit the declared type, now unknown.
    pub misfit_traits: usize,
}

impl Engine {
    /// An engine for a catalog.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, limits: Limits) -> Self {
        let readers = Readers::of(&catalog);
        let routes = |event_type| Routes::of(&catalog, &readers.families, event_type);
        Self {
            routes: catalog.event_types.iter().map(routes).collect(),
            names: Names::of(&catalog),
            agenda: Agenda::new(&catalog),
            cut_offs: Arc::default(),
            watch: Watch::of(&catalog),
            scratch: Scratch::default(),
            touched: Touched::default(),
            readers,
            catalog,
            limits,
        }
    }

    /// The definitions at work.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// How much and how far back is remembered and accepted.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Applies an accepted record of a customer.
    ///
    /// The customer's flips due before it happen first, each at its instant; then own time moves on, what time decides
    /// by then is decided, the record counts, and everything it touches is evaluated once, at own time. `clock` is up to
    /// where time has passed for this customer already, if it has.
    pub fn apply(
        &mut self,
        customer: &mut Customer,
        record: &Record,
        origin: &Origin,
        clock: Option<i64>,
        changes: &mut Vec<Change>,
    ) -> Applied {
        let Envelope { event_id, customer_id, occurred_at } = &record.envelope;
        self.elapse(customer_id, customer, *occurred_at, changes);
        customer.remember_id(catalog::key(event_id), *occurred_at, &self.limits);
        customer.arrivals += 1;
        let is_first = customer.own_time.is_none();
        let now = self.begin(customer, *occurred_at);
        customer.own_time = Some(now);
        if is_first {
            customer.schedule.begin();
            self.agenda.add(&self.readers.restless);
        }
        self.decide(customer, now);
        let mut applied = Applied::default();
        let cause = match &record.body {
            Body::Event(event) => {
                self.count(customer, event, *occurred_at, now);
                let event_type = self.names.event_types[event.event_type.index()].clone();
                Because::Record { event_type, event_id, origin }
            }
            Body::Profile(traits) => {
                self.update_profile(customer, traits, *occurred_at, &mut applied);
                Because::Record { event_type: self.names.profile.clone(), event_id, origin }
            }
            Body::Consent { purpose, granted } => {
                self.update_consent(customer, purpose, *granted, *occurred_at);
                Because::Other(Cause::Consent)
            }
            Body::Erasure => {
                self.agenda.clear();
                self.leave_all(customer_id, customer, now, changes);
                return Applied { erased: true, ..applied };
            }
        };
        if clock.is_some_and(|clock| now < clock) {
            self.agenda.look_at_all();
        }
        self.evaluate(customer_id, customer, now, &cause, changes);
        applied
    }

    /// Begins an evaluation at `at` or own time: what time may have turned by then is to be looked at. That instant.
    fn begin(&mut self, customer: &mut Customer, at: i64) -> i64 {
        let now = customer.own_time.map_or(at, |own_time| own_time.max(at));
        // What was due before has been evaluated; so nothing that was evaluated has turned up to here.
        let then = if customer.own_time == Some(now) { now } else { now.saturating_sub(1) };
        self.touched.begin(&self.readers.families, then);
        if customer.deadline.is_some_and(|deadline| deadline <= now) {
            self.note_due(customer, now);
        }
        now
    }

    fn note_due(&mut self, customer: &mut Customer, now: i64) {
        let Self { catalog, readers, touched, agenda, .. } = self;
        let families = &readers.families;
        let mut note = |family: FamilyId| {
            let series = customer::find(&customer.aggregates, families.get(family).key);
            touched.note(catalog, families, family, series);
        };
        if let Some(due) = customer.schedule.due(now) {
            for timer in due {
                match readers.timer(timer) {
                    Timer::Family(family) => note(family),
                    Timer::Root(root) => agenda.add(&[root]),
                    // What time decides, it decides before anything is evaluated.
                    Timer::Pattern(_) => {}
                }
            }
            return;
        }
        customer.aggregates.iter().filter_map(|(key, _)| families.watched(*key)).for_each(note);
        readers.concerned_directly(customer, |roots| agenda.add(roots));
        readers.begin_schedule(catalog, customer);
    }

    /// Lets time alone pass up to, not including, an instant: each flip happens at its own instant, in order.
    pub fn elapse(&mut self, customer_id: &str, customer: &mut Customer, before: i64, changes: &mut Vec<Change>) {
        while let Some(now) = customer.deadline.filter(|deadline| *deadline < before) {
            self.begin(customer, now);
            let decided = self.decide(customer, now);
            let flipped = self.evaluate(customer_id, customer, now, &Because::Other(Cause::Time), changes);
            if decided || flipped {
                customer.own_time = customer.own_time.max(Some(now));
            }
        }
    }

    /// Evaluates a customer under definitions that are new to them, at `now`. They leave the segments that are no longer
    /// defined: `former` tells the name and the definition of those, by key.
    pub fn redefine(
        &mut self,
        customer_id: &str,
        customer: &mut Customer,
        now: i64,
        former: impl Fn(u64) -> Option<(Arc<str>, Arc<str>)>,
        changes: &mut Vec<Change>,
    ) {
        let now = customer.own_time.map_or(now, |own_time| own_time.max(now));
        let (n_before, mut sequence) = (changes.len(), customer.sequence);
        let known = std::mem::take(&mut customer.standings);
        for (key, standing) in known {
            match former(key) {
                Some((segment, definition)) if standing.member => {
                    changes.push(departure(customer_id, segment, definition, now, Cause::Definition));
                }
                Some(_) => {}
                None => customer.standings.push((key, standing)),
            }
        }
        self.begin(customer, now);
        self.decide(customer, now);
        self.agenda.look_at_all();
        self.readers.concerned(customer, |roots| self.agenda.add(roots));
        self.readers.begin_schedule(&self.catalog, customer);
        let flipped = self.evaluate(customer_id, customer, now, &Because::Other(Cause::Definition), changes);
        changes[n_before..].sort_by(|a, b| (a.entered, &a.segment).cmp(&(b.entered, &b.segment)));
        for change in &mut changes[n_before..] {
            sequence += 1;
            change.sequence = sequence;
        }
        customer.sequence = sequence;
        if flipped || changes.len() > n_before {
            customer.own_time = Some(now);
        }
    }

    /// Ends every membership of a customer who is forgotten at `at`, or own time.
    pub fn forget(&mut self, customer_id: &str, customer: &mut Customer, at: i64, changes: &mut Vec<Change>) {
        let at = customer.own_time.map_or(at, |own_time| own_time.max(at));
        self.leave_all(customer_id, customer, at, changes);
    }

    /// What percentiles compare with from now on.
    pub fn set_cut_offs(&mut self, cut_offs: Arc<CutOffs>) {
        self.cut_offs = cut_offs;
    }

    /// When time alone next decides a `without` of a customer, `i64::MAX` for never.
    #[must_use]
    pub fn next_decision(&self, customer: &Customer) -> i64 {
        self.readers.next_decision(&self.catalog, customer)
    }

    /// A customer's value of each aggregate that is ranked, by the position of its percentile, as of `at` or own time,
    /// and until when it stays that; `None` for one without an event in the aggregate's window.
    pub fn ranked(&mut self, customer_id: &str, customer: &Customer, at: i64) -> Vec<Option<Reading>> {
        let at = customer.own_time.map_or(at, |own_time| own_time.max(at));
        let mut passed = None;
        if !customer.patterns.is_empty() && customer.deadline.is_some_and(|deadline| deadline <= at) {
            // What time decides by then counts.
            self.elapse(customer_id, passed.insert(customer.clone()), at.saturating_add(1), &mut Vec::new());
        }
        let customer = passed.as_ref().unwrap_or(customer);
        let ranked = |aggregate| evaluator::ranked(&self.catalog, customer, aggregate, at);
        self.catalog.percentiles.iter().map(|percentile| ranked(percentile.aggregate)).collect()
    }

    /// The ranked values, by the position of their percentile, for which something turns now that the cut-offs in force took
    /// the place of `old` ones; `None` if that may be any.
    #[must_use]
    pub fn turning_values(&self, old: &CutOffs) -> Option<Vec<(usize, Decimal)>> {
        self.watch.turning_values(&self.catalog, old, &self.cut_offs)
    }

    /// The customer evaluated anew, because the cut-offs in force took the place of `old` ones at `at`; `None` if that turns
    /// nothing. Without `old` nothing is known of what they were compared with before.
    pub fn compare_anew(
        &mut self,
        customer_id: &str,
        customer: &Customer,
        old: Option<&CutOffs>,
        at: i64,
        changes: &mut Vec<Change>,
    ) -> Option<Customer> {
        let now = customer.own_time.map_or(at, |own_time| own_time.max(at));
        let ranked = self.ranked(customer_id, customer, now);
        let value_of = |id: PercentileId| ranked.get(id.index()).and_then(Option::as_ref)?.value.position();
        if old.is_some_and(|old| !self.watch.turns(&self.catalog, old, &self.cut_offs, value_of)) {
            return None;
        }
        let mut after = customer.clone();
        self.elapse(customer_id, &mut after, now, changes);
        self.begin(&mut after, now);
        let decided = self.decide(&mut after, now);
        self.agenda.add(&self.readers.percentiles);
        self.agenda.look_at_all();
        let flipped = self.evaluate(customer_id, &mut after, now, &Because::Other(Cause::Time), changes);
        if decided || flipped {
            after.own_time = after.own_time.max(Some(now));
        }
        Some(after)
    }

    fn decide(&mut self, customer: &mut Customer, now: i64) -> bool {
        if customer.patterns.is_empty() {
            return false;
        }
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method itself is not general in its lifetimes"
        )]
        self.intake(customer, now, |intake| intake.elapse())
    }

    fn count(&mut self, customer: &mut Customer, event: &EventFields, at: i64, now: i64) {
        self.intake(customer, now, |intake| {
            intake.event(event, at);
            intake.decide();
        });
    }

    fn intake<T>(&mut self, customer: &mut Customer, now: i64, take: impl FnOnce(&mut Intake<'_>) -> T) -> T {
        let horizon = now.saturating_sub(self.limits.grace_ms).saturating_sub(self.limits.allowed_lateness_ms);
        let bounds = Bounds { now, horizon };
        let (catalog, routes, readers) = (&*self.catalog, &*self.routes, &self.readers);
        take(&mut Intake {
            catalog,
            customer,
            routes,
            readers,
            bounds,
            touched: &mut self.touched,
            due: BinaryHeap::new(),
        })
    }

    fn update_profile(
        &mut self,
        customer: &mut Customer,
        traits: &[(compact_str::CompactString, Value)],
        at: i64,
        applied: &mut Applied,
    ) {
        for (name, value) in traits {
            let Some(id) = self.catalog.profile_trait_ids.get(name.as_str()) else {
                applied.undeclared_traits += 1;
                continue;
            };
            let profile_trait = &self.catalog.profile_traits[id.index()];
            let fitted = profile::fit(value, &profile_trait.value_type, &self.catalog.time_zone.0);
            applied.misfit_traits += usize::from(value.is_known() && !fitted.is_known());
            let kept =
                entry(&mut customer.profile, profile_trait.key, || Dated { value: Value::Unknown, at: i64::MIN });
            if at >= kept.at {
                *kept = Dated { value: fitted, at };
                self.agenda.add(&self.readers.profile_traits[id.index()]);
            }
        }
    }

    fn update_consent(&mut self, customer: &mut Customer, purpose: &str, granted: bool, at: i64) {
        let key = catalog::key(purpose);
        let kept = entry(&mut customer.consents, key, || Dated { value: false, at: i64::MIN });
        if at >= kept.at {
            *kept = Dated { value: granted, at };
            if let Some(id) = self.catalog.purposes.iter().position(|purpose| purpose.key == key) {
                self.agenda.add(&self.readers.purposes[id]);
            }
        }
    }

    /// Puts those on the agenda whose conditions have turned; until when no others will.
    fn settle(&mut self, customer: &mut Customer, now: i64) -> i64 {
        let Self { catalog, readers, touched, agenda, .. } = self;
        let families = &readers.families;
        let Customer { aggregates, schedule, .. } = customer;
        let mut least = i64::MAX;
        let mut note = |family, until: i64| {
            least = least.min(until);
            schedule.set(family, until);
        };
        touched.settle(catalog, families, aggregates, now, |roots| agenda.add(roots), &mut note);
        if agenda.looks_at_all() {
            for (key, series) in &*aggregates {
                if let Some(id) = families.watched(*key) {
                    note(id, families.get(id).holds_until(catalog, Some(series), now));
                }
            }
        }
        least
    }

    /// Evaluates what is on the agenda; whether anything flipped.
    fn evaluate(
        &mut self,
        customer_id: &str,
        customer: &mut Customer,
        now: i64,
        cause: &Because<'_>,
        changes: &mut Vec<Change>,
    ) -> bool {
        let until = self.settle(customer, now);
        let evaluation = Evaluation {
            catalog: &self.catalog,
            readers: &self.readers,
            names: &self.names,
            cut_offs: &self.cut_offs,
            customer_id,
            now,
            cause,
        };
        evaluation.run(customer, &mut self.agenda, &mut self.scratch, until, changes)
    }

    /// Every membership ends with the erasure. The changes carry no traits and no reasons: they are forgotten.
    fn leave_all(&mut self, customer_id: &str, customer: &mut Customer, at: i64, changes: &mut Vec<Change>) {
        let mut left: Vec<usize> = (0..self.catalog.segments.len())
            .filter(|id| customer.standing(self.catalog.segments[*id].key).member)
            .collect();
        left.sort_by(|a, b| self.names.segments[*a].cmp(&self.names.segments[*b]));
        for id in left {
            customer.sequence += 1;
            let (segment, definition) = (self.names.segments[id].clone(), self.names.definitions[id].clone());
            let left = departure(customer_id, segment, definition, at, Cause::Erasure);
            changes.push(Change { sequence: customer.sequence, ..left });
        }
    }
}

/// A customer leaves because there is nothing left to evaluate: no condition decided, and no trait is carried.
fn departure(customer_id: &str, segment: Arc<str>, definition: Arc<str>, at: i64, cause: Cause) -> Change {
    Change {
        customer_id: customer_id.into(),
        segment,
        entered: false,
        at,
        sequence: 0,
        definition,
        cause,
        why: Vec::new(),
        traits: Vec::new(),
    }
}

/// The event type of a name.
impl Catalog {
    /// The event type with that name.
    #[must_use]
    pub fn event_type_id(&self, name: &str) -> Option<EventTypeId> {
        self.event_type_ids.get(name).copied()
    }
}
