//! One customer over time: memberships, flips and own time, section 5 word for word.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use segue::definition::ast::{Aggregate, Anchor, Expr, ExprKind, Operand, PatternKind, Window};
use serde_json::Value as Json;

use crate::calendar::next_period_ms;
use crate::definitions::{aggregates, pattern, relations, walk};
use crate::evaluate::{Scope, evaluate, ranked_value, share_below};
use crate::history::{History, Occurrence};
use crate::record::{Body, Record, profile_value};
use crate::replay::World;
use crate::value::{Abs, Val};

/// A profile trait set (or unset) by a record.
#[derive(Debug)]
struct TraitUpdate {
    at: i64,
    name: String,
    value: Json,
}

/// A consent given or withdrawn.
#[derive(Debug)]
struct ConsentUpdate {
    at: i64,
    purpose: String,
    granted: bool,
}

/// What is remembered from one evaluation to the next.
#[derive(Debug, Default, Clone)]
struct Memory {
    members: BTreeSet<String>,
    /// The last truth of the `when` of segments with an `until`.
    when: BTreeMap<String, bool>,
    /// Since when the P of each `P for D` has been true.
    since: BTreeMap<usize, Option<i64>>,
}

/// A customer: every record, and the memory of the last evaluation.
#[derive(Debug, Default)]
pub(crate) struct Customer {
    id: String,
    pub(crate) own_time: i64,
    history: History,
    traits: Vec<TraitUpdate>,
    consents: Vec<ConsentUpdate>,
    applied: Vec<(String, i64)>,
    memory: Memory,
    /// No flip up to here, found by an earlier search.
    quiet_until: i64,
}

/// A membership that changed: segment and whether it was entered, in the order of section 6.
pub(crate) type Moves = Vec<(bool, String)>;

