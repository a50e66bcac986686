//! What follows from what happened. Pure: a catalog, a customer and an input give effects. No IO, no clock, no thread,
//! no log; time is an argument.
//!
//! [`Engine::apply`] is the whole of it: the flips that time brought before the record, the record itself, and one
//! evaluation of what it touched. [`Engine::elapse`] is the same for time alone.

pub mod accumulator;
pub mod arithmetic;
mod bucket;
pub mod calendar;
pub mod catalog;
mod crossing;
pub mod customer;
pub mod effects;
pub mod evaluator;
pub mod explain;
mod feed;
mod filter;
mod membership;
pub mod pattern;
pub mod profile;
pub mod projection;
mod readers;
pub mod record;
mod routes;
pub mod schema;
pub mod series;
mod tally;
pub mod value;
mod why;

use std::sync::Arc;

use catalog::{AggregateId, Catalog, EventTypeId};
use customer::{Customer, Dated, Limits, entry};
use effects::{Cause, Change};
use evaluator::Scratch;
use feed::Intake;
use membership::{Agenda, Evaluation};
use pattern::Bounds;
use readers::Readers;
use record::{Body, Envelope, EventFields, Origin, Record};
use routes::Routes;
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
    scratch: Scratch,
    touched: Vec<AggregateId>,
    agenda: Agenda,
}

/// Texts that changes carry, shared instead of copied.
#[derive(Debug)]
struct Names {
    segments: Vec<Arc<str>>,
    definitions: Vec<Arc<str>>,
    carried: Vec<Vec<Arc<str>>>,
    event_types: Vec<Arc<str>>,
    profile: Arc<str>,
}

