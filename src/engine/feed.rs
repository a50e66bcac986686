//! From an event to the aggregates and patterns it counts in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::catalog::{
    Aggregate, AggregateId, Catalog, EventTypeId, Feed, Function, Pattern, PatternId, Relation, Side, Slot, Target,
    Window,
};
use super::customer::{Customer, entry, find, find_mut, insert};
use super::families::Touched;
use super::pattern::{Bounds, Keys, Occurrence, PatternState, Rank, key_of};
use super::readers::Readers;
use super::record::EventFields;
use super::routes::Routes;
use super::series::{Series, View};
use super::value::Value;

/// Takes an event, or what time decided, into a customer's aggregates and patterns.
#[derive(Debug)]
pub(super) struct Intake<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) customer: &'a mut Customer,
    pub(super) routes: &'a [Routes],
    pub(super) readers: &'a Readers,
    pub(super) bounds: Bounds,
    /// Aggregates that something was added to.
    pub(super) touched: &'a mut Touched,
    /// What is to be decided by now, the first on top; some of it may have been decided meanwhile, or come twice.
    pub(super) due: BinaryHeap<Reverse<Decision>>,
}

/// Something that depends on what has not happened, so that all there is of a record must be known first. In their order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Decision {
    /// The instant of the match that may come of it.
    at: i64,
    /// Whether a B of `after` is to be decided, for which a match of a `without` at that instant may count; or an A of `without`.
    is_after: bool,
    rank: Rank,
    pattern: PatternId,
    /// Of a B of `after`; an A is in its pattern's state.
    keys: Keys,
}