impl Customer {
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), own_time: i64::MIN, quiet_until: i64::MIN, ..Self::default() }
    }

    /// Whether this event id is remembered as the record arrives.
    pub(crate) fn remembers(&self, event_id: &str, world: &World) -> bool {
        let remembered = self.applied.iter().rev().take(world.settings.dedup_ids);
        let recent = |at: i64| self.own_time - at < world.settings.dedup_window_ms;
        remembered.into_iter().any(|(id, at)| id == event_id && recent(*at))
    }

    /// Applies a record and evaluates everything once, at own time.
    pub(crate) fn apply(&mut self, record: &Record, arrival: usize, world: &World) -> Moves {
        self.own_time = self.own_time.max(record.at);
        self.applied.push((record.event_id.clone(), record.at));
        match &record.body {
            Body::Event { event_type, tree } => {
                let occurrence = Occurrence { at: record.at, rank: (arrival, 0), tree: tree.clone() };
                self.history.events.push((event_type.clone(), occurrence));
            }
            Body::Profile(traits) => self.traits.extend(traits.iter().map(|(name, value)| TraitUpdate {
                at: record.at,
                name: name.clone(),
                value: value.clone(),
            })),
            Body::Consent { purpose, granted } => {
                self.consents.push(ConsentUpdate { at: record.at, purpose: purpose.clone(), granted: *granted });
            }
            Body::Erasure => {
                let members = std::mem::take(&mut self.memory.members);
                return members.into_iter().map(|segment| (false, segment)).collect();
            }
        }
        self.evaluate_all(world)
    }

    /// Lets the next flip at or before `limit` happen, if there is one.
    pub(crate) fn flip(&mut self, limit: i64, world: &World) -> Option<Moves> {
        let Some(at) = self.next_flip(limit, world) else {
            self.quiet_until = self.quiet_until.max(limit);
            return None;
        };
        self.own_time = at;
        Some(self.evaluate_all(world))
    }

    /// The value of a trait at own time.
    pub(crate) fn trait_now(&self, name: &str, world: &World) -> Val {
        match View::new(self, world, (self.own_time, self.own_time), false).trait_value(name) {
            Abs::Const(value) => value,
            other => panic!("not settled at one instant: {other:?}"),
        }
    }

    /// The value by which the customer is ranked as of an instant or own time, with what is decided by then.
    pub(crate) fn ranked_value(&mut self, aggregate: &Aggregate, at: i64, world: &World) -> Val {
        let at = at.max(self.own_time);
        for pattern in world.patterns() {
            self.history.make_matches(pattern, at, world);
        }
        ranked_value(aggregate, &View::new(self, world, (at, at), false))
    }

    /// What must not change unnoticed, now.
    pub(crate) fn present_truths(&self, world: &World) -> Vec<Option<bool>> {
        self.truths((self.own_time, self.own_time), world)
    }

    /// Evaluates everything at an instant at which percentiles get other values to compare with; own time follows if
    /// that, or time itself, flips something.
    pub(crate) fn compare_anew(&mut self, at: i64, present: &[Option<bool>], world: &World) -> Moves {
        let own_time = self.own_time;
        let mut patterns = world.patterns();
        let decides = patterns.any(|pattern| self.history.undecided(pattern, own_time, world).contains(&at));
        self.own_time = own_time.max(at);
        let moves = self.evaluate_all(world);
        if moves.is_empty() && !decides && self.present_truths(world) == present {
            self.own_time = own_time;
        }
        moves
    }

    fn evaluate_all(&mut self, world: &World) -> Moves {
        self.quiet_until = self.own_time;
        for pattern in world.patterns() {
            self.history.make_matches(pattern, self.own_time, world);
        }
        let view = View::new(self, world, (self.own_time, self.own_time), true);
        for name in world.segment_names() {
            view.member(&name);
        }
        for (node, condition, duration_ms) in world.held_nodes() {
            view.held(node, condition, duration_ms);
        }
        let next = view.into_memory();
        let mut moves: Moves =
            self.memory.members.difference(&next.members).map(|name| (false, name.clone())).collect();
        moves.extend(next.members.difference(&self.memory.members).map(|name| (true, name.clone())));
        self.memory = next;
        moves
    }

    /// The first instant after own time and up to `limit` at which time alone changes what section 5 names.
    fn next_flip(&self, limit: i64, world: &World) -> Option<i64> {
        let first = self.quiet_until.max(self.own_time) + 1;
        if first > limit {
            return None;
        }
        let decisions: BTreeSet<i64> =
            world.patterns().flat_map(|pattern| self.history.undecided(pattern, self.own_time, world)).collect();
        let mut starts: BTreeSet<i64> = self.edges(world).into_iter().chain(decisions.iter().copied()).collect();
        starts.insert(first);
        let starts: Vec<i64> = starts.into_iter().filter(|at| (first..=limit).contains(at)).collect();
        let present = self.truths((self.own_time, self.own_time), world);
        for (index, start) in starts.iter().enumerate() {
            if decisions.contains(start) {
                return Some(*start);
            }
            let end = starts.get(index + 1).map_or(limit, |next| next - 1);
            if let Some(at) = self.first_difference(&present, *start, end, world) {
                return Some(at);
            }
        }
        None
    }

    /// The first instant in a stretch without edges at which the truths are not the present ones.
    fn first_difference(&self, present: &[Option<bool>], from: i64, to: i64, world: &World) -> Option<i64> {
        world.spend_effort();
        let truths = self.truths((from, to), world);
        if truths.iter().zip(present).any(|(truth, present)| truth.is_some() && truth != present) {
            return Some(from);
        }
        if truths.iter().all(Option::is_some) {
            return None;
        }
        assert!(from < to, "nothing is in doubt at one instant");
        let middle = from + (to - from) / 2;
        self.first_difference(present, from, middle, world)
            .or_else(|| self.first_difference(present, middle + 1, to, world))
    }

    /// What must not change unnoticed: memberships, the `when` and `until` of segments that have one, the P of `for`.
    fn truths(&self, now: (i64, i64), world: &World) -> Vec<Option<bool>> {
        let view = View::new(self, world, now, false);
        let mut truths: Vec<Option<bool>> = world.segment_names().map(|name| view.member(&name).truth()).collect();
        for segment in &world.set.segments {
            if let Some(until) = &segment.until {
                truths.push(view.when(&segment.when, segment.purpose.as_deref()));
                truths.push(evaluate(until, &view).truth());
            }
        }
        truths.extend(world.held_nodes().map(|(_, condition, _)| evaluate(condition, &view).truth()));
        truths
    }

    /// Instants after own time at which an aggregate, or a `for`, may change by time alone.
    fn edges(&self, world: &World) -> Vec<i64> {
        let view = View::new(self, world, (self.own_time, self.own_time), false);
        let mut edges = vec![];
        for aggregate in world.set.expressions().flat_map(aggregates) {
            match &aggregate.window {
                Window::Over(duration_ms) => {
                    edges.extend(view.occurrences(aggregate).iter().map(|seen| seen.at + duration_ms.node));
                }
                Window::This(unit) => edges.push(next_period_ms(*unit, self.own_time, &world.zone)),
                Window::Ever | Window::SinceInstant(_) | Window::SinceAnchor(_) => {}
            }
        }
        for (node, _, duration_ms) in world.held_nodes() {
            edges.extend(self.memory.since.get(&identity(node)).copied().flatten().map(|since| since + duration_ms));
        }
        edges
    }

    fn consents_to(&self, purpose: &str) -> bool {
        let updates = self.consents.iter().filter(|update| update.purpose == purpose);
        updates.max_by_key(|update| update.at).is_some_and(|update| update.granted)
    }
}