impl Names {
    fn of(catalog: &Catalog) -> Self {
        Self {
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
        Self {
            readers: Readers::of(&catalog),
            routes: catalog.event_types.iter().map(|event_type| Routes::of(&catalog, event_type)).collect(),
            names: Names::of(&catalog),
            agenda: Agenda::new(&catalog),
            scratch: Scratch::default(),
            touched: Vec::new(),
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
    /// by then is decided, the record counts, and everything it touches is evaluated once, at own time.
    pub fn apply(
        &mut self,
        customer: &mut Customer,
        record: &Record,
        origin: &Origin,
        changes: &mut Vec<Change>,
    ) -> Applied {
        let Envelope { event_id, customer_id, occurred_at } = &record.envelope;
        self.elapse(customer_id, customer, *occurred_at, changes);
        customer.remember_id(catalog::key(event_id), *occurred_at, &self.limits);
        customer.arrivals += 1;
        let is_first = customer.own_time.is_none();
        let now = customer.own_time.map_or(*occurred_at, |own_time| own_time.max(*occurred_at));
        customer.own_time = Some(now);

        let is_due = customer.deadline.is_some_and(|deadline| deadline <= now);
        self.decide(customer, now);
        let mut applied = Applied::default();
        let cause = match &record.body {
            Body::Event(event) => {
                self.count(customer, event, *occurred_at, now);
                self.event_cause(self.names.event_types[event.event_type.index()].clone(), &record.envelope, origin)
            }
            Body::Profile(traits) => {
                self.update_profile(customer, traits, *occurred_at, &mut applied);
                self.event_cause(self.names.profile.clone(), &record.envelope, origin)
            }
            Body::Consent { purpose, granted } => {
                self.update_consent(customer, purpose, *granted, *occurred_at);
                Cause::Consent
            }
            Body::Erasure => {
                self.leave_all(customer_id, customer, now, changes);
                return Applied { erased: true, ..applied };
            }
        };
        if is_first {
            self.agenda.add_whole(customer, &self.readers);
        } else if is_due {
            self.agenda.add_due(customer, &self.readers, now);
        }
        self.evaluate(customer_id, customer, now, &cause, changes);
        applied
    }

    /// Lets time alone pass up to, not including, an instant: each flip happens at its own instant, in order.
    pub fn elapse(&mut self, customer_id: &str, customer: &mut Customer, before: i64, changes: &mut Vec<Change>) {
        while let Some(now) = customer.deadline.filter(|deadline| *deadline < before) {
            let decided = self.decide(customer, now);
            self.agenda.add_due(customer, &self.readers, now);
            let flipped = self.evaluate(customer_id, customer, now, &Cause::Time, changes);
            if decided || flipped {
                customer.own_time = customer.own_time.max(Some(now));
            }
        }
    }

    /// Evaluates a customer under definitions that are new to them, at `now`.
    pub fn redefine(&mut self, customer_id: &str, customer: &mut Customer, now: i64, changes: &mut Vec<Change>) {
        let now = customer.own_time.map_or(now, |own_time| own_time.max(now));
        self.decide(customer, now);
        self.agenda.add_whole(customer, &self.readers);
        if self.evaluate(customer_id, customer, now, &Cause::Definition, changes) {
            customer.own_time = Some(now);
        }
    }

    fn decide(&mut self, customer: &mut Customer, now: i64) -> bool {
        if customer.patterns.is_empty() {
            return false;
        }
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method itself is not general in its lifetimes"
        )]
        self.intake(customer, now, |intake| intake.decide())
    }

    fn count(&mut self, customer: &mut Customer, event: &EventFields, at: i64, now: i64) {
        self.intake(customer, now, |intake| {
            intake.event(event, at);
            intake.decide();
        });
    }

    /// Takes something in and puts what it touched on the agenda.
    fn intake<T>(&mut self, customer: &mut Customer, now: i64, take: impl FnOnce(&mut Intake<'_>) -> T) -> T {
        let horizon = now.saturating_sub(self.limits.grace_ms).saturating_sub(self.limits.allowed_lateness_ms);
        let bounds = Bounds { now, horizon };
        let (catalog, routes) = (&*self.catalog, &*self.routes);
        let answer = take(&mut Intake { catalog, customer, routes, bounds, touched: &mut self.touched });
        for aggregate in self.touched.drain(..) {
            self.agenda.add(&self.readers.aggregates[aggregate.index()]);
        }
        answer
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

    #[expect(clippy::unused_self, reason = "reads as one of the steps of `apply`")]
    fn event_cause(&self, event_type: Arc<str>, envelope: &Envelope, origin: &Origin) -> Cause {
        Cause::Event { event_type, event_id: envelope.event_id.clone(), origin: origin.clone() }
    }

    /// Evaluates what is on the agenda; whether anything flipped.
    fn evaluate(
        &mut self,
        customer_id: &str,
        customer: &mut Customer,
        now: i64,
        cause: &Cause,
        changes: &mut Vec<Change>,
    ) -> bool {
        let evaluation =
            Evaluation { catalog: &self.catalog, readers: &self.readers, names: &self.names, customer_id, now, cause };
        evaluation.run(customer, &mut self.agenda, &mut self.scratch, changes)
    }

    /// Every membership ends with the erasure. The changes carry no traits and no reasons: they are forgotten.
    fn leave_all(&mut self, customer_id: &str, customer: &mut Customer, at: i64, changes: &mut Vec<Change>) {
        let mut left: Vec<usize> = (0..self.catalog.segments.len())
            .filter(|id| customer.standing(self.catalog.segments[*id].key).member)
            .collect();
        left.sort_by(|a, b| self.names.segments[*a].cmp(&self.names.segments[*b]));
        for id in left {
            customer.sequence += 1;
            changes.push(Change {
                customer_id: customer_id.into(),
                segment: self.names.segments[id].clone(),
                entered: false,
                at,
                sequence: customer.sequence,
                definition: self.names.definitions[id].clone(),
                cause: Cause::Erasure,
                why: Vec::new(),
                traits: Vec::new(),
            });
        }
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