impl Intake<'_> {
    /// The event itself first, then its elements in their order: an element ranks after its record.
    pub(super) fn event(&mut self, event: &EventFields, at: i64) {
        let arrival = self.customer.arrivals;
        self.occurrence(event.event_type, None, &event.fields, at, Rank::new(arrival, 0));
        let mut place = 0;
        for (array, elements) in event.elements.iter().enumerate() {
            for element in elements {
                place += 1;
                self.occurrence(event.event_type, Some(array), element, at, Rank::new(arrival, place));
            }
        }
    }

    fn occurrence(&mut self, id: EventTypeId, array: Option<usize>, fields: &[Value], at: i64, rank: Rank) {
        let event_type = &self.catalog.event_types[id.index()];
        for feed in self.routes[id.index()].of_fields(event_type, array, fields) {
            if self.passes(feed, fields) {
                self.deliver(&feed.target, fields, at, rank);
            }
        }
    }

    fn passes(&self, feed: &Feed, fields: &[Value]) -> bool {
        feed.filter.is_none_or(|filter| self.catalog.filters[filter.index()].condition.holds(fields))
    }

    fn deliver(&mut self, target: &Target, fields: &[Value], at: i64, rank: Rank) {
        match target {
            Target::Aggregate { aggregate, slot } => self.value(*aggregate, *slot, fields, at),
            Target::Step { pattern, side, keys } => {
                let keys: Keys = keys.iter().map(|slot| key_of(fields.get(*slot).unwrap_or(&Value::Unknown))).collect();
                self.step(*pattern, *side, Occurrence { at, rank, keys });
            }
        }
    }

    fn value(&mut self, aggregate: AggregateId, slot: Option<Slot>, fields: &[Value], at: i64) {
        let Some(slot) = slot else { return self.add(aggregate, at, &Value::Instant(at)) };
        match fields.get(slot) {
            None | Some(Value::Unknown) => {}
            Some(Value::List(items)) if !takes_lists(self.catalog.aggregates[aggregate.index()].function) => {
                items.iter().filter(|item| item.is_known()).for_each(|item| self.add(aggregate, at, item));
            }
            Some(value) => self.add(aggregate, at, value),
        }
    }

    fn add(&mut self, id: AggregateId, at: i64, value: &Value) {
        let families = &self.readers.families;
        let family_id = families.id_of(id);
        let family = families.get(family_id);
        if family.longest != id {
            // What that one keeps serves this one too.
            return;
        }
        let aggregate = &self.catalog.aggregates[id.index()];
        let kept_from = self.kept_from(aggregate);
        let view = View::new(self.catalog, aggregate, self.bounds.now, kept_from);
        let view = View { is_shared: family.is_shared, ..view };
        let aggregates = &mut self.customer.aggregates;
        match aggregates.binary_search_by_key(&aggregate.key, |(key, _)| *key) {
            Ok(place) if aggregates[place].1.ignores(&view, at, value) => {}
            Ok(place) => {
                let series = &mut aggregates[place].1;
                self.touched.note(self.catalog, families, family_id, Some(series));
                if let Some(kept_from) = kept_from {
                    // Or it might share a bucket with what counts.
                    series.forget_before(kept_from);
                }
                series.add(&view, at, value);
            }
            Err(place) => {
                let Some(series) = Series::first(&view, at, value) else { return };
                self.touched.note(self.catalog, families, family_id, None);
                insert(aggregates, place, (aggregate.key, series));
            }
        }
    }

    /// Before which nothing counts again, for windows since the last event of a kind, which only moves on.
    fn kept_from(&self, aggregate: &Aggregate) -> Option<i64> {
        let Window::SinceAnchor { anchor } = aggregate.window else { return None };
        let anchor = &self.catalog.aggregates[anchor.index()];
        if anchor.function != Function::Last {
            return None;
        }
        let view = View::new(self.catalog, anchor, self.bounds.now, None);
        match find(&self.customer.aggregates, anchor.key)?.read(&view).value {
            Value::Instant(start) => Some(start),
            _ => None,
        }
    }

    fn step(&mut self, id: PatternId, side: Side, occurrence: Occurrence) {
        let pattern = &self.catalog.patterns[id.index()];
        if (pattern.relation, side) == (Relation::After, Side::B) {
            let Occurrence { at, rank, keys } = occurrence;
            self.due.push(Reverse(Decision { at, is_after: true, rank, pattern: id, keys }));
            return;
        }
        self.take(id, side, occurrence);
        if pattern.relation == Relation::Without {
            self.note_decision(id);
        }
    }

    fn take(&mut self, id: PatternId, side: Side, occurrence: Occurrence) {
        let pattern = &self.catalog.patterns[id.index()];
        let state = entry(&mut self.customer.patterns, pattern.key, PatternState::default);
        let mut matches = Vec::new();
        state.take(pattern, side, occurrence, self.bounds, &mut matches);
        for matched in matches {
            self.matched(id, &matched);
        }
    }

    fn matched(&mut self, id: PatternId, matched: &Occurrence) {
        for target in &self.catalog.patterns[id.index()].targets {
            match target {
                Target::Aggregate { aggregate, .. } => self.add(*aggregate, matched.at, &Value::Instant(matched.at)),
                Target::Step { pattern, side, .. } => self.step(*pattern, *side, matched.clone()),
            }
        }
    }

    /// Decides every `without` that is due by now; whether there was one.
    pub(super) fn elapse(&mut self) -> bool {
        for id in self.readers.decisions(self.customer, self.bounds.now) {
            self.note_decision(id);
        }
        self.decide()
    }

    /// Decides what was noted as due, and what that makes due, in order; whether there was a `without`.
    pub(super) fn decide(&mut self) -> bool {
        let mut decided = false;
        while let Some(Reverse(decision)) = self.due.pop() {
            if decision.is_after {
                let Decision { at, rank, pattern, keys, .. } = decision;
                self.take(pattern, Side::B, Occurrence { at, rank, keys });
            } else {
                decided |= self.decide_without(&decision);
            }
        }
        decided
    }

    fn decide_without(&mut self, decision: &Decision) -> bool {
        let id = decision.pattern;
        let pattern = &self.catalog.patterns[id.index()];
        let Some(state) = find_mut(&mut self.customer.patterns, pattern.key) else { return false };
        let is_next = next_decision(state, id, pattern).as_ref() == Some(decision);
        let matched = if is_next { state.decide(pattern, self.bounds.now) } else { None };
        if let Some(matched) = &matched {
            self.matched(id, matched);
        }
        self.note_decision(id);
        matched.is_some()
    }

    /// Notes when time decides a `without` next.
    fn note_decision(&mut self, id: PatternId) {
        let pattern = &self.catalog.patterns[id.index()];
        let state = find(&self.customer.patterns, pattern.key);
        let next = state.and_then(|state| next_decision(state, id, pattern));
        let decided_at = next.as_ref().map_or(i64::MAX, |decision| decision.at);
        self.customer.schedule.set(self.readers.timer_of_pattern(id), decided_at);
        self.due.extend(next.filter(|decision| decision.at <= self.bounds.now).map(Reverse));
    }
}

/// What time decides next of the A's of a `without`.
fn next_decision(state: &PatternState, id: PatternId, pattern: &Pattern) -> Option<Decision> {
    let (at, rank) = (state.decides_at(pattern)?, state.a.first()?.rank);
    Some(Decision { at, is_after: false, rank, pattern: id, keys: Keys::new() })
}

/// `first` and `last` of a list are the whole list of that event; the others take its elements.
fn takes_lists(function: Function) -> bool {
    matches!(function, Function::First | Function::Last)
}