fn identity(node: &Expr) -> usize {
    std::ptr::from_ref(node) as usize
}

/// A customer at one instant, or all through a stretch without edges.
struct View<'a> {
    customer: &'a Customer,
    world: &'a World,
    now: (i64, i64),
    /// Whether this is an evaluation that counts, or a look ahead that takes what is remembered as it is.
    counts: bool,
    members: RefCell<BTreeMap<String, Abs>>,
    when: RefCell<BTreeMap<String, bool>>,
    since: RefCell<BTreeMap<usize, Option<i64>>>,
}

impl<'a> View<'a> {
    fn new(customer: &'a Customer, world: &'a World, now: (i64, i64), counts: bool) -> Self {
        let (members, when, since) = Default::default();
        Self { customer, world, now, counts, members, when, since }
    }

    fn into_memory(self) -> Memory {
        let members = self.members.into_inner().into_iter();
        let inside = members.filter(|(_, member)| member.truth() == Some(true));
        Memory {
            members: inside.map(|(name, _)| name).collect(),
            when: self.when.into_inner(),
            since: self.since.into_inner(),
        }
    }

    /// A `when` together with the consent it needs.
    fn when(&self, when: &Expr, purpose: Option<&str>) -> Option<bool> {
        let truth = evaluate(when, self).truth();
        let consents = purpose.is_none_or(|purpose| self.customer.consents_to(purpose));
        if consents { truth } else { Some(false) }
    }

    fn find_member(&self, name: &str) -> Option<bool> {
        if let Some((group, tier)) = name.split_once('.') {
            let group = self.world.set.groups.iter().find(|known| known.name == group).expect("a known group");
            return self.tier(group, tier);
        }
        let segment = self.world.set.segments.iter().find(|known| known.name == name).expect("a known segment");
        let when = || self.when(&segment.when, segment.purpose.as_deref());
        let Some(until) = &segment.until else { return when() };
        let inside = self.customer.memory.members.contains(name);
        if !self.counts {
            return Some(inside);
        }
        let until = evaluate(until, self).truth()?;
        let when = when()?;
        self.when.borrow_mut().insert(name.to_owned(), when);
        let consents = segment.purpose.as_deref().is_none_or(|purpose| self.customer.consents_to(purpose));
        let turned = when && !self.customer.memory.when.get(name).copied().unwrap_or(false);
        Some(if inside { !until && consents } else { turned && !until })
    }

    /// The first tier that matches.
    fn tier(&self, group: &crate::definitions::Group, tier: &str) -> Option<bool> {
        let mut taken = Some(false);
        for (name, when) in &group.tiers {
            let matches = self.when(when, group.purpose.as_deref());
            if name == tier {
                return match (taken, matches) {
                    (Some(true), _) | (_, Some(false)) => Some(false),
                    (Some(false), Some(true)) => Some(true),
                    _ => None,
                };
            }
            taken = match (taken, matches) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
        }
        panic!("no tier {tier}")
    }
}

impl Scope for View<'_> {
    fn now(&self) -> (i64, i64) {
        self.now
    }

    fn field(&self, _: &[&str]) -> Val {
        unreachable!("fields only in filters")
    }

    fn trait_value(&self, name: &str) -> Abs {
        if let Some((_, value)) = self.world.set.traits.iter().find(|(known, _)| known == name) {
            return evaluate(value, self);
        }
        let declared = &self.world.set.profile[name];
        let latest = self.customer.traits.iter().filter(|update| update.name == name).max_by_key(|update| update.at);
        Abs::Const(latest.map_or(Val::Unknown, |latest| profile_value(declared, &latest.value, &self.world.zone)))
    }

    fn member(&self, segment: &str) -> Abs {
        if let Some(known) = self.members.borrow().get(segment) {
            return known.clone();
        }
        let member = Abs::maybe(self.find_member(segment));
        self.members.borrow_mut().insert(segment.to_owned(), member.clone());
        member
    }

    fn held(&self, node: &Expr, condition: &Expr, duration_ms: i64) -> Abs {
        let remembered = self.customer.memory.since.get(&identity(node)).copied().flatten();
        let since = if self.counts {
            let holds = evaluate(condition, self).truth() == Some(true);
            let since = if holds { remembered.or(Some(self.now.0)) } else { None };
            self.since.borrow_mut().insert(identity(node), since);
            since
        } else {
            remembered
        };
        let Some(due) = since.map(|since| since + duration_ms) else { return Abs::bool(false) };
        let (from, to) = self.now;
        Abs::maybe(if from >= due {
            Some(true)
        } else if to < due {
            Some(false)
        } else {
            None
        })
    }

    fn customer_id(&self) -> &str {
        &self.customer.id
    }

    fn occurrences(&self, aggregate: &Aggregate) -> Vec<Occurrence> {
        match &aggregate.over {
            Operand::Pattern(pattern) => self.customer.history.matches(pattern, self.world),
            Operand::Values { source, filter, .. } => {
                self.customer.history.occurrences(source, filter.as_deref(), self.world)
            }
        }
    }

    fn anchor(&self, anchor: &Anchor) -> Option<i64> {
        let instants = self.customer.history.instants(&anchor.event.node, anchor.filter.as_deref(), self.world);
        if anchor.last { instants.into_iter().max() } else { instants.into_iter().min() }
    }

    fn percentile(&self, aggregate: &Aggregate) -> Val {
        let cut_offs = self.world.cut_offs.borrow();
        let values = cut_offs.get(&std::ptr::from_ref(aggregate).addr()).map(Vec::as_slice);
        share_below(&ranked_value(aggregate, self), values.unwrap_or_default())
    }

    fn world(&self) -> &World {
        self.world
    }
}

/// The `P for D` in an expression: the node, its P and its D.
pub(crate) fn held_nodes(expr: &Expr) -> Vec<(&Expr, &Expr, i64)> {
    let mut found = vec![];
    walk(expr, &mut |part| {
        if let ExprKind::For { condition, duration_ms } = &part.node {
            found.push((part, &**condition, duration_ms.node));
        }
    });
    found
}

/// The two-step patterns in an expression, inner ones first.
pub(crate) fn patterns_in(expr: &Expr) -> Vec<&segue::definition::ast::Pattern> {
    let found = aggregates(expr).into_iter().filter_map(pattern).flat_map(relations);
    found.filter(|pattern| !matches!(pattern.kind, PatternKind::Step(_))).collect()
}
